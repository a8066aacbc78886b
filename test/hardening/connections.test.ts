/**
 * Attacks with connections: many, half of one, or one that never comes to its end.
 */
import { describe, expect, test } from "bun:test";
import { expectServing, push, pushToAll, receiveUntil, toOffset, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { openRawSession, toClosePayload, opcodes, toFrame } from "../support/frames.ts";
import { openRaw, type RawConnection } from "../support/raw.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

const host = "Host: 127.0.0.1\r\n";
const unfinishedBody = `POST /push?userid=1 HTTP/1.1\r\n${host}Content-Length: 10\r\n\r\nabc`;

const beginnings = [
  "",
  "G",
  "GET /push?userid=1&mess",
  `GET /push?userid=1&message=m HTTP/1.1\r\n${host}`,
  unfinishedBody,
  `POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nab`,
];

async function openMany(server: TestServer, count: number, toBeginning: (index: number) => string) {
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const raw = await openRaw(server);
      await raw.write(toBeginning(index));
      return raw;
    }),
  );
}

async function disposeAll(connections: readonly RawConnection[]): Promise<void> {
  await Promise.all(connections.map((raw) => raw[Symbol.asyncDispose]()));
}

// Slow requests by the hundred: each holds a connection, and must hold nothing else.
test("200 requests that do not go on leave everybody else served", async () => {
  await using server = await startServer();
  const connections = await openMany(server, 200, (index) => beginnings[index % beginnings.length] ?? "");

  await expectServing(server);

  expect((await readMetrics(server)).get("server_push_messages_total")).toBe(1);
  await disposeAll(connections);
});

describe("a body that ends before its length", () => {
  // Half of a message must never be taken for a whole one.
  test.each([
    ["by the end of the connection", (raw: RawConnection) => raw.finish()],
    ["by a reset", (raw: RawConnection) => raw.reset()],
  ])("%s is not pushed", async (_, end) => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");
    await using raw = await openRaw(server);

    await raw.write(unfinishedBody);
    end(raw);
    await raw.ended;
    await pushToAll(server, "end");

    expect(await receiveUntil(client, "end")).toEqual([]);
    await expectServing(server);
  });

  // The same in chunks, which only the last one ends.
  test("is not pushed when it is in chunks either", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");
    await using raw = await openRaw(server);

    await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
    raw.finish();
    await raw.ended;
    await pushToAll(server, "end");

    expect(await receiveUntil(client, "end")).toEqual([]);
    await expectServing(server);
  });

  // It is the client's fault, and no mistake of the server: it must not fill the log.
  test("is no error in the log", async () => {
    await using server = await startServer();
    const connections = await openMany(server, 50, () => unfinishedBody);

    for (const raw of connections) raw.reset();
    await Promise.all(connections.map((raw) => raw.ended));
    await expectServing(server);

    expect(server.log.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
    expect((await readMetrics(server)).get('server_push_rejections_total{code="internal"}')).toBe(0);
  });
});

// Many requests in one packet: each is answered, in order, and none takes the place of another.
test("requests that come all at once are answered one by one, in their order", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");
  await using raw = await openRaw(server);
  const count = 200;

  const requests = Array.from({ length: count }, (_, index) => [
    `GET /push?userid=1&message=${index} HTTP/1.1\r\n${host}\r\n`,
    `GET /nothing/${index} HTTP/1.1\r\n${host}\r\n`,
    `POST /push?userid=1 HTTP/1.1\r\n${host}Content-Length: 4\r\n\r\nbody`,
  ]);
  await raw.write(requests.flat().join(""));

  for (let index = 0; index < count; index++) {
    const [get, nothing, post] = [await raw.answer(), await raw.answer(), await raw.answer()];
    expect([get.status, nothing.status, post.status]).toEqual([200, 404, 200]);
    expect(toOffset(JSON.parse(post.body)) - toOffset(JSON.parse(get.body))).toBe(1);
    expect(nothing.body).toContain(`/nothing/${index}`);
    expect([await client.next(), await client.next()]).toEqual([`${index}`, "body"]);
  }
  await expectServing(server);
});

// A request behind a handshake on one connection: after the upgrade, nothing is HTTP any more.
test("a request that follows a handshake in the same packet is not answered", async () => {
  await using server = await startServer();
  await using everyone = await connect(server);
  await using session = await openRawSession(server);

  await session.raw.write(`GET /pushtoall?message=smuggled HTTP/1.1\r\n${host}\r\n`);
  await session.raw.ended;
  await pushToAll(server, "end");

  expect(await receiveUntil(everyone, "end")).toEqual([]);
  await expectServing(server);
});

const waysToEnd = [
  (raw: RawConnection) => raw.reset(),
  (raw: RawConnection) => raw.finish(),
  (raw: RawConnection) => raw.write(toFrame(opcodes.close, toClosePayload(1000))),
  (raw: RawConnection) => raw.write(toFrame(opcodes.close, toClosePayload(1005))),
] as const;

// Sessions that come and go by the hundred under load: the counts must be exact when it is over, or they never are again.
test("a storm of sessions that come and go while messages are pushed leaves exact counts", async () => {
  await using server = await startServer();
  await using stays = await connect(server, "userid=1&compid=stays");
  const rounds = 25;
  const tabs = 16;
  let opened = 1;

  const storm = Array.from({ length: tabs }, async (_, tab) => {
    for (let round = 0; round < rounds; round++) {
      await using session = await openRawSession(server, `userid=1&compid=tab${tab}`);
      opened++;
      await waysToEnd[(tab + round) % waysToEnd.length]?.(session.raw);
      await session.raw.ended;
    }
  });
  const sent = Array.from({ length: 200 }, (_, index) => `message ${index}`);
  for (const message of sent) await push(server, "userid=1", message);
  await Promise.all(storm);
  await untilSessions(server, 1);

  const last = await push(server, "userid=1", "end");
  const figures = await readMetrics(server);
  const ended = [...figures].filter(([name]) => name.startsWith("server_push_sessions_closed_total"));
  expect(last.sessions).toBe(1);
  expect(await receiveUntil(stays, "end")).toEqual(sent);
  expect(figures.get("server_push_sessions_opened_total")).toBe(opened);
  expect(ended.reduce((sum, [, count]) => sum + count, 0)).toBe(opened - 1);
  await expectServing(server);
});

// More clients than there are places: those that are refused take no place, and those that leave give it back.
test("handshakes far beyond --max-sessions are refused, and none of the places is lost", async () => {
  await using server = await startServer({ "max-sessions": "10" });
  const connections = await Promise.allSettled(
    Array.from({ length: 100 }, () => openRawSession(server, "userid=1")),
  );

  const opened = connections.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  expect(opened.length).toBe(10);
  for (const session of opened) session.raw.reset();
  await untilSessions(server, 0);

  await expectServing(server);
});
