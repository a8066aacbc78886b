/**
 * A session that reads slowly, or not at all, is nobody else's problem.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, receiveUntil, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { openRawSession } from "../support/frames.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

const settings = { "max-queued": "64KiB", "retain-count": "1" };

/** Numbered messages of 32 KiB: a hundred are far more than the system's own buffers take. */
const toMessage = (index: number) => `${index}`.padEnd(32_768);

async function pushMany(server: TestServer, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await push(server, "userid=1", toMessage(index));
}

describe("a session that never reads", () => {
  test("is dropped when --max-queued waits for it", async () => {
    await using server = await startServer(settings);
    await using slow = await openRawSession(server, "userid=1");
    slow.raw.stopReading();

    await pushMany(server, 1000);

    await untilSessions(server, 0);
    const figures = await readMetrics(server);
    expect(figures.get('server_push_sessions_closed_total{reason="slow"}')).toBe(1);
    expect(server.log.find(({ msg }) => msg === "a session reads too slowly and is dropped")?.level).toBe(
      "warn",
    );
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
    await pushMany(server, 100);
    const before = (await readMetrics(server)).get("process_resident_memory_bytes") ?? Number.NaN;

    await pushMany(server, 4000);

    const after = (await readMetrics(server)).get("process_resident_memory_bytes") ?? Number.NaN;
    expect(after - before).toBeLessThan(64 * 2 ** 20);
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
