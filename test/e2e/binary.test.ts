/**
 * The compiled file is all that a machine needs.
 */
import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { makeFolder } from "../support/folder.ts";
import { compiledFile, run, type ServerProcess, startProcess } from "../support/process.ts";
import { readMetrics } from "../support/server.ts";

/** With nothing in its environment, from this folder. */
async function startBare(folder: string): Promise<ServerProcess> {
  const bare = ["/bin/sh", "-c", 'cd "$0" && exec /usr/bin/env -i "$@"', folder];
  return await startProcess([...bare, compiledFile, "--port=0", "--log-format=json"]);
}

test("it serves with an empty environment, from an empty folder", async () => {
  await using folder = await makeFolder();
  await using server = await startBare(folder.path);
  await using client = await connect(server, "userid=123&compid=inbox");

  await push(server, "userid=123&compid=inbox", "hello");

  expect(await client.next()).toBe("hello");
});

test("every page and figure is there without a file beside it", async () => {
  await using folder = await makeFolder();
  await using server = await startBare(folder.path);
  const paths = ["/swagger", "/swagger/ui.js", "/swagger/ui.css", "/swagger/json", "/healthz", "/metrics"];

  const answers = await Promise.all(paths.map((path) => fetch(server.url + path)));

  expect(answers.map(({ status }) => status)).toEqual(paths.map(() => 200));
});

test("it leaves nothing behind in the folder where it ran", async () => {
  await using folder = await makeFolder();
  await using server = await startBare(folder.path);

  await server.drain();

  expect(await readdir(folder.path)).toEqual([]);
});

test("it starts where no Bun is on the path", async () => {
  await using empty = await makeFolder();

  const { status, stdout } = await run([compiledFile, "--version"], { environment: { PATH: empty.path } });

  expect(stdout).toStartWith("server-push ");
  expect(status).toBe(0);
});

test("it runs nothing that a bunfig.toml in its folder names", async () => {
  await using folder = await makeFolder({
    "bunfig.toml": 'preload = ["./evil.ts"]\n[run]\npreload = ["./evil.ts"]\n',
    "evil.ts": 'require("node:fs").writeFileSync("evil-was-here", ""); process.exit(66);\n',
  });

  await using server = await startBare(folder.path);

  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  expect(await readdir(folder.path)).not.toContain("evil-was-here");
});

test.each([".env", ".env.local"])("it reads no setting from %s in its folder", async (name) => {
  await using folder = await makeFolder({ [name]: "SERVER_PUSH_PORT=none\nSERVER_PUSH_LOG_LEVEL=error\n" });

  await using server = await startBare(folder.path);

  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("it takes neither a package.json nor a tsconfig.json in its folder for its own", async () => {
  await using folder = await makeFolder({
    "package.json": '{ "version": "6.6.6", "type": "commonjs", "imports": { "elysia": "./evil.ts" } }',
    "tsconfig.json": '{ "compilerOptions": { "paths": { "*": ["./evil.ts"] } } }',
    "evil.ts": 'throw new Error("evil");\n',
  });

  await using server = await startBare(folder.path);

  expect((await fetch(`${server.url}/metrics`)).status).toBe(200);
  expect(server.log[0]?.["version"]).not.toBe("6.6.6");
});

test("what it says of itself is what it was built as", async () => {
  const { stdout } = await run([compiledFile, "--version"]);
  await using server = await startProcess([compiledFile, "--port=0", "--log-format=json"]);

  const name = (await readMetrics(server)).keys().find((key) => key.startsWith("server_push_build_info"));

  const [, version, commit] = /^server-push (\S+) \((\S+)\)/.exec(stdout) ?? [];
  expect(commit).toMatch(/^[0-9a-f]{7,}(\+changes)?$|^unknown$/);
  expect(name).toContain(`version="${version}",commit="${commit}"`);
});

test.skipIf(process.platform !== "linux")("it needs no library but the C library's own", async () => {
  // The dynamic loader lists what it would load, which is what ldd has it do.
  const { stdout } = await run([compiledFile], { environment: { LD_TRACE_LOADED_OBJECTS: "1" } });

  const needed = stdout.match(/[\w.+-]+\.so[\w.]*/g) ?? [];
  const ofLibc = /^(linux-vdso|ld-linux.*|ld-musl.*|libc|libc\.musl.*|libm|libdl|librt|libpthread)\.so/;
  expect(needed).not.toBeEmpty();
  expect(needed.filter((library) => !ofLibc.test(library))).toEqual([]);
});
