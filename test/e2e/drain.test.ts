/**
 * What nobody may lose when a server under load is told to stop.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { push } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession } from "../support/frames.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { start } from "../support/program.ts";
import { type Pushed, type Publisher, publishUntilGone, publishUntilRefused } from "../support/publisher.ts";

setDefaultTimeout(60_000);

const users = 10;
const publishers = 12;

async function startServer(...argv: readonly string[]): Promise<ServerProcess> {
  return await startProcess([compiledFile, "--port=0", "--log-format=json", ...argv]);
}

/** Tells the server to stop when the publishers are in the middle of it, and waits until all have ended. */
async function stopUnderLoad(
  server: ServerProcess,
  publish: (publisher: Publisher) => Promise<void>,
): Promise<Pushed[]> {
  const all: Pushed[] = [];
  const ends = Array.from({ length: publishers }, (_, number) =>
    publish({ server, name: String(number), users, record: (pushed) => all.push(pushed) }),
  );
  await eventually("the load", () => all.length >= 1000);
  server.signal("SIGTERM");
  await Promise.all(ends);
  return all;
}

/** How many sessions got each message. */
async function countArrivals(clients: readonly TestClient[]): Promise<ReadonlyMap<string, number>> {
  const arrivals = new Map<string, number>();
  for (const client of clients) {
    await client.closed;
    for (const message of client.waiting)
      arrivals.set(String(message), (arrivals.get(String(message)) ?? 0) + 1);
  }
  return arrivals;
}

const isTaken = ({ status }: Pushed) => status === 200 || status === 202;

describe.each([1, 2, 3])("round %d: stopped while publishers push to many sessions,", (round) => {
  const sessions = 100 * round;

  async function connectMany(server: ServerProcess): Promise<TestClient[]> {
    return await Promise.all(
      Array.from({ length: sessions }, (_, number) => connect(server, `userid=${number % users}`)),
    );
  }

  test("every push reaches exactly as many sessions as its publisher is told", async () => {
    await using server = await startServer();
    const clients = await connectMany(server);

    const all = await stopUnderLoad(server, publishUntilGone);

    const arrivals = await countArrivals(clients);
    const wrong = all.filter(({ message, sessions: told }) => (arrivals.get(message) ?? 0) !== told);
    expect(wrong).toEqual([]);
    expect(all.filter(isTaken).every(({ sessions: told }) => told === sessions / users)).toBe(true);
    expect(await server.exited).toBe(0);
  });

  test("a publisher that stops when it is told to come back later is never left without an answer", async () => {
    await using server = await startServer();
    await connectMany(server);

    const all = await stopUnderLoad(server, publishUntilRefused);

    const last = all.filter((pushed) => !isTaken(pushed));
    expect(last.map(({ status }) => status)).toEqual(Array.from({ length: publishers }, () => 503));
    expect(await server.exited).toBe(0);
  });
});

test("without a session, too, a publisher is told to come back later, and not just cut off", async () => {
  await using server = await startServer();

  const all = await stopUnderLoad(server, publishUntilRefused);

  const last = all.filter((pushed) => !isTaken(pushed));
  expect(last.map(({ status }) => status)).toEqual(Array.from({ length: publishers }, () => 503));
  expect(await server.exited).toBe(0);
});

test("a session that reads slowly gets everything that was pushed to it before the stop, and then the reason", async () => {
  await using server = await startServer("--max-queued=64MiB");
  await using session = await openRawSession(server, "userid=slow");
  session.raw.stopReading();
  const messages = Array.from({ length: 200 }, (_, number) => String(number).padEnd(60_000, "."));
  for (const message of messages)
    expect(await push(server, "userid=slow", message)).toMatchObject({ sessions: 1 });

  server.signal("SIGTERM");
  session.raw.readOn();

  const received: string[] = [];
  let frame = await session.frame();
  for (; frame.opcode === opcodes.text; frame = await session.frame())
    received.push(frame.payload.toString());
  expect(received.length).toBe(messages.length);
  expect(received).toEqual(messages);
  expect(frame.payload.readUInt16BE()).toBe(1012);
  expect(await server.exited).toBe(0);
});

/** Sessions that send without a pause; prints `ready`, and in the end how often each close code was seen. */
const chatter = `
  import { WebSocket } from "${import.meta.resolve("ws")}";
  const [, url, count] = process.argv;
  const codes = {};
  let open = 0;
  for (let left = Number(count); left > 0; left--) {
    const socket = new WebSocket(url);
    let timer;
    socket.on("open", () => {
      timer = setInterval(() => socket.send("x".repeat(100)), 1);
      if (++open === Number(count)) console.log("ready");
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
      clearInterval(timer);
      codes[code] = (codes[code] ?? 0) + 1;
      if (--open === 0) console.log(JSON.stringify(codes));
    });
  }
`;

test("a client that is sending when the server stops is told why its session ends", async () => {
  const node = Bun.which("node") ?? process.execPath;
  for (let round = 0; round < 5; round++) {
    await using server = await startServer();
    const address = `${server.url.replace("http", "ws")}/ws`;
    await using clients = start([node, "--input-type=module", "-e", chatter, address, "50"]);
    await clients.line();

    server.signal("SIGTERM");

    expect(JSON.parse(await clients.line())).toEqual({ 1012: 50 });
  }
});
