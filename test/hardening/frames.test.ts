/**
 * Attacks with WebSocket frames. Whatever one client sends, it loses its own session at the most.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { expectServing, push, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession, toClosePayload, toFrame } from "../support/frames.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "max-message": "64KiB", "max-queued": "64KiB" });
});

afterEach(async () => {
  await expectServing(server);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Violation {
  /** What it stops. */
  readonly what: string;
  readonly frames: readonly Uint8Array[];
  readonly code: number;
}

const violations: readonly Violation[] = [
  // Text that is not text would reach a log, a page or a parser that trusts it.
  { what: "text that is not UTF-8", frames: [toFrame(opcodes.text, Uint8Array.of(0xff, 0xfe))], code: 1007 },
  // The same, hidden behind the boundary of two fragments.
  {
    what: "text that stops being UTF-8 in its second fragment",
    frames: [
      toFrame(opcodes.text, Uint8Array.of(0xe2), { fin: false }),
      toFrame(opcodes.continuation, Uint8Array.of(0x28)),
    ],
    code: 1007,
  },
  // Half of a surrogate pair becomes something else in every other language.
  {
    what: "half of a surrogate pair",
    frames: [toFrame(opcodes.text, Uint8Array.of(0xed, 0xa0, 0x80))],
    code: 1007,
  },
  // The mask keeps a page from writing HTTP to a proxy that does not understand WebSocket.
  { what: "a frame without a mask", frames: [toFrame(opcodes.text, "hi", { masked: false })], code: 1002 },
  // Opcodes that nobody has defined are a door for what comes later.
  { what: "a data frame of a reserved opcode", frames: [toFrame(3, "hi")], code: 1002 },
  { what: "a control frame of a reserved opcode", frames: [toFrame(11, "hi")], code: 1002 },
  // RSV1 says "compressed": without the extension it would be read as what it is not.
  { what: "the first reserved bit", frames: [toFrame(opcodes.text, "hi", { rsv: 4 })], code: 1002 },
  { what: "the second reserved bit", frames: [toFrame(opcodes.text, "hi", { rsv: 2 })], code: 1002 },
  { what: "the third reserved bit", frames: [toFrame(opcodes.text, "hi", { rsv: 1 })], code: 1002 },
  // Control frames are answered at once, so they must be small and whole.
  { what: "a ping of 126 bytes", frames: [toFrame(opcodes.ping, "x".repeat(126))], code: 1002 },
  { what: "a ping of 64 KiB", frames: [toFrame(opcodes.ping, "x".repeat(65_536))], code: 1002 },
  { what: "a ping in fragments", frames: [toFrame(opcodes.ping, "x", { fin: false })], code: 1002 },
  // A close code that is never on the wire (1005, 1006), or that nobody may use, would be logged and passed on.
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535].map((code) => ({
    what: `the close code ${code}`,
    frames: [toFrame(opcodes.close, toClosePayload(code))],
    code: 1002,
  })),
  { what: "a close frame of one byte", frames: [toFrame(opcodes.close, "x")], code: 1002 },
  {
    what: "a close reason that is not UTF-8",
    frames: [toFrame(opcodes.close, Uint8Array.of(0x03, 0xe8, 0xff))],
    code: 1007,
  },
  // Fragments that do not fit together would join two messages into one.
  { what: "a continuation of nothing", frames: [toFrame(opcodes.continuation, "x")], code: 1002 },
  {
    what: "a new message inside of another",
    frames: [toFrame(opcodes.text, "a", { fin: false }), toFrame(opcodes.text, "b")],
    code: 1002,
  },
  // A length that is only announced must not be allocated.
  {
    what: "a length of 2^63 - 1",
    frames: [Uint8Array.of(0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4)],
    code: 1009,
  },
  {
    what: "a length that is negative when it is read as signed",
    frames: [Uint8Array.of(0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4)],
    code: 1009,
  },
  // HTTP on an upgraded connection: a proxy's mistake, or a smuggled request.
  { what: "an HTTP request", frames: [Buffer.from("GET /pushtoall?message=m HTTP/1.1\r\n\r\n")], code: 1002 },
];

test.each(violations)("$what ends the session with $code and reaches nobody", async ({ frames, code }) => {
  await using session = await openRawSession(server, "userid=1");
  const before = (await readMetrics(server)).get("server_push_received_total");

  await session.raw.write(Buffer.concat(frames));

  expect((await session.close()).code).toBe(code);
  await session.raw.ended;
  expect((await readMetrics(server)).get("server_push_received_total")).toBe(before ?? Number.NaN);
});

// What follows a violation in the same packet must not be read any more.
test("nothing that comes after a violation is taken", async () => {
  await using session = await openRawSession(server, "userid=1");
  const before = (await readMetrics(server)).get("server_push_received_total");

  await session.raw.write(Buffer.concat([toFrame(3, "violation"), toFrame(opcodes.text, "more")]));
  await session.raw.ended;

  expect((await readMetrics(server)).get("server_push_received_total")).toBe(before ?? Number.NaN);
});

describe("a flood", () => {
  // Fragments without end, each of them nothing: a message that is never whole must not take memory for its parts.
  test("of a million empty fragments takes no memory", async () => {
    await using session = await openRawSession(server);
    const before = await memory();
    const fragments = Buffer.concat(
      Array.from({ length: 10_000 }, () => toFrame(opcodes.continuation, "", { fin: false })),
    );

    await session.raw.write(toFrame(opcodes.text, "a", { fin: false }));
    for (let block = 0; block < 100; block++) await session.raw.write(fragments);

    expect((await memory()) - before).toBeLessThan(64 * 2 ** 20);
  });

  // Fragments that are small each, and together anything: what counts is their sum.
  test("of small fragments ends with 1009 when they are together too large", async () => {
    await using session = await openRawSession(server);
    const fragment = toFrame(opcodes.continuation, "x".repeat(100), { fin: false });

    await session.raw.write(toFrame(opcodes.text, "x", { fin: false }));
    await session.raw.write(Buffer.concat(Array.from({ length: 1000 }, () => fragment)));

    expect((await session.close()).code).toBe(1009);
  });

  // Every ping is answered: a peer that sends them and reads no answer would fill the server's memory with pongs.
  test("of pings whose answers nobody reads ends the session", async () => {
    await using session = await openRawSession(server, "userid=flood");
    session.raw.stopReading();
    const before = await memory();
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => toFrame(opcodes.ping, "x".repeat(125))));

    for (let block = 0; block < 1000 && !session.raw.isOver; block++) await session.raw.write(pings);

    await eventually("no such session", async () => (await push(server, "userid=flood", "m")).sessions === 0);
    expect((await memory()) - before).toBeLessThan(64 * 2 ** 20);
  });

  // The other half of it: who reads its pongs may ping, as often as it may send messages.
  test("of pings that is within the limit is answered, one by one", async () => {
    await using session = await openRawSession(server);
    const pings = Array.from({ length: 500 }, (_, index) => toFrame(opcodes.ping, `${index}`));

    await session.raw.write(Buffer.concat(pings));

    for (let index = 0; index < pings.length; index++)
      expect((await session.frame()).payload.toString()).toBe(`${index}`);
  });

  // Bun answers each ping by itself, and a client that reads the answers could have it do nothing else.
  test.each([
    ["pings", opcodes.ping],
    ["pongs", opcodes.pong],
  ])("of %s ends the session, and delays nobody", async (_, opcode) => {
    await using session = await openRawSession(server, "userid=flood");
    await using other = await connect(server, "userid=other");
    const frames = Buffer.concat(Array.from({ length: 1000 }, () => toFrame(opcode, "x")));

    for (let block = 0; block < 1000 && !session.raw.isOver; block++) await session.raw.write(frames);
    const began = performance.now();
    await push(server, "userid=other", "through");

    expect(await other.next()).toBe("through");
    expect(performance.now() - began).toBeLessThan(250);
    await eventually("no such session", async () => (await push(server, "userid=flood", "m")).sessions === 0);
    const figures = await readMetrics(server);
    expect(figures.get('server_push_limits_hit_total{limit="max-receive-rate"}')).toBeGreaterThan(0);
  });

  // Messages as fast as they go: others must still be heard.
  test("of messages from one client leaves the others served", async () => {
    await using session = await openRawSession(server);
    await using other = await connect(server, "userid=other");
    const messages = Buffer.concat(Array.from({ length: 1000 }, () => toFrame(opcodes.text, "spam")));

    const flood = (async () => {
      for (let block = 0; block < 20; block++) await session.raw.write(messages);
    })();
    await push(server, "userid=other", "through");

    expect(await other.next()).toBe("through");
    await flood;
  });

  // Sessions that come and go faster than they are served.
  test("of sessions that end before they were answered leaves no session behind", async () => {
    await untilSessions(server, 0);

    await Promise.all(
      Array.from({ length: 300 }, async () => {
        const session = await openRawSession(server, "userid=1");
        session.raw.reset();
      }),
    );

    await untilSessions(server, 0);
  });
});

// Everything that the table above does not think of.
test("no bytes after the handshake end anything but their own session", async () => {
  await using witness = await connect(server, "userid=witness");
  const frame = fc
    .record({
      opcode: fc.nat(15),
      payload: fc.uint8Array({ maxLength: 200 }),
      fin: fc.boolean(),
      rsv: fc.constantFrom(0, 0, 0, 1, 4),
      masked: fc.constantFrom(true, true, true, false),
    })
    .map(({ opcode, payload, ...options }) => toFrame(opcode, payload, options));
  const bytes = fc.oneof(frame, fc.uint8Array({ maxLength: 100 }));

  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 8 }), async (parts) => {
      await using session = await openRawSession(server, "userid=1");

      await session.raw.write(Buffer.concat(parts));
      session.raw.finish();

      await session.raw.ended;
      await push(server, "userid=witness", "still here");
      expect(await witness.next()).toBe("still here");
    }),
    { numRuns: 200 },
  );
});

async function memory(): Promise<number> {
  return (await readMetrics(server)).get("process_resident_memory_bytes") ?? Number.NaN;
}
