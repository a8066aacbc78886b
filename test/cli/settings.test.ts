import { describe, expect, test } from "bun:test";
import { toProblem } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { run, startProcess } from "../support/process.ts";
import { program } from "../support/program.ts";

const quiet = ["--port=0", "--log-format=json"];

/** The largest message that the server says it takes. */
async function readLimit(server: { readonly url: string }): Promise<number> {
  const refusal = await fetch(`${server.url}/pushtoall`, { method: "POST", body: "x".repeat(5000) });
  return Number(/the limit is (\d+)/.exec((await toProblem(refusal)).detail)?.[1]);
}

describe("a setting is taken from", () => {
  test("a flag", async () => {
    await using server = await startProcess([...program, ...quiet, "--max-message", "1KiB"]);

    expect(await readLimit(server)).toBe(1024);
  });

  test("the environment", async () => {
    await using server = await startProcess([...program, ...quiet], { SERVER_PUSH_MAX_MESSAGE: "2KiB" });

    expect(await readLimit(server)).toBe(2048);
  });

  test("a TOML file", async () => {
    await using folder = await makeFolder({
      "push.toml": '# ours\nmax-message = "3KiB"\nmax-sessions = 10\ninsecure = false\n',
    });

    await using server = await startProcess([...program, ...quiet, "--config", folder.file("push.toml")]);

    expect(await readLimit(server)).toBe(3072);
  });

  test("the TOML file that the environment names", async () => {
    await using folder = await makeFolder({ "push.toml": "max-message = 4096\n" });

    await using server = await startProcess([...program, ...quiet], {
      SERVER_PUSH_CONFIG: folder.file("push.toml"),
    });

    expect(await readLimit(server)).toBe(4096);
  });

  test("a flag rather than the environment", async () => {
    await using server = await startProcess([...program, ...quiet, "--max-message=1KiB"], {
      SERVER_PUSH_MAX_MESSAGE: "2KiB",
    });

    expect(await readLimit(server)).toBe(1024);
  });

  test("the environment rather than a TOML file", async () => {
    await using folder = await makeFolder({ "push.toml": 'max-message = "3KiB"\n' });

    await using server = await startProcess([...program, ...quiet, "--config", folder.file("push.toml")], {
      SERVER_PUSH_MAX_MESSAGE: "2KiB",
    });

    expect(await readLimit(server)).toBe(2048);
  });
});

test("what Kubernetes injects for a service of this name is no setting", async () => {
  await using server = await startProcess([...program, ...quiet], {
    SERVER_PUSH_PORT: "tcp://10.0.0.1:8888",
    SERVER_PUSH_SERVICE_HOST: "10.0.0.1",
    SERVER_PUSH_SERVICE_PORT: "8888",
    SERVER_PUSH_PORT_8888_TCP: "tcp://10.0.0.1:8888",
    SERVER_PUSH_PORT_8888_TCP_ADDR: "10.0.0.1",
  });

  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("all mistakes are reported at once, each with where it stands and what was expected", async () => {
  await using folder = await makeFolder({ "push.toml": 'ping = "soon"\ncolour = "red"\ndrain = [1]\n' });
  const file = folder.file("push.toml");

  const { status, stdout, stderr } = await run(
    [...program, "--port", "70000", "--prot=1", "--max-message=0", "--config", file, "--insecure=maybe"],
    { environment: { SERVER_PUSH_LOG_LEVEL: "loud", SERVER_PUSH_PROT: "1" } },
  );

  const said = stderr.trimEnd().split("\n");
  const mistakes = [
    ["--port", '"70000" is not a port from 0 to 65535'],
    ["--prot", "unknown setting, expected one that --help lists"],
    ["--max-message", '"0" is not a size from 1 to 64MiB'],
    ["--insecure", '"maybe" is not true or false'],
    ["SERVER_PUSH_LOG_LEVEL", '"loud" is not error, warn, info or debug'],
    ["SERVER_PUSH_PROT", "unknown setting, expected one that --help lists"],
    [`${file}: ping`, '"soon" is not a duration from 100ms to 1h'],
    [`${file}: colour`, "unknown setting, expected one that --help lists"],
    [`${file}: drain`, "is neither text, a number nor true or false"],
  ] as const;
  const unsaid = mistakes.filter(
    ([where, wrong]) => !said.some((line) => line.includes(where) && line.includes(wrong)),
  );
  expect(unsaid).toEqual([]);
  expect(said).toHaveLength(mistakes.length);
  expect(stdout).toBe("");
  expect(status).toBe(2);
});

test.each([
  ["a setting twice", ["--port=1", "--port=2"], "--port: given more than once, expected it once"],
  ["a setting without its value", ["--port"], "--port: has no value, expected one"],
  [
    "an unknown command",
    ["pish"],
    '"pish": unexpected, expected a command (push, listen, events) first or only flags',
  ],
  ["an address that others can reach", ["--host=0.0.0.0"], '"0.0.0.0" is not a loopback address'],
])("%s is refused", async (_, argv, said) => {
  const { status, stdout, stderr } = await run([...program, ...argv]);

  expect(stderr).toContain(said);
  expect(stderr).toMatch(/^server-push: .*\n$/);
  expect(stdout).toBe("");
  expect(status).toBe(2);
});

test("an address that others can reach is reported together with the other mistakes", async () => {
  const { status, stderr } = await run([...program, "--host=0.0.0.0", "--port=none"]);

  expect(stderr).toContain('"0.0.0.0" is not a loopback address');
  expect(stderr).toContain('--port: "none"');
  expect(status).toBe(2);
});

describe("a settings file", () => {
  test("that is missing is refused by name", async () => {
    await using folder = await makeFolder();

    const { status, stderr } = await run([...program, "--config", folder.file("push.toml")]);

    expect(stderr).toContain(`"${folder.file("push.toml").slice(0, 64)}`);
    expect(stderr).toMatch(/^server-push: --config .* expected a TOML file that can be read\n$/);
    expect(status).toBe(2);
  });

  test("that is not TOML is refused with what is wrong in it", async () => {
    await using folder = await makeFolder({ "push.toml": "port = 1\nport 8888\n" });

    const { status, stderr } = await run([...program, "--config", folder.file("push.toml")]);

    expect(stderr).toMatch(/^server-push: --config .*TOML.* expected a TOML file that can be read\n$/);
    expect(status).toBe(2);
  });

  test.each([
    ["data = 5", "data: is not text, expected a path in quotes"],
    ["data = true", "data: is not text, expected a path in quotes"],
    ["host = 127", "host: is not text, expected a host name or an IP address in quotes"],
  ])("with %s is refused, as the number or switch would be taken for a name", async (line, said) => {
    await using folder = await makeFolder({ "push.toml": `${line}\n` });

    const { status, stderr } = await run([...program, "--config", folder.file("push.toml")]);

    expect(stderr).toBe(`server-push: ${folder.file("push.toml")}: ${said}\n`);
    expect(status).toBe(2);
  });

  test("that cannot be read is reported together with the other mistakes", async () => {
    await using folder = await makeFolder();

    const { status, stderr } = await run([
      ...program,
      "--config",
      folder.file("push.toml"),
      "--max-message=none",
    ]);

    expect(stderr).toContain("expected a TOML file that can be read");
    expect(stderr).toContain('--max-message: "none"');
    expect(status).toBe(2);
  });
});
