/**
 * What nobody has thought of: requests at random. Whatever comes, it is answered or its connection ends, no answer is a
 * mistake of the server, every line of the log is JSON, and the server goes on.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { expectServing, push, untilLogged } from "../support/calls.ts";
import { toHandshake } from "../support/frames.ts";
import { openRaw } from "../support/raw.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "max-message": "1KiB", "http-timeout": "5s" });
});

afterEach(async () => {
  await expectServing(server);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Sends these bytes and nothing more, and gives the status of every answer until the connection ends. */
async function statusesOf(bytes: Uint8Array | string): Promise<number[]> {
  await using raw = await openRaw(server);
  await raw.write(bytes);
  raw.finish();
  await raw.ended;
  const text = raw.received.toString("latin1");
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

/** The log so far is whole, as a line that is not JSON would have kept the marker from being read; and it has no mistakes. */
async function expectWholeLog(): Promise<void> {
  const marker = crypto.randomUUID();
  await push(server, `userid=${marker}`, "marker");
  await untilLogged(server, ({ userid }) => userid === marker);
  expect(server.log.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
}

/** Pieces that a query is made of, right and wrong. */
const piece = fc.oneof(
  fc.constantFrom("userid", "compid", "message", "event", "_", "token", "__proto__", "constructor"),
  fc.constantFrom("=", "&", "+", "%", "?", "#", ";", "/", "\\", ",", "[", "]", '"', "'", "\\u0000"),
  fc.constantFrom("%00", "%0a", "%ff", "%c3%a9", "%ed%a0%80", "%zz", "%", "%u0041", "%25", "%26", "%3d"),
  fc.constantFrom("\xe9", "\xc3\xa9", "\xff", "\x7f", "\xe2\x80\xae"),
  fc.constantFrom("x".repeat(65), "x".repeat(129), "x".repeat(1025)),
  fc.string({ maxLength: 5 }).map((text) => text.replaceAll(/[^\x21-\x7e]/g, "")),
);
const query = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
/** Queries that are nearly right, so that not all are refused for the same first mistake. */
const plausible = fc
  .tuple(fc.constantFrom("userid=1&", "userid=1&message=m&", "compid=", ""), query)
  .map((parts) => parts.join(""));

test("no query of a push is answered with anything but taken or refused", async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom("/push", "/pushtoall"), plausible, async (path, text) => {
      const request = `GET ${path}?${text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;

      const statuses = await statusesOf(request);

      expect(statuses).toHaveLength(1);
      expect([200, 202, 400, 413]).toContain(statuses[0] ?? Number.NaN);
    }),
    { numRuns: 200 },
  );
  await expectWholeLog();
});

test("no query of a handshake is answered with anything but a session or a refusal", async () => {
  await fc.assert(
    fc.asyncProperty(plausible, async (text) => {
      const statuses = await statusesOf(toHandshake(text));

      expect(statuses).toHaveLength(1);
      expect([101, 400]).toContain(statuses[0] ?? Number.NaN);
    }),
    { numRuns: 200 },
  );
  await expectWholeLog();
});

test("a handshake and the same request without one agree about every query", async () => {
  await fc.assert(
    fc.asyncProperty(plausible, async (text) => {
      const [handshake] = await statusesOf(toHandshake(text));
      const [plain] = await statusesOf(`GET /ws?${text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);

      expect([plain, handshake]).toEqual(handshake === 101 ? [426, 101] : [400, 400]);
    }),
    { numRuns: 200 },
  );
  await expectWholeLog();
});

/** What Bun says of what is not HTTP, and that is no mistake of the server's. */
const notHttp = [400, 413, 431, 505];

test("no bytes in the place of a request are a mistake of the server", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 500 }), async (bytes) => {
      for (const status of await statusesOf(bytes)) expect(notHttp).toContain(status);
    }),
    { numRuns: 200 },
  );
  await expectWholeLog();
});

/** Requests that are right until bytes in them are changed, taken out or put in. */
const damaged = fc
  .record({
    request: fc.constantFrom(
      "GET /push?userid=1&compid=2&message=hello HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n",
      "POST /push?userid=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
      "POST /pushtoall HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "PUT /nothing?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
      toHandshake("userid=1&compid=2"),
    ),
    damages: fc.array(
      fc.record({ at: fc.nat(200), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) }),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ request, damages }) => {
    let bytes = Buffer.from(request, "latin1");
    for (const { at, remove, insert } of damages) {
      const start = at % bytes.length;
      bytes = Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]);
    }
    return bytes;
  });

test("no damage to a request is a mistake of the server", async () => {
  await fc.assert(
    fc.asyncProperty(damaged, async (bytes) => {
      for (const status of await statusesOf(bytes))
        expect(status < 500 || notHttp.includes(status)).toBe(true);
    }),
    { numRuns: 500 },
  );
  await expectWholeLog();
  expect((await readMetrics(server)).get('server_push_rejections_total{code="internal"}')).toBe(0);
});
