import { expect, setDefaultTimeout, test } from "bun:test";
import { push, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { startIntoPipe } from "../support/pipe.ts";
import { startProcess } from "../support/process.ts";
import { program, start } from "../support/program.ts";
import type { LogLine } from "../support/server.ts";

setDefaultTimeout(60_000);

const quiet = ["--port=0", "--log-format=json"];

test("where the output is not a terminal every line is a JSON object with a level, a time and an event", async () => {
  await using server = start([...program, "--port=0"]);

  const entry = JSON.parse(await server.line());

  expect(entry).toMatchObject({ level: "info", msg: "listening" });
  expect(entry.time).toBe(new Date(entry.time).toISOString());
});

test("a service's log does not hold every session and push", async () => {
  await using server = await startProcess([...program, ...quiet]);
  await using client = await connect(server, "userid=1");
  await push(server, "userid=1", "hello");
  await client.next();

  await server.drain();

  expect(server.log.filter(({ msg }) => msg === "push" || msg.startsWith("session "))).toEqual([]);
});

test("at level debug a service's log holds every session and push, but no message", async () => {
  await using server = await startProcess([...program, ...quiet, "--log-level=debug"]);
  await using client = await connect(server, "userid=1&compid=inbox");
  const { id } = await push(server, "userid=1&event=order", "secret words");
  await client.next();

  const pushed = await untilLogged(server, ({ msg }) => msg === "push");

  expect(pushed).toMatchObject({ level: "debug", userid: "1", id, event: "order", bytes: 12, sessions: 1 });
  expect(server.log).toContainEqual(
    expect.objectContaining({ msg: "session opened", userid: "1", compid: "inbox" }),
  );
  expect(JSON.stringify(server.log)).not.toContain("secret");
});

test("a reader of the log that goes away does not stop the server", async () => {
  await using server = start([...program, "--port=0", "--log-level=debug"]);
  const { url } = JSON.parse(await server.line());

  await server.stopReading();
  for (let count = 0; count < 10; count++) await push({ url }, "userid=1", "hello");

  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

test("a reader of the log that stops reading does not keep the server from ending", async () => {
  await using server = await startIntoPipe([...program, "--port=0", "--log-level=debug"]);
  await eventually("the first line", () => server.read().includes("\n"));
  const { url } = JSON.parse(server.read().split("\n")[0] ?? "");
  for (let count = 0; count < 1000; count++) await push({ url }, "userid=1", "hello");

  server.signal("SIGTERM");

  await eventually("the end of the server", () => server.status !== undefined);
  expect(server.status).toBe(0);
});

test("the log is complete when the server has ended", async () => {
  const servers = 10;

  const logs = await Promise.all(Array.from({ length: servers }, logToTheEnd));

  const lastWords = logs.map((log) => log.slice(-3).map(({ msg }) => msg.split(";")[0]));
  for (const words of lastWords) expect(words.toSorted()).toEqual(["session closed", "stopped", "stopping"]);
});

/** What a server with one session logs when it is told to stop. */
async function logToTheEnd(): Promise<readonly LogLine[]> {
  await using server = await startProcess([...program, ...quiet, "--log-level=debug"]);
  await using client = await connect(server, "userid=1");
  await server.drain();
  await client.closed;
  await untilLogged(server, ({ msg }) => msg === "stopped");
  return server.log;
}
