/**
 * A session that reads slowly, or not at all, is nobody else's problem.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { pushBacklog, toText } from "../support/backlog.ts";
import { push, pushToAll, receiveUntil, untilLogged, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { type Block, openEventStream } from "../support/event-stream.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession, toFrame } from "../support/frames.ts";
import { openReceiver } from "../support/receiver.ts";
import { type LogLine, readMemory, readMetrics, startServer, type TestServer } from "../support/server.ts";

// Some push as much as the system takes, beside other tests.
setDefaultTimeout(60_000);

const settings = { "max-queued": "64KiB", "retain-count": "1" };

const isSlow = ({ msg }: LogLine) => msg === "a session reads too slowly and is dropped";

/** Numbered messages of 32 KiB: a hundred are far more than the system's own buffers take. */
const toMessage = (index: number) => `${index}`.padEnd(32_768);

async function pushMany(server: TestServer, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await push(server, "userid=1", toMessage(index));
}

describe("a session that never reads", () => {
  test("and is told to go stays no longer by sending, and what it sends is not taken", async () => {
    await using server = await startServer({ ping: "2s", "max-queued": "16MiB" });
    await using slow = await openRawSession(server, "userid=1");
    slow.raw.stopReading();
    await pushMany(server, 200);
    const closing = await fetch(`${server.url}/sessions?userid=1`, { method: "DELETE" });

    const sending = setInterval(() => void slow.raw.write(toFrame(opcodes.text, "still here")), 50);
    await untilSessions(server, 0).finally(() => clearInterval(sending));

    expect(await closing.json()).toEqual({ closed: 1 });
    expect((await readMetrics(server)).get("server_push_received_total")).toBe(0);
  });

  test("is dropped when --max-queued waits for it", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1&compid=inbox");
    slow.raw.stopReading();

    await pushMany(server, 1000);

    await untilSessions(server, 0);
    const figures = await readMetrics(server);
    expect(figures.get('server_push_sessions_closed_total{reason="slow"}')).toBe(1);
    expect(await untilLogged(server, isSlow)).toMatchObject({
      level: "warn",
      id: expect.stringMatching(/^[\w-]{22}$/),
      userid: "1",
      compid: "inbox",
      transport: "websocket",
      maxQueued: 65_536,
    });
  });

  test("is not counted by the push that it is dropped by, while one that reads is", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1");
    await using fast = await connect(server, "userid=1");
    slow.raw.stopReading();

    const counts: number[] = [];
    while (counts.at(-1) !== 1)
      counts.push((await push(server, "userid=1", toMessage(counts.length))).sessions);

    slow.raw.readOn();
    await slow.raw.ended;
    expect(new Set(counts.slice(0, -1))).toEqual(new Set([2]));
    const figures = await readMetrics(server);
    expect(figures.get("server_push_deliveries_total")).toBe(2 * counts.length - 1);
    expect(await fast.next()).toBe(toMessage(0));
  });

  test("takes nothing from one that reads, which gets everything in order", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1");
    await using fast = await connect(server, "userid=1");
    slow.raw.stopReading();

    await pushMany(server, 1000);
    await pushToAll(server, "end");

    const received = await receiveUntil(fast, "end");
    expect(received.length).toBe(1000);
    expect(received.every((message, index) => message === toMessage(index))).toBe(true);
  });

  test("has had a prefix of the stream without a hole when it is dropped", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1");
    slow.raw.stopReading();
    await pushMany(server, 1000);
    await untilSessions(server, 0);

    slow.raw.readOn();
    await slow.raw.ended;

    let next = 0;
    for (;;) {
      const frame = await slow.frame().catch(() => undefined);
      if (frame === undefined) break;
      expect(frame.payload.toString("latin1")).toBe(toMessage(next++));
    }
    expect(next).toBeGreaterThan(0);
    expect(next).toBeLessThan(1000);
  });

  test("does not make the server's memory grow with what it leaves unread", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1");
    slow.raw.stopReading();
    await pushMany(server, 2000);
    const before = await readMemory(server);

    await pushMany(server, 4000);

    expect((await readMemory(server)) - before).toBeLessThan(64 * 2 ** 20);
  });
});

test("a session that falls behind by less than --max-queued stays, and gets everything", async () => {
  await using server = await startServer({ ...settings, "max-queued": "64MiB" });
  await using slow = await openRawSession(server, "userid=1");
  slow.raw.stopReading();

  await pushMany(server, 500);
  slow.raw.readOn();

  for (let index = 0; index < 500; index++)
    expect((await slow.frame()).payload.toString("latin1")).toBe(toMessage(index));
  expect((await readMetrics(server)).get("server_push_sessions")).toBe(1);
});

test("a session that is told what is wrong with its frames, and reads none of it, is ended as slow", async () => {
  await using server = await startServer({ "max-queued": "64KiB", "max-receive-rate": "1000000" });
  await using session = await openRawSession(server, "userid=1", ["Sec-WebSocket-Protocol: push.v1"]);
  session.raw.stopReading();
  const wrong = Buffer.concat(Array.from({ length: 1000 }, () => toFrame(opcodes.text, "wrong")));

  await eventually("its end", async () => {
    await session.raw.write(wrong);
    return (await readMetrics(server)).get("server_push_sessions") === 0;
  });

  const figures = await readMetrics(server);
  expect(figures.get("server_push_sessions_opened_total")).toBe(1);
  expect(figures.get('server_push_sessions_closed_total{reason="slow"}')).toBe(1);
  expect(await untilLogged(server, isSlow)).toMatchObject({ userid: "1", transport: "websocket" });
  expect(server.log.filter(isSlow)).toHaveLength(1);
});

test("a session that reads none of what the back end replies to it is ended as slow", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => ({ status: 200, body: "x".repeat(60_000) });
  await using server = await startServer({
    ...settings,
    webhook: receiver.url,
    "webhook-events": "message.received",
  });
  await using session = await openRawSession(server, "userid=1");
  session.raw.stopReading();

  await eventually("its end", async () => {
    await session.raw.write(toFrame(opcodes.text, "hello"));
    return (await readMetrics(server)).get("server_push_sessions") === 0;
  });

  const figures = await readMetrics(server);
  expect(figures.get('server_push_sessions_closed_total{reason="slow"}')).toBe(1);
  expect(await untilLogged(server, isSlow)).toMatchObject({ userid: "1", maxQueued: 65_536 });
});

/** Whether the system has this connection open at its first end, as Linux shows it: ports in hexadecimal, 01 for established. */
async function isEstablished(port: number, otherPort: number): Promise<boolean> {
  const [from, to] = [port, otherPort].map((each) => each.toString(16).toUpperCase().padStart(4, "0"));
  return new RegExp(`:${from} \\w+:${to} 01 `).test(await readFile("/proc/net/tcp", "utf8"));
}

/** Messages that are together more than all the system's buffers of a connection take. */
const flood = { userid: "1", count: 500, size: 60_000 };

describe("a stream of events that is not read", () => {
  const roomy = { "max-queued": "64KiB", "retain-bytes": "64MiB" };

  test("is ended when --max-queued waits for it, and is counted and logged as slow", async () => {
    await using server = await startServer(roomy);
    await using slow = await openEventStream(server, { query: "userid=1&compid=inbox" });
    slow.raw.stopReading();

    await pushBacklog(server, flood);

    await untilSessions(server, 0);
    const figures = await readMetrics(server);
    expect(figures.get('server_push_sessions_closed_total{reason="slow"}')).toBe(1);
    expect(await untilLogged(server, isSlow)).toMatchObject({
      level: "warn",
      id: expect.stringMatching(/^[\w-]{22}$/),
      userid: "1",
      compid: "inbox",
      transport: "sse",
      maxQueued: 65_536,
    });
  });

  test("is not counted by the push that it is ended by, while one that is read is", async () => {
    await using server = await startServer(roomy);
    await using slow = await openEventStream(server, { query: "userid=1" });
    await using fast = await openEventStream(server, { query: "userid=1" });
    slow.raw.stopReading();

    const counts: number[] = [];
    while (counts.at(-1) !== 1)
      counts.push((await push(server, "userid=1", toMessage(counts.length))).sessions);

    expect(new Set(counts.slice(0, -1))).toEqual(new Set([2]));
    await fast.block();
    for (const [index] of counts.entries()) expect((await fast.event()).data).toBe(toMessage(index));
  });

  test("ends in good order after what already waits, so that its client comes back, and then has everything", async () => {
    await using server = await startServer(roomy);
    await using slow = await openEventStream(server, { query: "userid=1" });
    slow.raw.stopReading();
    await pushBacklog(server, flood);
    await untilSessions(server, 0);

    slow.raw.readOn();
    const had: Block[] = [];
    for (let block = await slow.block(); block !== undefined; block = await slow.block()) had.push(block);
    await using again = await openEventStream(server, {
      query: "userid=1",
      headers: { "Last-Event-ID": had.at(-1)?.id ?? "" },
    });
    await again.block();

    expect(again.head.headers.get("server-push-resumed")).toBe("true");
    const texts = had.slice(1).map(({ data }) => data);
    expect(texts.length).toBeLessThan(flood.count);
    while (texts.length < flood.count) texts.push((await again.event()).data);
    expect(texts).toEqual(Array.from({ length: flood.count }, (_, index) => toText(index, flood.size)));
  });

  test("loses its connection too when it never reads on", async () => {
    await using server = await startServer({ ...roomy, ping: "100ms" });
    await using slow = await openEventStream(server, { query: "userid=1" });
    slow.raw.stopReading();
    expect(await isEstablished(server.port, slow.raw.port)).toBe(true);

    await pushBacklog(server, flood);

    await untilSessions(server, 0);
    await eventually(
      "the end of its connection",
      async () => !(await isEstablished(server.port, slow.raw.port)),
      15_000,
    );
  }, 20_000);

  test("does not make the server's memory grow with what it leaves unread", async () => {
    await using server = await startServer({ ...settings, "max-queued": "1MiB" });
    await using slow = await openEventStream(server, { query: "userid=1" });
    slow.raw.stopReading();
    await pushMany(server, 2000);
    const before = await readMemory(server);

    await pushMany(server, 4000);

    expect((await readMemory(server)) - before).toBeLessThan(64 * 2 ** 20);
  });

  test("for two pings, and for five seconds at least, is dead, and ends although less than --max-queued waits for it", async () => {
    await using server = await startServer({ ...roomy, "max-queued": "64MiB", ping: "100ms" });
    await using silent = await openEventStream(server, { query: "userid=1" });
    silent.raw.stopReading();
    await pushBacklog(server, flood);

    expect((await readMetrics(server)).get("server_push_sessions")).toBe(1);
    await eventually(
      "its end",
      async () => (await readMetrics(server)).get("server_push_sessions") === 0,
      15_000,
    );
  }, 20_000);
});
