/**
 * Replays of megabytes: to those that read, to those that do not, and to those that retention overtakes.
 */
import { describe, expect, test } from "bun:test";
import { pushBacklog, toText } from "../support/backlog.ts";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { readMemory, readMetrics, startServer, type TestServer } from "../support/server.ts";
import { expectNobodyLate } from "../support/siege.ts";
import { type Receiver, streams, transports } from "../support/transports.ts";

/** Messages that are together more than all the system's buffers of a connection take. */
const long = { userid: "1", count: 600, size: 60_000 };
const keepLong = { "retain-bytes": "64MiB" };

async function expectBacklog(receiver: Receiver, count: number, size: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const { data } = await receiver.next();
    if (data !== toText(index, size)) throw new Error(`${data.trim()} came in place of ${index}`);
  }
}

async function readReplays(server: TestServer): Promise<number | undefined> {
  return (await readMetrics(server)).get("server_push_replays");
}

describe.each(transports)("over $name", ({ open }) => {
  test.each([
    ["small messages", 20_000, 20],
    ["messages of a kilobyte", 8000, 1000],
    ["messages of nearly --max-message", 200, 65_000],
  ])("a replay of many %s comes whole and in order, and then what is live", async (_, count, size) => {
    await using server = await startServer(keepLong);
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, { userid: "1", count, size });

    await using receiver = await open(server, { query: "userid=1", since });

    await expectBacklog(receiver, count, size);
    const [{ data }] = await Promise.all([receiver.next(), push(server, "userid=1", "live")]);
    expect(data).toBe("live");
    const figures = await readMetrics(server);
    // What is pushed before the replay has ended comes with it.
    expect([count, count + 1]).toContain(figures.get("server_push_replayed_total") ?? 0);
    expect(figures.get("server_push_replays")).toBe(0);
  });
});

describe.each(streams)("over $name, a reader that stops in the middle of its replay", ({ open, hasIds }) => {
  test("gets the rest when it reads on, and what was pushed meanwhile, in order", async () => {
    await using server = await startServer(keepLong);
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, long);
    await using receiver = await open(server, { query: "userid=1", since });
    receiver.stopReading();
    await push(server, "userid=1", "a");
    // It is connected, so this is for it, too.
    await push(server, "userid=1&ttl=0", "b");
    await push(server, "userid=1", "c");

    receiver.readOn();

    await expectBacklog(receiver, long.count, long.size);
    const rest = [await receiver.next(), await receiver.next(), await receiver.next()];
    expect(rest.map(({ data }) => data)).toEqual(["a", "b", "c"]);
  });

  test.each(["1KiB", "16KiB", "64KiB"])(
    "is not taken for a slow one, although --max-queued is only %s",
    async (maxQueued) => {
      await using server = await startServer({
        ...keepLong,
        "max-queued": maxQueued,
        "max-message": "1KiB",
      });
      const backlog = { userid: "1", count: 30_000, size: 1000 };
      const since = (await pushToAll(server, "before")).id;
      await pushBacklog(server, backlog);
      await using receiver = await open(server, { query: "userid=1", since });
      receiver.stopReading();
      await eventually("a replay that waits", async () => {
        const before = (await readMetrics(server)).get("server_push_replayed_total");
        return (await readMetrics(server)).get("server_push_replayed_total") === before;
      });

      receiver.readOn();

      await expectBacklog(receiver, backlog.count, backlog.size);
      expect((await readMetrics(server)).get("server_push_sessions")).toBe(1);
    },
    60_000,
  );

  test("holds up nobody who is live, and takes little memory, also when there are many of it", async () => {
    await expectNobodyLate(async () => {
      await using server = await startServer(keepLong);
      const since = (await pushToAll(server, "before")).id;
      await pushBacklog(server, long);
      await using live = await connect(server, "userid=2");
      const before = await readMemory(server);
      const stopped = await Promise.all(
        Array.from({ length: 30 }, async () => {
          const receiver = await open(server, { query: "userid=1", since });
          receiver.stopReading();
          return receiver;
        }),
      );

      const delays: number[] = [];
      for (let index = 0; index < 200; index++) {
        const began = performance.now();
        await push(server, "userid=2", `${index}`);
        expect(await live.next()).toBe(`${index}`);
        delays.push(performance.now() - began);
      }

      const after = await readMemory(server);
      expect(await readReplays(server)).toBe(30);
      // Without a bound it would be a gigabyte; most of what there is, is what was read before each stopped.
      expect(after - before).toBeLessThan(300 * 2 ** 20);
      for (const receiver of stopped) await receiver[Symbol.asyncDispose]();
      await untilSessions(server, 1);
      expect(await readReplays(server)).toBe(0);
      return Math.max(...delays);
    });
  });

  test("is ended when retention overtakes it, with what it has without a hole, and is told when it comes back", async () => {
    await using server = await startServer({ "retain-bytes": "40MiB" });
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, long);
    await using receiver = await open(server, { query: "userid=1", since });
    receiver.stopReading();
    await pushBacklog(server, { userid: "2", count: 700, size: 60_000 });

    receiver.readOn();
    const { rest, code } = await receiver.ended();

    expect(rest.length).toBeLessThan(long.count);
    expect(rest.map(({ data }) => data.trim())).toEqual(rest.map((_, index) => `${index}`));
    if (code !== undefined) expect(code).toBe(1013);
    await untilSessions(server, 0);
    if (!hasIds) return;
    await using again = await open(server, { query: "userid=1", since: rest.at(-1)?.id ?? since });
    expect(again.resumed).toBe(false);
  });

  test("is told no position before it has had everything up to there", async () => {
    await using server = await startServer({ ...keepLong, ping: "2s" });
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, long);
    await using receiver = await open(server, { query: "userid=1", since });
    receiver.stopReading();
    const stopped = performance.now();
    await eventually("the time of a ping", () => performance.now() > stopped + 2200);

    receiver.readOn();

    await expectBacklog(receiver, long.count, long.size);
    const offsets = receiver.told.map((id) => Number(id.slice(id.indexOf("-") + 1)));
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  }, 30_000);

  test("can go away, and leaves no replay behind", async () => {
    await using server = await startServer(keepLong);
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, long);
    const receiver = await open(server, { query: "userid=1", since });
    receiver.stopReading();
    expect(await readReplays(server)).toBe(1);

    await receiver[Symbol.asyncDispose]();

    await untilSessions(server, 0);
    expect(await readReplays(server)).toBe(0);
  });
});
