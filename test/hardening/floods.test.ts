/**
 * Attacks by number: of handshakes, of frames that are each nothing, of answers that nobody reads. Each is small work, and there must be no
 * end of it that others wait for.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEventStream } from "../support/event-stream.ts";
import { opcodes, openRawSession, toFrame, toHandshake } from "../support/frames.ts";
import { endings, openSiege, rejections, type Siege } from "../support/siege.ts";
import type { ServerProcess } from "../support/process.ts";
import { exchange, type RawConnection } from "../support/raw.ts";

let siege: Siege;

beforeAll(async () => {
  siege = await openSiege({ "max-message": "64KiB", "max-queued": "64KiB", "max-receive-rate": "1000000" });
});

afterAll(async () => {
  await siege[Symbol.asyncDispose]();
});

const repeated = (frame: Uint8Array, times: number) =>
  Buffer.concat(Array.from({ length: times }, () => frame));

/** Writes it again and again, as fast as it is read, until so much was written or the connection ends. */
async function pour(raw: RawConnection, bytes: Uint8Array, times: number): Promise<void> {
  for (let turn = 0; turn < times && !raw.isOver; turn++) await raw.write(bytes);
}

/** Waits until the server has read all that was written to it, or has ended the connection. */
async function untilRead(raw: RawConnection): Promise<void> {
  const question = "all read?";
  await raw.write(toFrame(opcodes.ping, question));
  const find = (received: Buffer) =>
    received.includes(question) ? { value: question, length: received.length } : undefined;
  await raw.take(find).catch(() => {});
}

describe("a storm of handshakes", () => {
  const atOnce = 200;

  async function storm(act: () => Promise<void>, count: number): Promise<void> {
    for (let begun = 0; begun < count; begun += atOnce)
      await Promise.all(Array.from({ length: atOnce }, () => act()));
  }

  // What all pages of a site do when their server was away: each handshake is work, and a session that takes memory.
  test("of 3000 sessions that stay a moment leaves none behind", async () => {
    await siege.withstand(
      async (server) => {
        const sessions: RawConnection[] = [];
        await storm(async () => void sessions.push((await openRawSession(server)).raw), 3000);
        for (const raw of sessions) raw.reset();
        await Promise.all(sessions.map((raw) => raw.ended));
      },
      { server_push_sessions_opened_total: 3000, [endings("dropped")]: 3000 },
    );
  });

  // The same from one address is stopped before it is work.
  test("from one address is let in at its rate, and the others are told to wait", async () => {
    await using limited = await openSiege({ "trusted-proxies": "loopback", "max-session-rate": "1" });
    const handshake = toHandshake("", ["X-Forwarded-For: 203.0.113.7"]);
    const statuses: number[] = [];

    await limited.withstand(async (server) => {
      await storm(async () => void statuses.push((await exchange(server, handshake)).status), 2000);
    }, {});

    const letIn = statuses.filter((status) => status === 101).length;
    expect(letIn).toBeWithin(10, 20);
    expect(statuses.filter((status) => status === 429).length).toBe(statuses.length - letIn);
  });
});

describe("a flood of frames", () => {
  // Fragments without end, each of them nothing: a message that is never whole must not take memory for its parts.
  test("that are empty fragments takes no memory", async () => {
    const fragments = repeated(toFrame(opcodes.continuation, "", { fin: false }), 10_000);

    const { peakBytes } = await siege.withstand(
      async (server) => {
        await using session = await openRawSession(server);
        await session.raw.write(toFrame(opcodes.text, "a", { fin: false }));
        await pour(session.raw, fragments, 500);
        await untilRead(session.raw);
      },
      { server_push_received_total: 0 },
    );
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });

  // The same with something in each: a message of 65,536 parts, which is put together from them.
  test("that are fragments of one byte is a message for each that is whole, and no more memory than that", async () => {
    const rest = repeated(toFrame(opcodes.continuation, "x", { fin: false }), 65_534);
    const [begin, end] = [toFrame(opcodes.text, "x", { fin: false }), toFrame(opcodes.continuation, "x")];

    const { peakBytes } = await siege.withstand(
      async (server) => {
        await using session = await openRawSession(server);
        await pour(session.raw, Buffer.concat([begin, rest, end]), 60);
        await untilRead(session.raw);
      },
      { server_push_received_total: 60 },
    );
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });

  // An empty message is a message: the least that a client can send, of which there are the most in a packet.
  test("that are empty messages is counted, and holds up nobody", async () => {
    await using usual = await openSiege({ "max-receive-rate": "1000" });
    const messages = repeated(toFrame(opcodes.text, ""), 10_000);

    await usual.withstand(
      async (server) => {
        await using session = await openRawSession(server);
        await pour(session.raw, messages, 1);
        await untilRead(session.raw);
      },
      { server_push_received_total: 10_000 },
    );
  });

  // The same where there is a limit, as there is one by default: who is over it loses the session.
  test("that are more messages than a session may send ends it", async () => {
    await using limited = await openSiege();
    const messages = repeated(toFrame(opcodes.text, "spam"), 1000);

    await limited.withstand(
      async (server) => {
        for (let turn = 0; turn < 50; turn++) {
          await using session = await openRawSession(server);
          await session.raw.write(messages);
          expect((await session.close()).code).toBe(1008);
        }
      },
      { [rejections("rate_limited")]: 50 },
    );
  });

  // Every ping is answered: a peer that sends them and reads no answer would fill the server's memory with pongs.
  test("that are pings whose answers nobody reads ends the session", async () => {
    await using usual = await openSiege();
    const pings = repeated(toFrame(opcodes.ping, "x".repeat(125)), 1000);

    const { peakBytes } = await usual.withstand(
      async (server) => {
        const sessions = await Promise.all(Array.from({ length: 5 }, () => openRawSession(server)));
        for (const { raw } of sessions) raw.stopReading();
        await Promise.all(sessions.map(({ raw }) => pour(raw, pings, 1000)));
        for (const { raw } of sessions) raw.reset();
      },
      { server_push_received_total: 0, server_push_sessions_opened_total: 5 },
    );
    expect(peakBytes).toBeLessThan(64 * 2 ** 20);
  });

  // The other half of it: a control frame costs its sender six bytes, and is no message that a limit counts. At full speed it is
  // a hundred thousand of them for each time that the server reads a connection.
  test.each(["ping", "pong"] as const)("that are %ss from 20 sessions holds up nobody", async (kind) => {
    await using usual = await openSiege();
    const frames = repeated(toFrame(opcodes[kind]), 20_000);

    await usual.withstand(
      async (server) => {
        const sessions = await Promise.all(Array.from({ length: 20 }, () => openRawSession(server)));
        const end = performance.now() + 1000;
        await Promise.all(
          sessions.map(async ({ raw }) => {
            while (!raw.isOver && performance.now() < end) await raw.write(frames);
          }),
        );
        for (const { raw } of sessions) raw.reset();
      },
      { server_push_received_total: 0, server_push_sessions_opened_total: 20 },
    );
  });
});

describe("readers that never read", () => {
  const message = "x".repeat(60_000);

  /** Pushes until nobody is left who is sent anything. */
  async function pushUntilAlone(server: ServerProcess): Promise<void> {
    for (let sessions = Number.POSITIVE_INFINITY; sessions > 0;) {
      const answer = await fetch(`${server.url}/push?userid=reader`, { method: "POST", body: message });
      ({ sessions } = JSON.parse(await answer.text()));
    }
  }

  async function stall(server: ServerProcess, readers: readonly { readonly raw: RawConnection }[]) {
    for (const { raw } of readers) raw.stopReading();
    await pushUntilAlone(server);
    for (const { raw } of readers) raw.reset();
  }

  const query = "userid=reader";
  const slow = { "max-queued": "1MiB", "retain-bytes": "1MiB" };

  // What is sent to them waits in the server: without a bound, a page in a sleeping laptop would take all of its memory.
  test.each([
    ["WebSockets", (server: ServerProcess) => openRawSession(server, query)],
    ["event streams", (server: ServerProcess) => openEventStream(server, { query })],
  ])("of %s are dropped, and take no more than --max-queued each", async (_, open) => {
    await using behind = await openSiege(slow);

    const { peakBytes } = await behind.withstand(
      async (server) =>
        await stall(server, await Promise.all(Array.from({ length: 20 }, () => open(server)))),
      { [endings("slow")]: 20 },
    );
    // Their queues, what the system has not taken yet, and the messages themselves.
    expect(peakBytes).toBeLessThan(20 * 2 * 2 ** 20 + 32 * 2 ** 20);
  });
});
