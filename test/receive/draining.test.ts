/**
 * The orderly stop, as clients and publishers see it.
 */
import { expect, test } from "bun:test";
import { push, pushToAll, receiveUntil, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession } from "../support/frames.ts";
import { openRaw } from "../support/raw.ts";
import { binary, readMetrics, startServer } from "../support/server.ts";

test("sessions are closed with 1012, which says to come back", async () => {
  await using server = await startServer();
  await using first = await connect(server, "userid=1");
  await using second = await connect(server);

  await server.drain();

  expect((await first.closed).code).toBe(1012);
  expect((await second.closed).code).toBe(1012);
});

test("after it, nobody answers", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");

  await server.drain();

  await client.closed;
  await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
});

test("what was pushed before it is read before the close, in order", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");
  const sent = Array.from({ length: 100 }, (_, index) => `message ${index}`);

  await Promise.all(sent.map((message) => push(server, "userid=1", message)));
  await pushToAll(server, "end");
  await server.drain();

  const received = await receiveUntil(client, "end");
  expect(received.toSorted()).toEqual(sent.toSorted());
  expect((await client.closed).code).toBe(1012);
});

test("a slow reader still gets everything that was pushed before it, and then 1012", async () => {
  await using server = await startServer({ "max-queued": "64MiB", "retain-count": "1", drain: "10s" });
  await using slow = await openRawSession(server, "userid=1");
  slow.raw.stopReading();
  const count = 300;
  for (let index = 0; index < count; index++) await push(server, "userid=1", `${index}`.padEnd(60_000));

  const drained = server.drain();
  await eventually("a server that takes nothing new", () =>
    fetch(`${server.url}/readyz`).then(
      ({ ok }) => !ok,
      () => true,
    ),
  );
  slow.raw.readOn();

  for (let index = 0; index < count; index++)
    expect((await slow.frame()).payload.toString("latin1").trim()).toBe(`${index}`);
  const last = await slow.frame();
  expect([last.opcode, last.payload.readUInt16BE()]).toEqual([opcodes.close, 1012]);
  await drained;
});

test("a peer that reads nothing holds the stop up no longer than --drain says", async () => {
  await using server = await startServer({ "max-queued": "64MiB", "retain-count": "1", drain: "500ms" });
  await using stuck = await openRawSession(server, "userid=1");
  stuck.raw.stopReading();
  for (let index = 0; index < 200; index++) await push(server, "userid=1", "x".repeat(60_000));

  const began = performance.now();
  await server.drain();

  expect(performance.now() - began).toBeLessThan(4000);
});

test("while it goes on, the server is not ready and refuses pushes and sessions with 503 and Retry-After", async () => {
  await using server = await startServer({ drain: "10s" });
  // Sessions are closed a hundred at a time, with a pause after each: so many that there is time to ask.
  const clients = await Promise.all(Array.from({ length: 1000 }, () => connect(server)));

  const drained = server.drain();
  await Promise.race(clients.map(({ closed }) => closed));
  const answers = await Promise.all(
    ["/readyz", "/push?userid=1&message=m", "/pushtoall?message=m", "/ws"].map((target) =>
      fetch(server.url + target),
    ),
  );

  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
  for (const answer of answers) {
    expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
    expect(await answer.json()).toMatchObject({ code: "shutting_down" });
  }
  await drained;
});

test("while it goes on, the process is still alive, and its figures say how sessions ended", async () => {
  await using server = await startServer({ drain: "10s" });
  const clients = await Promise.all(Array.from({ length: 1000 }, () => connect(server)));

  const drained = server.drain();
  await Promise.race(clients.map(({ closed }) => closed));
  const health = await fetch(`${server.url}/healthz`);
  const figures = await readMetrics(server);

  expect(health.status).toBe(200);
  expect(figures.get('server_push_sessions_closed_total{reason="drained"}')).toBeGreaterThan(0);
  await drained;
});

test("a request that is in flight is answered, not cut", async () => {
  await using server = await startServer({ drain: "10s" });
  await using raw = await openRaw(server);
  await raw.write("POST /push?userid=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhel");
  await using client = await connect(server);

  const drained = server.drain();
  await client.closed;
  await raw.write("lo");

  // It came too late to be taken, and says so: the publisher tries again, and nothing is lost.
  const { status, headers } = await raw.answer();
  expect([status, headers.has("retry-after")]).toEqual([503, true]);
  await drained;
});

test("a log that is read as it is written has the whole story", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");

  await server.drain();

  await client.closed;
  expect(await untilLogged(server, ({ msg }) => msg === "session closed")).toMatchObject({
    userid: "1",
    code: 1012,
  });
  if (binary !== undefined) expect(server.log.at(-1)?.msg).toBe("stopped");
});
