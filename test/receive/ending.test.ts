/**
 * A session is removed when it ends, however it ends, and no other session is removed in its place.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, receiveUntil, untilLogged, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession, type RawSession, toClosePayload, toFrame } from "../support/frames.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

interface Ending {
  readonly how: string;
  readonly end: (session: RawSession) => unknown;
  readonly reason: string;
  readonly settings?: Readonly<Record<string, string>>;
}

const endings: readonly Ending[] = [
  {
    how: "a close frame",
    end: ({ raw }) => raw.write(toFrame(opcodes.close, toClosePayload(1000))),
    reason: "closed",
  },
  {
    how: "a close frame that says nothing",
    end: ({ raw }) => raw.write(toFrame(opcodes.close)),
    reason: "closed",
  },
  {
    how: "a page that goes away",
    end: ({ raw }) => raw.write(toFrame(opcodes.close, toClosePayload(1001))),
    reason: "closed",
  },
  { how: "the end of its connection", end: ({ raw }) => raw.finish(), reason: "dropped" },
  { how: "a reset of its connection", end: ({ raw }) => raw.reset(), reason: "dropped" },
  {
    how: "a frame against the rules",
    end: ({ raw }) => raw.write(toFrame(opcodes.text, "x", { masked: false })),
    reason: "violation",
  },
  // It answers no ping: a peer that is gone without a word.
  { how: "silence", end: () => {}, reason: "unresponsive", settings: { ping: "500ms" } },
];

describe.each(endings)("a session that ends by $how", ({ end, reason, settings }) => {
  test("is no longer one of the sessions", async () => {
    await using server = await startServer(settings);
    await using session = await openRawSession(server, "userid=1&compid=inbox");

    await end(session);

    await untilSessions(server, 0);
    expect((await push(server, "userid=1", "too late")).sessions).toBe(0);
  });

  test("leaves the other tab of its user and component as it is", async () => {
    await using server = await startServer(settings);
    await using stays = await connect(server, "userid=1&compid=inbox");
    await using ends = await openRawSession(server, "userid=1&compid=inbox");

    await end(ends);
    await untilSessions(server, 1);
    const receipts = [
      await push(server, "userid=1&compid=inbox", "user and component"),
      await push(server, "userid=1", "user"),
      await push(server, "compid=inbox", "component"),
      await pushToAll(server, "all"),
    ];

    expect(await receiveUntil(stays, "all")).toEqual(["user and component", "user", "component"]);
    expect(receipts.map(({ sessions }) => sessions)).toEqual([1, 1, 1, 1]);
  });

  test("leaves a tab that was there before it and one that came after it", async () => {
    await using server = await startServer(settings);
    await using before = await connect(server, "userid=1&compid=inbox");
    await using ends = await openRawSession(server, "userid=1&compid=inbox");
    await using after = await connect(server, "userid=1&compid=inbox");

    await end(ends);
    await untilSessions(server, 2);
    const { sessions } = await push(server, "userid=1", "hello");

    expect([await before.next(), await after.next()]).toEqual(["hello", "hello"]);
    expect(sessions).toBe(2);
  });

  test("is counted once, under the way it ended, and logged with it", async () => {
    await using server = await startServer(settings);
    await using session = await openRawSession(server, "userid=1&compid=inbox");

    await end(session);
    await untilSessions(server, 0);

    const counted = [...(await readMetrics(server))].filter(
      ([name, value]) => name.startsWith("server_push_sessions_closed_total") && value > 0,
    );
    expect(counted).toEqual([[`server_push_sessions_closed_total{reason="${reason}"}`, 1]]);
    const line = await untilLogged(server, ({ msg }) => msg === "session closed");
    expect(line).toMatchObject({ userid: "1", compid: "inbox", transport: "websocket", reason });
  });
});

describe("a peer that answers no ping", () => {
  test("is found also while it is being pushed to all the time", async () => {
    await using server = await startServer({ ping: "100ms" });
    await using silent = await openRawSession(server, "userid=1");

    await eventually("no session, while it is pushed to", async () => {
      await push(server, "userid=1", "are you there");
      return (await readMetrics(server)).get("server_push_sessions") === 0;
    });

    expect(await readUnresponsive(server)).toBe(1);
    expect(silent.raw.received.toString("latin1")).toContain("are you there");
  });

  test("is found also when it does not even read", async () => {
    await using server = await startServer({ ping: "100ms" });
    await using silent = await openRawSession(server, "userid=1");
    silent.raw.stopReading();

    await untilSessions(server, 0);

    expect(await readUnresponsive(server)).toBe(1);
  });

  test("does not take those along that answer", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using answers = await connect(server, "userid=1");
    await using first = await openRawSession(server, "userid=1");
    await untilSessions(server, 1);
    await using second = await openRawSession(server, "userid=1");
    await untilSessions(server, 1);

    // By now the one that answers has been pinged as often as it took to find two that do not.
    const { sessions } = await push(server, "userid=1", "hello");

    expect(await answers.next()).toBe("hello");
    expect(sessions).toBe(1);
    expect([first.raw.isOver, second.raw.isOver]).toEqual([true, true]);
  });

  test("stays when it sends messages in place of pongs", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using talks = await openRawSession(server, "userid=1");
    await using silent = await openRawSession(server, "userid=2");

    await eventually("the end of the silent one", async () => {
      await talks.raw.write(toFrame(opcodes.text, "still here"));
      return silent.raw.isOver;
    });

    expect((await push(server, "userid=1", "hello")).sessions).toBe(1);
  });
});

test("a session that is reset before it could answer a ping is dropped, not unresponsive", async () => {
  await using server = await startServer({ ping: "200ms" });
  await using session = await openRawSession(server, "userid=1");
  const [ping] = await session.raw.take((received) =>
    received.length < 2 ? undefined : { value: received, length: received.length },
  );

  session.raw.reset();
  await untilSessions(server, 0);

  expect(ping).toBe(0x80 | opcodes.ping);
  expect(await readUnresponsive(server)).toBe(0);
});

test("a session that is closed twice over is one that ended once", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server, "userid=1");

  await session.raw.write(toFrame(opcodes.close, toClosePayload(1000)));
  await session.raw.write(toFrame(opcodes.close, toClosePayload(1001)));
  session.raw.reset();
  await untilSessions(server, 0);

  const figures = await readMetrics(server);
  expect(figures.get('server_push_sessions_closed_total{reason="closed"}')).toBe(1);
  expect(figures.get('server_push_sessions_closed_total{reason="dropped"}')).toBe(0);
});

test("what a client sends together with its close frame is still taken", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server, "userid=1");

  await session.raw.write(
    Buffer.concat([toFrame(opcodes.text, "last words"), toFrame(opcodes.close, toClosePayload(1000))]),
  );
  await untilSessions(server, 0);

  expect((await readMetrics(server)).get("server_push_received_total")).toBe(1);
});

async function readUnresponsive(server: TestServer): Promise<number | undefined> {
  return (await readMetrics(server)).get('server_push_sessions_closed_total{reason="unresponsive"}');
}
