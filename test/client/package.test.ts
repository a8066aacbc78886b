/**
 * The library as the npm package has it: `server-push/client`, in Bun and in Node, with types.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type * as contract from "../../src/client/contract.d.ts";
import type * as library from "../../src/client/module.ts";
import { push, toReceipt, untilSessions } from "../support/calls.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { openGateway } from "../support/gateway.ts";
import { findNode } from "../support/node.ts";
import { root, run } from "../support/process.ts";
import { openRelay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";

setDefaultTimeout(60_000);

const node = await findNode();

/** A page that takes messages until one says that it is the end, and then ends by itself, as nothing is left to do. */
const page = `
  import { connect } from "server-push/client";

  const [url, transport] = process.argv.slice(2);
  // It may be cut before it has had anything at all.
  const push = connect({ url, userid: "123", since: "all", transports: [transport] });
  const [told, messages] = [[], []];
  for (const type of ["open", "close", "reset", "error"]) push.addEventListener(type, () => told.push(type));
  let sent;
  for await (const { type, data } of push) {
    messages.push([type, typeof data === "string" ? data : [...data]]);
    if (data !== "end") continue;
    sent = await push.send("hello");
    push.close();
  }
  console.log(JSON.stringify({ messages, told: [...new Set(told)], sent, state: push.state }));`;

/** A page that is closed while it waits to come back to a server that is not there. */
const leaving = `
  import { connect } from "server-push/client";

  const push = connect({ url: process.argv[2], userid: "123" });
  let errors = 0;
  push.onerror = ({ code }) => {
    if (++errors < 3) return;
    console.log(code);
    setTimeout(() => push.close());
  };`;

/** A page that is closed while something better than what it has would be tried again, in a minute. */
const fallen = `
  import { connect } from "server-push/client";

  const push = connect({ url: process.argv[2], userid: "123" });
  push.onopen = ({ transport }) => {
    console.log(transport);
    push.close();
  };`;

const typed = `
  import { connect, type ConnectOptions, type OpenEvent, type Push, type PushMessage } from "server-push/client";

  const options: ConnectOptions = { url: new URL("http://localhost:8888"), userid: "123", token: async () => "token" };
  const push: Push = connect(options);
  push.onmessage = ({ data, lastEventId }) => console.log(typeof data === "string" ? data : data.length, lastEventId);
  push.onopen = ({ session, transport, resumed }) => console.log(session, transport satisfies string, resumed === true);
  push.onerror = ({ code, detail, status, willReconnect }) => console.log(code, detail, status?.toFixed(), willReconnect);
  push.addEventListener("close", ({ code, reason }) => console.log(code.toFixed(), reason.trim()));
  push.addEventListener("order", (message: PushMessage) => console.log(message.data));
  push.addEventListener("order", { handleEvent: (event: Event) => console.log(event.type) });
  push.onreset = null;
  const isTaken: boolean = await push.send("hello");
  for await (const { type, data } of push) console.log(type, data, isTaken);
  const onOpen = (event: OpenEvent) => console.log(event.session);
  push.addEventListener("open", onOpen);
  push.removeEventListener("open", onOpen);
  const onOrder = (message: PushMessage) => console.log(message.data);
  push.removeEventListener("order", onOrder);
  // @ts-expect-error: a listener of messages, for what is none
  push.addEventListener("close", onOrder);
  // @ts-expect-error: what is not there
  connect({ user: "123" });
  // @ts-expect-error: what is read only
  push.state = "open";
`;

const strict = JSON.stringify({
  compilerOptions: {
    target: "ESNext",
    module: "ESNext",
    moduleResolution: "bundler",
    lib: ["ESNext", "DOM", "DOM.Iterable"],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  },
});

let folder: Folder;

beforeAll(async () => {
  folder = await makeFolder({
    "page.mjs": page,
    "leaving.mjs": leaving,
    "fallen.mjs": fallen,
    "typed.ts": typed,
    "tsconfig.json": strict,
    "package.json": '{ "type": "module" }',
  });
  const built = await run([process.execPath, join(root, "src/build/client.ts")]);
  if (built.status !== 0) throw new Error(built.stderr);
  const packing = Bun.spawn(["npm", "pack", "./dist/npm", "--silent", "--pack-destination", folder.path], {
    cwd: root,
  });
  const name = (await packing.stdout.text()).trim().split("\n").at(-1) ?? "";
  // What installing does.
  const own = folder.file("node_modules/server-push");
  await run(["mkdir", "-p", own]);
  const unpacked = await run(["tar", "-xzf", folder.file(name), "-C", own, "--strip-components=1"]);
  if (unpacked.status !== 0) throw new Error(unpacked.stderr);
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

test("it has the library, its types, and nothing of the server", async () => {
  const own = folder.file("node_modules/server-push");
  const files = [...new Bun.Glob("**/*").scanSync(own)].toSorted();
  const script = await Bun.file(join(own, "client.mjs")).text();

  expect(files).toEqual(["LICENSE", "README.md", "client.d.ts", "client.mjs", "package.json"]);
  expect(new Bun.Transpiler({ loader: "js" }).scan(script)).toMatchObject({ exports: ["connect"] });
  expect(script).not.toMatch(/\bimport\s*[{"*]|\brequire\(/);
  expect(await Bun.file(join(own, "package.json")).json()).not.toHaveProperty("dependencies");
  // What it loads from the server no bundler may look for.
  expect(script).toMatch(/\bimport\(\/\* webpackIgnore: true \*\/ \/\* @vite-ignore \*\/ /);
});

test("its types fit a page that is checked strictly", async () => {
  const { status, stdout, stderr } = await run(
    [process.execPath, "check", "--no-script", "-p", folder.file("tsconfig.json")],
    { environment: { NO_COLOR: "1" } },
  );

  expect(stdout + stderr).toContain("No type errors");
  expect(status).toBe(0);
});

type Same<One, Other> = [One] extends [Other] ? ([Other] extends [One] ? true : false) : false;

test("what is promised is what there is", async () => {
  const isSame: Same<typeof contract, typeof library> = true;
  const { connect } = await import("../../src/client/module.ts");
  const there = connect({ url: "http://127.0.0.1:1" });
  there.close();
  const text = await Bun.file(join(root, "src/client/contract.d.ts")).text();
  const [, promised = ""] = /^export interface Push [^]*?^\}/m.exec(text)?.[0].split(/\{([^]*)/) ?? [];
  const names = [...promised.matchAll(/^ {2}(?:readonly )?(\w+)(?=[:(])/gm)].map(([, name = ""]) => name);

  expect(isSame).toBe(true);
  expect(names).toContain("position");
  expect(names.filter((name) => !(name in there))).toEqual([]);
});

const programs = [
  ["Bun", process.execPath],
  ["Node", node],
] as const;

describe.each(programs)("in %s", (_, program) => {
  for (const transport of ["websocket", "sse", "poll"])
    test.skipIf(program === undefined)(
      `it receives over ${transport}, comes back, and ends when it is closed`,
      async () => {
        await using server = await startServer();
        await using relay = await openRelay(server);
        const running = run([program ?? "", folder.file("page.mjs"), relay.url, transport]);
        await untilSessions(server, 1);

        await push(server, "userid=123", "line\r\nline \u2028");
        const headers = { "Content-Type": "application/octet-stream" };
        const body = new Uint8Array([0, 255]);
        await toReceipt(
          await fetch(`${server.url}/push?userid=123&event=bytes`, { method: "POST", body, headers }),
        );
        relay.cut();
        await push(server, "userid=123&event=order", "away");
        relay.mend();
        await push(server, "userid=123", "end");
        const { status, stdout, stderr } = await running;

        expect(stderr).toBe("");
        const { messages, told, sent, state } = JSON.parse(stdout);
        expect(messages).toEqual([
          ["message", "line\r\nline \u2028"],
          ["bytes", [0, 255]],
          ["order", "away"],
          ["message", "end"],
        ]);
        expect(told.filter((type: string) => type !== "error")).toEqual(["open", "close"]);
        expect([sent, state, status]).toEqual([transport === "websocket", "closed", 0]);
      },
    );

  test.skipIf(program === undefined)("it holds up no program that has closed it", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    relay.cut();

    const { status, stdout, stderr } = await run([program ?? "", folder.file("leaving.mjs"), relay.url]);
    expect([stdout, stderr, status]).toEqual(["unreachable\n", "", 0]);
  });

  test.skipIf(program === undefined)("nor one that has closed it over a stream", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";

    const { status, stdout, stderr } = await run([program ?? "", folder.file("fallen.mjs"), gateway.url]);
    expect([stdout, stderr, status]).toEqual(["sse\n", "", 0]);
  });
});
