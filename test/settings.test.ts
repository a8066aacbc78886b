import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  describeSettings,
  findConfigPath,
  readSettings,
  type SettingsSources,
  toMarkdown,
} from "../src/settings.ts";
import { settingsTable } from "../src/settings-table.ts";
import { problemsOf, settingsOf, toFile } from "./support/settings.ts";

test("without any source every setting has its default, in bytes and milliseconds", () => {
  expect(settingsOf({})).toEqual({
    host: "127.0.0.1",
    port: 8888,
    apiPort: "none",
    apiHost: "127.0.0.1",
    tlsCert: "",
    tlsKey: "",
    http2: false,
    insecure: false,
    apiKey: [],
    apiKeyFile: "",
    jwtSecret: "",
    jwks: "",
    jwtIssuer: "",
    jwtAudience: "",
    jwtLeeway: 30_000,
    maxTokenTime: 86_400_000,
    anonymous: false,
    clientPush: false,
    allowOrigin: [],
    publicMetrics: false,
    publicDocs: false,
    maxMessage: 65_536,
    maxPushRate: 0,
    maxSessions: 100_000,
    maxSessionsPerUser: 1000,
    maxSessionsPerAddress: 2000,
    maxSessionRate: 50,
    maxReceiveRate: 50,
    trustedProxies: expect.objectContaining({ isEmpty: true }),
    maxQueued: 1_048_576,
    ping: 25_000,
    httpTimeout: 30_000,
    drain: 8_000,
    data: "",
    retainTime: 600_000,
    retainBytes: 67_108_864,
    retainCount: 100_000,
    maxIdempotencyKeys: 100_000,
    maxReceiptWaits: 10_000,
    webhook: [],
    webhookSecret: [],
    webhookEvents: [
      "session.opened",
      "session.closed",
      "message.received",
      "message.unclaimed",
      "user.online",
      "user.offline",
    ],
    webhookTimeout: 10_000,
    webhookRetryTime: 86_400_000,
    maxWebhookQueue: 67_108_864,
    retainEvents: 10_000,
    maxBatch: 4_194_304,
    maxBatchCount: 10_000,
    logLevel: "info",
    logFormat: "auto",
  });
});

describe("the order of sources", () => {
  const file = { path: "push.toml", values: { ping: "3s" } };

  test("is flag before environment before file", () => {
    const flag = settingsOf({ arguments: ["--ping", "1s"], environment: { SERVER_PUSH_PING: "2s" }, file });

    expect(flag.ping).toBe(1000);
  });

  test("is environment before file", () => {
    expect(settingsOf({ environment: { SERVER_PUSH_PING: "2s" }, file }).ping).toBe(2000);
  });

  test("is file before default", () => {
    expect(settingsOf({ file }).ping).toBe(3000);
  });

  test("holds for a switch that a flag turns off again", () => {
    const settings = settingsOf({
      arguments: ["--insecure=false"],
      environment: { SERVER_PUSH_INSECURE: "true" },
    });

    expect(settings.insecure).toBe(false);
  });

  test("does not excuse a mistake in a source that another overrides", () => {
    expect(problemsOf({ arguments: ["--port", "1"], environment: { SERVER_PUSH_PORT: "x" } })).toEqual([
      expect.stringMatching(/^SERVER_PUSH_PORT: "x" is not a port from 0 to 65535/),
    ]);
  });
});

describe("the file", () => {
  test("may hold numbers and switches as TOML has them", () => {
    const values = { ...Bun.TOML.parse("port = 9999\ninsecure = true\nmax-message = '2KiB'") };

    expect(settingsOf(toFile(values))).toMatchObject({
      port: 9999,
      insecure: true,
      maxMessage: 2048,
    });
  });

  for (const [what, value] of Object.entries({ list: [8888], table: { port: 1 }, nothing: null }))
    test(`may not hold a ${what} as a value`, () => {
      expect(problemsOf(toFile({ port: value }))).toEqual([
        expect.stringMatching(/^push\.toml: port: .* text, a number nor true or false$/),
      ]);
    });

  test("is a mistake among the others when it cannot be read", () => {
    const file = { path: "push.toml", values: {}, problem: "ENOENT: no such file" };

    expect(problemsOf({ arguments: ["--port=x"], file })).toEqual([
      '--config "push.toml": ENOENT: no such file; expected a TOML file that can be read',
      expect.stringMatching(/^--port: "x" is not /),
    ]);
  });

  test("is no setting itself, where the flag or the environment names it", () => {
    const sources = { arguments: ["--config", "a.toml"], environment: { SERVER_PUSH_CONFIG: "b.toml" } };

    expect(settingsOf(sources)).toEqual(settingsOf({}));
  });

  test("is the one that the flag names, else the environment", () => {
    const environment = { SERVER_PUSH_CONFIG: "b.toml" };

    expect(findConfigPath({ arguments: ["--config", "a.toml"], environment })).toBe("a.toml");
    expect(findConfigPath({ arguments: [], environment })).toBe("b.toml");
    expect(findConfigPath({ arguments: [], environment: {} })).toBeUndefined();
  });
});

test("all mistakes in all sources are reported at once, each with where it stands and what was expected", () => {
  const problems = problemsOf({
    arguments: "--port x --colour red --ping=1s --ping=2s extra --host 0.0.0.0 --drain".split(" "),
    environment: { SERVER_PUSH_LOG_LEVEL: "loud", SERVER_PUSH_COLOUR: "red" },
    file: { path: "push.toml", values: { "max-message": "huge", colour: "red" } },
  });

  const places = [
    /^--port: "x" is not a port from 0 to 65535/,
    /^"?--colour"?: unknown setting, expected /,
    /^--ping: given more than once, expected it once/,
    /^"extra": unexpected, expected /,
    /^host: "0\.0\.0\.0" is not a loopback address.*expected --api-key or --api-key-file, or --insecure/,
    /^--drain: has no value, expected one/,
    /^SERVER_PUSH_LOG_LEVEL: "loud" is not error, warn, info or debug/,
    /^"?SERVER_PUSH_COLOUR"?: unknown setting, expected /,
    /^push\.toml: max-message: "huge" is not a size from 1 to 64MiB/,
    /^push\.toml: "?colour"?: unknown setting, expected /,
  ];
  for (const place of places) expect(problems).toContainEqual(expect.stringMatching(place));
});

describe("an unknown setting is an error:", () => {
  const names = "colour por Port maxMessage x no-insecure constructor toString __proto__".split(" ");
  const variables = ["SERVER_PUSH_COLOUR", "SERVER_PUSH_port", "SERVER_PUSH_", "SERVER_PUSH_MAX-MESSAGE"];
  const places: readonly (readonly [string, Partial<SettingsSources>])[] = [
    ...names.map((name) => [`--${name}`, { arguments: [`--${name}=1`] }] as const),
    ["-p", { arguments: ["-p", "80"] }],
    ...variables.map((variable) => [variable, { environment: { [variable]: "1" } }] as const),
    ...[...names, "config"].map((name) => [`push.toml: ${name}`, toFile({ [name]: "1" })] as const),
  ];
  for (const [where, sources] of places)
    test(where, () => {
      const problems = problemsOf(sources).map((problem) => problem.replaceAll('"', ""));

      expect(problems).toContainEqual(`${where}: unknown setting, expected one that --help lists`);
    });
});

test("variables of other programs are nobody's business here", () => {
  const environment = { PORT: "1", HOST: "x", SERVER_PUSHED: "1", SERVERPUSH_PORT: "1" };

  expect(settingsOf({ environment })).toEqual(settingsOf({}));
});

describe("what Kubernetes injects for a service of this name is ignored:", () => {
  const injected = {
    SERVER_PUSH_SERVICE_HOST: "10.0.0.1",
    SERVER_PUSH_SERVICE_PORT: "8888",
    SERVER_PUSH_SERVICE_PORT_HTTP: "8888",
    SERVER_PUSH_PORT: "tcp://10.0.0.1:8888",
    SERVER_PUSH_PORT_8888_TCP: "tcp://10.0.0.1:8888",
    SERVER_PUSH_PORT_8888_TCP_PROTO: "tcp",
    SERVER_PUSH_PORT_8888_TCP_PORT: "8888",
    SERVER_PUSH_PORT_8888_TCP_ADDR: "10.0.0.1",
    SERVER_PUSH_PORT_53_UDP: "udp://10.0.0.1:53",
  };
  for (const [variable, value] of Object.entries(injected))
    test(variable, () => {
      expect(settingsOf({ environment: { [variable]: value } })).toEqual(settingsOf({}));
    });

  test("SERVER_PUSH_PORT=tcp://… leaves the file its port", () => {
    const settings = settingsOf({
      environment: injected,
      file: { path: "push.toml", values: { port: 7777 } },
    });

    expect(settings.port).toBe(7777);
  });

  test("but not SERVER_PUSH_PORT with a port", () => {
    expect(settingsOf({ environment: { SERVER_PUSH_PORT: "7777" } }).port).toBe(7777);
  });
});

describe("flags", () => {
  for (const flag of ["--port=1", "--insecure", "--config=a.toml"])
    test(`that are repeated are an error, also with the same value: ${flag}`, () => {
      expect(problemsOf({ arguments: [flag, flag] })).toEqual([
        expect.stringMatching(/^--[a-z]+: given more than once, expected it once$/),
      ]);
    });

  test("without a value are an error", () => {
    expect(problemsOf({ arguments: ["--port"] })).toEqual(["--port: has no value, expected one"]);
    expect(problemsOf({ arguments: ["--config"] })).toEqual(["--config: has no value, expected one"]);
  });

  for (const flag of ["--port", "--host", "--log-format"])
    test(`do not take the next flag as a value: ${flag}`, () => {
      expect(problemsOf({ arguments: ["--insecure", flag, "--drain"] })).not.toBeEmpty();
    });

  test("that are a switch need no value", () => {
    expect(settingsOf({ arguments: ["--insecure"] }).insecure).toBe(true);
  });
});

describe("a host that is not loopback", () => {
  for (const host of ["0.0.0.0", "::", "192.168.0.1", "example.org", "128.0.0.1", "localhost.example.org"]) {
    test(`is refused without an API key or --insecure: ${host}`, () => {
      expect(problemsOf({ arguments: ["--host", host] })).toEqual([
        expect.stringContaining(`"${host}" is not a loopback address`),
      ]);
    });

    for (const flag of ["--insecure", "--api-key=0123456789abcdef", "--api-key-file=keys"])
      test(`is listened on with ${flag}: ${host}`, () => {
        expect(settingsOf({ arguments: [flag, "--host", host] }).host).toBe(host);
      });
  }
});

test("a host that is a name of this machine needs no --insecure", () => {
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
    expect(settingsOf({ arguments: ["--host", host] }).host).toBe(host);
});

describe("a queue for a slow session", () => {
  test("that is smaller than one message is refused, with what was expected", () => {
    expect(problemsOf({ arguments: ["--max-message=1MiB", "--max-queued=1048575"] })).toEqual([
      expect.stringMatching(/^max-queued: 1048575 bytes .* expected at least 1048576$/),
    ]);
  });

  test("may be just as large as one message", () => {
    expect(settingsOf({ arguments: ["--max-message=2MiB", "--max-queued=2MiB"] }).maxQueued).toBe(2 ** 21);
  });
});

test("whatever is given comes to settings or to problems, of one line each, and never to a throw", () => {
  const name = fc.oneof(
    fc.constantFrom(...settingsTable.map((row) => row.name), "config"),
    fc.string({ unit: "binary" }),
  );
  const value = fc.oneof(
    fc.constantFrom("1", "true", "10s", "64KiB", "::1", "tcp://a", "", "\n"),
    fc.string({ unit: "binary" }),
  );
  const flag = fc.oneof(
    fc.tuple(name, value).map(([key, text]) => `--${key}=${text}`),
    name.map((key) => `--${key}`),
    value,
    fc.constantFrom("--", "-", "-p", "--=", "---"),
  );
  const variable = name.map((key) => `SERVER_PUSH_${key.toUpperCase().replaceAll("-", "_")}`);
  const sources = fc.record({
    arguments: fc.array(flag, { maxLength: 6 }),
    environment: fc.dictionary(variable, fc.option(value, { nil: undefined })),
    file: fc.record({
      path: fc.string({ unit: "binary" }),
      values: fc.dictionary(name, fc.oneof(value, fc.double(), fc.boolean(), fc.jsonValue())),
    }),
  });
  fc.assert(
    fc.property(sources, (given) => {
      const result = readSettings(given);

      if ("settings" in result) expect(Object.keys(result.settings)).toHaveLength(settingsTable.length);
      else {
        expect(result.problems).not.toBeEmpty();
        for (const problem of result.problems) expect(problem).toMatch(/^\P{Cc}+$/u);
      }
    }),
    { numRuns: 2000 },
  );
});

describe("a secret is in no problem", () => {
  const secret = "0123456789abcdefghij0123456789abcdefghij";
  test.each([
    [[`-api-key=${secret}`]],
    [["--api-key=", secret]],
    [["--", `--jwt-secret=${secret}`]],
    [["--port", `--api-key=${secret}`]],
    [["--port", `--jwt-secret=${secret}`, "--log-level", "loud"]],
    [[`--api-kez=${secret}`]],
    [["--webhook-secret", secret]],
    [["--webhook", `${secret}://x`]],
    [["api-key", secret]],
  ])("%j", (argv) => {
    const problems = problemsOf({ arguments: argv }).join("\n");

    expect(problems).not.toBe("");
    // Not a part of it either, and not letter by letter.
    expect(problems).not.toContain(secret.slice(0, 8));
    expect(problems.split("\n").length).toBeLessThan(4);
  });
});

describe("every row of the table is", () => {
  for (const row of settingsTable)
    test(`in the help and in the README's table, with what it does and its default: ${row.name}`, () => {
      const lines = describeSettings();
      const at = lines.findIndex((line) => new RegExp(`^ +--${row.name}( |$)`).test(line));

      expect(lines[at + 1]?.trim()).toBe(row.help);
      expect(lines[at]).toEndWith(` (${row.default || "none"})`);
      expect(toMarkdown().split("\n")).toContainEqual(
        expect.stringMatching(
          new RegExp(
            `^\\| \`--${row.name}\` \\| \`SERVER_PUSH_[A-Z0-9_]+\` .*${row.default === "" ? " none " : `\`${row.default}\``}`,
          ),
        ),
      );
    });
});

test("the help also lists --config", () => {
  expect(describeSettings().join("\n")).toContain("--config FILE");
});
