/**
 * API keys where people put them: a flag, the environment, a file that is read again on SIGHUP.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { untilLogged } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { run, startProcess } from "../support/process.ts";
import { program } from "../support/program.ts";

setDefaultTimeout(60_000);

const key = "0123456789abcdef";
const other = "fedcba9876543210";
const quiet = ["--port=0", "--log-format=json", "--log-level=debug"];

async function push(server: { readonly url: string }, given: string): Promise<number> {
  const headers = { Authorization: `Bearer ${given}` };
  return (await fetch(`${server.url}/pushtoall?message=m`, { headers })).status;
}

test("a key may come from the environment, and is in no line of the log, whatever is asked", async () => {
  const command = ["env", `SERVER_PUSH_API_KEY=${key}`, ...program, ...quiet, "--public-metrics"];
  await using server = await startProcess(command);

  expect(await push(server, key)).toBe(202);
  expect(await push(server, other)).toBe(401);
  await untilLogged(server, (line) => JSON.stringify(line).includes("a push needs the API key"));
  const shown = [JSON.stringify(server.log), await (await fetch(`${server.url}/metrics`)).text()].join();
  for (const secret of [key, other]) expect(shown).not.toContain(secret);
});

test("a file of settings with a key that is not in quotes is refused, and nothing of it is shown", async () => {
  await using folder = await makeFolder();
  const path = folder.file("push.toml");
  await writeFile(path, `api-key = ${key}SECRET\n`);

  const { status, stderr } = await run([...program, ...quiet, "--config", path]);

  expect(status).toBe(2);
  expect(stderr).toContain("is not TOML: perhaps a text in it has no quotes");
  expect(stderr).not.toContain("SECRET");
});

test("--help shows no key that is set", async () => {
  const { stdout, status } = await run(["env", `SERVER_PUSH_API_KEY=${key}`, ...program, "--help"]);

  expect(status).toBe(0);
  expect(stdout).toContain("--api-key KEYS (none)");
  expect(stdout).not.toContain(key);
});

describe("a file of keys", () => {
  test("is read again on SIGHUP: what is new is valid, what is gone is not, and no session ends", async () => {
    await using folder = await makeFolder();
    const path = folder.file("keys");
    await writeFile(path, `${key}\n`);
    await using server = await startProcess([...program, ...quiet, "--api-key-file", path]);
    expect([await push(server, key), await push(server, other)]).toEqual([202, 401]);

    await writeFile(path, `${other}\n`);
    server.signal("SIGHUP");
    await untilLogged(server, ({ msg }) => msg === "reloaded");

    expect([await push(server, key), await push(server, other)]).toEqual([401, 202]);
  });

  test("is read again for publishers' own port too, and for the document and the figures there", async () => {
    await using folder = await makeFolder();
    const path = folder.file("keys");
    await writeFile(path, `${key}\n`);
    await using server = await startProcess([...program, ...quiet, "--api-port=0", "--api-key-file", path]);
    const askAll = async (given: string) => {
      const headers = { Authorization: `Bearer ${given}` };
      const paths = ["/pushtoall?message=m", "/swagger/json", "/metrics"];
      const answers = await Promise.all(paths.map((place) => fetch(server.apiUrl + place, { headers })));
      return answers.map(({ status }) => status);
    };
    expect([await askAll(key), await askAll(other)]).toEqual([
      [202, 200, 200],
      [401, 401, 401],
    ]);

    await writeFile(path, `${other}\n`);
    server.signal("SIGHUP");
    await untilLogged(server, ({ msg }) => msg === "reloaded");

    expect([await askAll(key), await askAll(other)]).toEqual([
      [401, 401, 401],
      [202, 200, 200],
    ]);
  });

  test.each([
    ["is gone", async (path: string) => rm(path)],
    ["has a line that is none", async (path: string) => writeFile(path, `${other}\nshort\n`)],
    ["is empty", async (path: string) => writeFile(path, "")],
  ])("that %s at SIGHUP leaves the keys of before valid", async (_, spoil) => {
    await using folder = await makeFolder();
    const path = folder.file("keys");
    await writeFile(path, `${key}\n`);
    await using server = await startProcess([...program, ...quiet, "--api-key-file", path]);

    await spoil(path);
    server.signal("SIGHUP");
    const line = await untilLogged(server, ({ msg }) => msg === "the API keys stay as they were");

    expect(String(line["reason"])).toStartWith(`--api-key-file ${JSON.stringify(path)}: `);
    expect([await push(server, key), await push(server, other)]).toEqual([202, 401]);
  });

  test("that cannot be used at the start is one clear line, and exit status 2", async () => {
    await using folder = await makeFolder();
    await writeFile(folder.file("keys"), "short\n");

    const wrong = await run([...program, ...quiet, "--api-key-file", folder.file("keys")]);
    const missing = await run([...program, ...quiet, "--api-key-file", folder.file("nothing")]);

    expect([wrong.status, missing.status]).toEqual([2, 2]);
    expect(wrong.stderr).toMatch(/^server-push: --api-key-file ".*": line 1 is not a key, expected .*\n$/);
    expect(missing.stderr).toMatch(
      /^server-push: --api-key-file ".*": .*ENOENT.*; expected a file that can be read\n$/,
    );
  });
});

describe("push", () => {
  test.each([
    ["a flag", {}, ["--api-key", key]],
    ["the environment", { SERVER_PUSH_API_KEY: key }, []],
    ["the environment that the server has too, with several", { SERVER_PUSH_API_KEY: `${key},${other}` }, []],
  ])("has its key from %s", async (_, environment, flags) => {
    await using server = await startProcess([...program, ...quiet, "--api-key", key]);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);

    const answer = await run([
      "env",
      ...variables,
      ...program,
      "push",
      "--all",
      "--url",
      server.url,
      ...flags,
      "m",
    ]);
    const without = await run([...program, "push", "--all", "--url", server.url, "m"]);

    expect([answer.status, answer.stderr]).toEqual([0, ""]);
    expect(without.status).toBe(1);
    expect(without.stderr).toContain("unauthorized: the header Authorization is missing");
  });

  test("says what a key is, and shows nothing of one that is none", async () => {
    const { status, stderr } = await run([...program, "push", "--all", "--api-key", "too short", "m"]);

    expect(status).toBe(2);
    expect(stderr).toContain("expected a key of 16 to 256 characters");
    expect(stderr).not.toContain("too short");
  });
});
