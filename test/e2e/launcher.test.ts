/**
 * `npm start`: what starts the server must also end it as it asks to be ended.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { push, untilSessions } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { openRawSession } from "../support/frames.ts";
import { readLines, root } from "../support/process.ts";
import type { LogLine } from "../support/server.ts";

/** Plain Node, as with npm; Bun where there is none, as with `bun start`. */
const node = Bun.which("node") ?? process.execPath;

const launch = [
  node,
  join(root, "src/build/bun.mjs"),
  "--max-http-header-size=262144",
  join(root, "src/main.ts"),
];

test("a server is told to read its keys again, and goes on", async () => {
  const [first, second] = ["a".repeat(32), "b".repeat(32)];
  await using folder = await makeFolder({ keys: first });
  const file = folder.file("keys");
  const settings = ["--port=0", "--log-format=json", `--api-key-file=${file}`];
  await using launcher = Bun.spawn([...launch, ...settings], { stdout: "pipe" });
  const lines = readLines(launcher.stdout);
  const next = async (): Promise<LogLine> => JSON.parse((await lines.next()).value ?? "{}");
  const { url } = await next();
  // What it says of keys.
  await next();
  await Bun.write(file, second);

  launcher.kill("SIGHUP");

  expect(await next()).toMatchObject({ msg: "the API keys are read", keys: 1 });
  const headers = { Authorization: `Bearer ${second}` };
  expect((await fetch(`${url}/push?userid=1&message=hello`, { headers })).status).toBe(202);
}, 30_000);

test("a server whose npm is killed stops in good order, however long that takes", async () => {
  const settings = ["--port=0", "--log-format=json", "--drain=2s", "--max-queued=64MiB"];
  // The second command keeps the shell there: it is between the launcher and us, as npm's is.
  const shell = Bun.spawn(["sh", "-c", '"$@"; true', "sh", ...launch, ...settings], { stdout: "pipe" });
  const lines = readLines(shell.stdout);
  const { url } = JSON.parse((await lines.next()).value ?? "{}");
  await using stuck = await openRawSession({ port: Number(new URL(url).port) }, "userid=1");
  await untilSessions({ url }, 1);
  stuck.raw.stopReading();
  for (let count = 0; count < 200; count++) await push({ url }, "userid=1", "x".repeat(60_000));

  shell.kill("SIGKILL");

  const said: LogLine[] = [];
  for await (const line of lines) said.push(JSON.parse(line));
  expect(said.map(({ msg }) => msg.split(";")[0]).slice(-2)).toEqual(["stopping", "stopped"]);
}, 30_000);
