/**
 * Holds every file of src to the layers: imports go down only, and each outside thing stays in the file that is its place.
 *
 * The checker takes files as text, so that the tests at the end can show it breaking every rule.
 */
import { describe, expect, test } from "bun:test";
import { dirname, join, normalize } from "node:path";

const source = join(import.meta.dir, "../src");

/** The files in the root of src, and the folders, from the lowest layer up. A new one has to be given its place here. */
const layers = new Map(
  [
    ["protocol.ts", "errors.ts"],
    ["peer.ts", "event-types.ts"],
    [
      "address.ts",
      "message.ts",
      "session.ts",
      "logger.ts",
      "metrics.ts",
      "kinds.ts",
      "rates.ts",
      "headers.ts",
      "client",
    ],
    ["settings-table.ts", "journal.ts", "presence.ts", "descriptors.ts", "query.ts", "since.ts", "console"],
    [
      "replay.ts",
      "idempotency.ts",
      "expiries.ts",
      "quotas.ts",
      "settings.ts",
      "events.ts",
      "receipts.ts",
      "unclaimed.ts",
    ],
    ["hub.ts"],
    ["journal", "presence", "auth", "http", "receive", "webhook"],
    ["listeners.ts"],
    ["server.ts"],
    ["cli", "main.ts"],
    ["build"],
  ].flatMap((places, layer) => places.map((place) => [place, layer] as const)),
);

/** What runs in a browser, and all that it may import; of the rest only http, which serves it, may import it. */
const browsers = new Map([
  ["client", ["client", "protocol.ts"]],
  ["console", ["console", "client", "protocol.ts"]],
]);

/** What of another folder or file of the same layer may be imported all the same. */
const exceptions = new Set(["http → auth", "receive → auth", "main.ts → cli"]);

/** What comes from outside, and the only files or folders that may import it. */
const packages: readonly (readonly [name: RegExp, places: readonly string[]])[] = [
  [/^(elysia|@elysiajs\/.+)(\/|$)/, ["http", "receive", "listeners.ts"]],
  [/^jose(\/|$)/, ["auth"]],
  [/^prom-client(\/|$)/, ["metrics.ts"]],
  [/^pino([-/]|$)/, ["logger.ts"]],
  [/^(preact|@preact\/.+|uplot)(\/|$)/, ["console"]],
  [/^bun:sqlite$/, ["file", "guard", "reader", "writer"].map((part) => `journal/sqlite-${part}.ts`)],
  [/^(node:)?process$/, ["cli", "main.ts", "build"]],
];

/** What is there without an import, and the only files or folders that may name it. */
const globals: readonly (readonly [name: string, pattern: RegExp, places: readonly string[]])[] = [
  [
    "Redis",
    /\bRedisClient\b|\bBun\s*\.\s*redis\b|\bimport\s*\{[^}]*\bredis\b/,
    ["journal/redis.ts", "presence/redis.ts"],
  ],
  // The worker has an environment of its own, which it may change.
  [
    "the environment",
    /\b(process|Bun|import\.meta)\s*\??\.\s*env\b|\bimport\s*\{[^}]*\benv\b/,
    ["cli", "webhook/post-worker.ts"],
  ],
  [
    "signals and exit",
    /\bprocess\s*\??\.\s*(on|once|addListener|prependListener|exit|exitCode|reallyExit|abort|kill)\b/,
    ["cli", "main.ts", "build"],
  ],
  // `process["exit"]`, `const { env } = Bun` and the like would go around the two above.
  [
    "process or Bun without naming a member",
    /\b(process|Bun)\b(?!\s*\??\.\s*\w|\s*:)/,
    ["cli", "main.ts", "build"],
  ],
];

/** What a browser loads from the server that it is connected to. */
const loadingFromServer = ["client/client.ts"];

interface Code {
  readonly imports: readonly string[];
  /** The source without comments and without what stands in strings. */
  readonly bare: string;
}

/** Everything that breaks a rule, a sentence each. Files are named by their path in src. */
function findViolations(files: Readonly<Record<string, string>>): string[] {
  const violations: string[] = [];
  const graph = new Map<string, readonly string[]>();
  for (const [path, text] of Object.entries(files)) {
    const { imports, bare } = read(text);
    const own = placeOf(path);
    const inside: string[] = [];
    graph.set(path, inside);
    if (!layers.has(own)) violations.push(`${path} has no layer`);
    for (const specifier of imports) {
      const target = normalize(join(dirname(path), specifier));
      const isInside = specifier.startsWith(".") && !target.startsWith("..");
      if (isInside) inside.push(target);
      const isAllowed = isInside ? mayImport(path, target) : mayImportFromOutside(path, specifier, target);
      if (!isAllowed) violations.push(`${path} imports ${specifier.startsWith(".") ? target : specifier}`);
    }
    if (/\b(import|require)\s*\((?!\s*"\d+"\s*[,)])/.test(bare) && !isIn(path, loadingFromServer))
      violations.push(`${path} computes an import`);
    for (const [name, pattern, places] of globals)
      if (pattern.test(bare) && !isIn(path, places)) violations.push(`${path} uses ${name}`);
  }
  return [...violations, ...findCycles(graph)];
}

function mayImport(from: string, to: string): boolean {
  const [own, other] = [placeOf(from), placeOf(to)];
  if (own === "build") return to === "http/bundle.ts";
  if (layers.get(own) === 0 || other === "build") return false;
  if (browsers.has(own)) return browsers.get(own)?.includes(other) ?? false;
  if (browsers.has(other)) return own === "http";
  if (own === other || exceptions.has(`${own} → ${other}`)) return true;
  return (layers.get(other) ?? Infinity) < (layers.get(own) ?? -Infinity);
}

function mayImportFromOutside(from: string, specifier: string, target: string): boolean {
  if (specifier.startsWith("."))
    return ["cli", "build"].includes(placeOf(from)) && target === "../package.json";
  if (layers.get(placeOf(from)) === 0 || placeOf(from) === "client") return false;
  return packages.every(([name, places]) => !name.test(specifier) || isIn(from, places));
}

/** The folder in src that a file is in; of a file in its root, the file. */
function placeOf(path: string): string {
  return path.split("/")[0] ?? path;
}

function isIn(path: string, places: readonly string[]): boolean {
  return places.some((place) => path === place || path.startsWith(`${place}/`));
}

function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, above: readonly string[]) => {
    if (above.includes(path))
      cycles.push(`a cycle: ${[...above.slice(above.indexOf(path)), path].join(" → ")}`);
    if (done.has(path)) return;
    done.add(path);
    for (const next of graph.get(path) ?? []) walk(next, [...above, path]);
  };
  for (const path of graph.keys()) walk(path, []);
  return cycles;
}

/** One piece of source: a comment, a string, a regular expression after what only an expression follows, or a backtick. */
const piece =
  /\/\*[^]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?<=(?:^|[(,=:[!&|?{};+>]|\breturn)\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/|`|[{}]/gm;

/** Bun's own scanner drops what is imported for its types alone, which counts here as much as the rest. */
function read(text: string): Code {
  const strings: string[] = [];
  let bare = "";
  let at = 0;
  /** Of each brace and template that is open here, which of the two it is. */
  const open: ("{" | "`")[] = [];
  while (at < text.length) {
    if (open.at(-1) === "`") {
      const [skipped = ""] = /^(?:\\[^]|\$(?!\{)|[^\\`$])*/.exec(text.slice(at)) ?? [];
      at += skipped.length;
      if (text[at] === "`") open.pop();
      else open.push("{");
      bare += text[at] === "`" ? "`" : "${";
      at += text[at] === "`" ? 1 : 2;
      continue;
    }
    piece.lastIndex = at;
    const found = piece.exec(text);
    bare += text.slice(at, found?.index);
    if (found === null) break;
    const [part] = found;
    at = found.index + part.length;
    if (part === "`" || part === "{") open.push(part);
    if (part === "}") open.pop();
    if (/^["']/.test(part)) bare += `"${strings.push(part.slice(1, -1)) - 1}"`;
    else if (part.length === 1) bare += part;
  }
  const found = bare.matchAll(/\b(?:from|import|(?:import|require)\s*\()\s*"(\d+)"/g);
  return { bare, imports: Array.from(found, ([, index]) => strings[Number(index)] ?? "") };
}

async function readSource(): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const path of new Bun.Glob("**/*.{ts,tsx,mts,js,mjs}").scanSync(source))
    files[path] = await Bun.file(join(source, path)).text();
  return files;
}

/** What elements become calls of, by themselves: no line of a file has it. Left to itself, Bun takes them for those of React. */
const forJsx = /^react(\/jsx-dev-runtime)?$/;

describe("the source", () => {
  test("keeps its layers", async () => {
    const files = await readSource();

    expect(Object.keys(files).length).toBeGreaterThan(20);
    expect(findViolations(files)).toEqual([]);
  });

  test("has no import that Bun sees and the checker does not", async () => {
    const missed = Object.entries(await readSource()).flatMap(([path, text]) => {
      const { imports } = read(text);
      const scanner = new Bun.Transpiler({ loader: path.endsWith(".tsx") ? "tsx" : "ts" });
      return scanner
        .scanImports(text)
        .filter((one) => !imports.includes(one.path) && !forJsx.test(one.path))
        .map((one) => `${path}: ${one.path}`);
    });

    expect(missed).toEqual([]);
  });
});

describe("the checker finds", () => {
  const written: Readonly<Record<string, string>> = {
    "of a value": 'import { a } from "./server.ts";',
    "of a type alone": 'import type { A } from "./server.ts";',
    "of a type among values": 'import { type A, b } from "./server.ts";',
    "over several lines": 'import {\n  a,\n  b,\n} from\n"./server.ts";',
    "for its effect": 'import "./server.ts";',
    "on demand": 'const a = await import("./server.ts");',
    "in the place of a type": 'let a: import("./server.ts").A;',
    "in a template": 'const a = `//${await import("./server.ts")}`;',
    "that exports again": 'export { a } from "./server.ts";',
    "that exports all types again": 'export type * from "./server.ts";',
    "by require": 'const a = require("./server.ts");',
  };
  for (const [how, text] of Object.entries(written))
    test(`an import ${how}`, () => {
      expect(findViolations({ "hub.ts": text })).toEqual(["hub.ts imports server.ts"]);
    });

  for (const text of ["await import(name);", 'await import("./ser" + "ver.ts");', "require(`./${name}.ts`);"])
    test(`an import that is computed: ${text}`, () => {
      expect(findViolations({ "hub.ts": text })).toContain("hub.ts computes an import");
    });

  const forbidden: readonly (readonly [from: string, ...to: string[]])[] = [
    ["errors.ts", "protocol.ts", "node:fs"],
    ["protocol.ts", "errors.ts"],
    ["peer.ts", "event-types.ts"],
    ["address.ts", "message.ts", "hub.ts"],
    ["hub.ts", "journal/memory.ts", "http/app.ts", "main.ts", "elysia", "@elysiajs/swagger", "node:process"],
    ["journal/memory.ts", "auth/client.ts", "presence/local.ts", "webhook/webhook.ts", "bun:sqlite"],
    ["journal/redis.ts", "bun:sqlite"],
    ["auth/client.ts", "http/app.ts", "elysia"],
    ["http/app.ts", "receive/sse.ts", "webhook/webhook.ts", "server.ts", "prom-client", "pino", "pino/file"],
    ["receive/sse.ts", "http/app.ts", "console/page.ts"],
    ["server.ts", "main.ts", "cli/serve.ts", "client/browser.ts", "console/page.ts"],
    ["cli/serve.ts", "main.ts", "build/compile.ts", "elysia/ws"],
    ["build/compile.ts", "errors.ts", "main.ts"],
    ["client/browser.ts", "errors.ts", "console/page.ts", "elysia", "preact"],
    ["console/page.ts", "errors.ts", "hub.ts"],
    ["http/app.ts", "preact", "@preact/signals", "uplot"],
    ["hub.ts", "../package.json", "../test/run.ts"],
  ];
  for (const [from, ...targets] of forbidden)
    for (const to of targets)
      test(`${from} that imports ${to}`, () => {
        const up = from.includes("/") ? "../" : "./";
        const specifier = /\.(ts|json)$/.test(to) ? up + to : to;

        expect(findViolations({ [from]: `import "${specifier}";` })).toEqual([`${from} imports ${to}`]);
      });

  for (const path of ["utils.ts", "lib/a.ts"])
    test(`${path}, which was given no layer`, () => {
      expect(findViolations({ [path]: "" })).toEqual([`${path} has no layer`]);
    });

  const uses: readonly (readonly [path: string, what: string, ...texts: string[]])[] = [
    ["hub.ts", "Redis", 'import { RedisClient } from "bun";', "Bun.redis.get(key);"],
    ["http/app.ts", "Redis", 'import { redis } from "bun";', "new Bun.RedisClient(url);"],
    ["main.ts", "the environment", "process.env.NODE_ENV;", 'Bun.env["A"];', "import.meta.env.A;"],
    ["server.ts", "the environment", 'import { env } from "bun";', "const { A } = process.env;"],
    [
      "server.ts",
      "signals and exit",
      "process.exit(1);",
      'process.on("SIGTERM", stop);',
      "`${process.exit(1)}`",
    ],
    [
      "server.ts",
      "signals and exit",
      "process.exitCode = 1;",
      "process.kill(pid);",
      "process?.once(name, stop);",
    ],
    ["hub.ts", "process or Bun without naming a member", 'process["exit"](1);', "const { env } = Bun;"],
  ];
  for (const [path, what, ...texts] of uses)
    for (const text of texts)
      test(`${path} that uses ${what}: ${text}`, () => {
        expect(findViolations({ [path]: text })).toEqual([`${path} uses ${what}`]);
      });

  test("a cycle within a folder", () => {
    const files = {
      "http/a.ts": 'import { b } from "./b.ts";',
      "http/b.ts": 'import type { C } from "./c.ts";',
      "http/c.ts": 'import { a } from "./a.ts";',
    };

    expect(findViolations(files)).toEqual(["a cycle: http/a.ts → http/b.ts → http/c.ts → http/a.ts"]);
  });
});

describe("the checker lets pass", () => {
  const sound: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    "imports that go down": {
      "metrics.ts": 'import { Counter } from "prom-client";\nimport { a } from "./errors.ts";',
      "journal/sqlite-reader.ts":
        'import { Database } from "bun:sqlite";\nimport type { Journal } from "../journal.ts";',
      "presence/redis.ts": 'import { RedisClient } from "bun";\nimport { a } from "../presence.ts";',
      "listeners.ts": 'import type { AnyElysia } from "elysia";\nimport { a } from "./http/a.ts";',
    },
    "files of one folder that import each other": {
      "cli/a.ts": 'import { b } from "./b.ts";\nimport manifest from "../../package.json";',
      "http/a.ts": 'import { b } from "./errors.ts";\nimport { c } from "./openapi.ts";',
    },
    "the exceptions": {
      "main.ts": 'import { a } from "./cli/a.ts";\nprocess.exit(0);',
      "http/a.ts":
        'import { a } from "../auth/a.ts";\nimport b from "../console/b.ts" with { type: "file" };',
      "receive/a.ts": 'import { a } from "../auth/a.ts";',
      "client/a.ts": 'import type { A } from "../protocol.ts";',
      "console/a.ts": 'import { a } from "../client/a.ts";',
    },
    "what only looks like an import": {
      "hub.ts": [
        '/* import a from "./server.ts"; */ // import "./server.ts"',
        "const a = 'import \"./server.ts\"; process.exit(1)';",
        'const b = /["\'`/]\\/\\//.test(c) ? `import("./server.ts") process.env ${d ? `/* ${e} */` : ""}` : Array.from("x");',
        'const process_cpu = { process: "http://a", from: "b" };',
      ].join("\n"),
    },
    "what anyone may ask of the process": {
      "metrics.ts": "const a = process.memoryUsage.rss() + process.cpuUsage().user; const b = Bun.version;",
    },
  };
  for (const [what, files] of Object.entries(sound))
    test(what, () => {
      expect(findViolations(files)).toEqual([]);
    });
});
