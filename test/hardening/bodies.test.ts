/**
 * Attacks with bodies: small on the wire and large in memory, or many things that are each nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { exchange, openRaw } from "../support/raw.ts";
import { openRawSession, opcodes, toFrame } from "../support/frames.ts";
import { endings, openSiege, rejections, type Siege } from "../support/siege.ts";

const host = "Host: 127.0.0.1\r\n";
const ndjson = "application/x-ndjson";

let siege: Siege;

beforeAll(async () => {
  siege = await openSiege();
});

afterAll(async () => {
  await siege[Symbol.asyncDispose]();
});

interface Post {
  readonly target: string;
  readonly type: string;
  readonly headers?: readonly string[];
  readonly body: Uint8Array;
}

/** Posts it with its length, and gives the status. */
async function post(port: number, { target, type, headers = [], body }: Post): Promise<number> {
  const head = [`POST ${target} HTTP/1.1`, "Host: 127.0.0.1", `Content-Type: ${type}`, ...headers];
  const request = `${head.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return (await exchange({ port }, Buffer.concat([Buffer.from(request), body]))).status;
}

/** A request with a body of newlines, each in a chunk of its own. */
function toChunked(target: string, type: string, size: number): string {
  const head = `POST ${target} HTTP/1.1\r\n${host}Content-Type: ${type}\r\nTransfer-Encoding: chunked`;
  return `${head}\r\n\r\n${"1\r\n\n\r\n".repeat(size)}0\r\n\r\n`;
}

/** Does it so often, by turns. */
async function repeat(times: number, act: (turn: number) => Promise<void>): Promise<void> {
  for (let turn = 0; turn < times; turn++) await act(turn);
}

describe("newlines", () => {
  const tenMillion = Buffer.alloc(10_000_000, "\n");

  // Lines with nothing on them do not count as messages, so their number alone is no limit.
  test("ten million in a batch are refused before they come", async () => {
    await siege.withstand(
      async ({ port }) =>
        repeat(10, async () => {
          expect(await post(port, { target: "/batch", type: ndjson, body: tenMillion })).toBe(413);
        }),
      { [rejections("too_large")]: 10 },
    );
  });

  // As many of them as the limit of a batch allows are read, and must hold up nobody.
  test("as many as a batch may have are nothing but an empty batch", async () => {
    const { peakBytes } = await siege.withstand(
      async ({ port }) =>
        repeat(5, async () => {
          const body = tenMillion.subarray(0, 4 * 2 ** 20);
          expect(await post(port, { target: "/batch", type: ndjson, body })).toBe(400);
        }),
      { [rejections("malformed_body")]: 5 },
    );
    expect(peakBytes).toBeLessThan(128 * 2 ** 20);
  });

  // The same where an operator allows them.
  test("ten million in a batch that may have them hold up nobody", async () => {
    await using large = await openSiege({ "max-batch": "16MiB" });

    await large.withstand(
      async ({ port }) =>
        repeat(3, async () => {
          expect(await post(port, { target: "/batch", type: ndjson, body: tenMillion })).toBe(400);
        }),
      { [rejections("malformed_body")]: 3 },
    );
  });
});

describe("chunks of one byte", () => {
  // Each chunk of a body is a thing of its own, which takes a hundred times what is in it.
  test("that are the largest message hold up nobody, and take no memory", async () => {
    const request = toChunked("/push?userid=1", "text/plain", 65_536);

    const { peakBytes } = await siege.withstand(async (server) => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => exchange(server, request)));
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 202));
    }, {});
    expect(peakBytes).toBeLessThan(64 * 2 ** 20);
  });

  // The same with the largest batch, which is 64 times as large.
  test("that are the largest batch hold up nobody, and take no memory", async () => {
    const request = toChunked("/batch", ndjson, 4 * 2 ** 20);

    const { peakBytes } = await siege.withstand(
      async (server) => expect((await exchange(server, request)).status).toBe(400),
      { [rejections("malformed_body")]: 1 },
    );
    expect(peakBytes).toBeLessThan(128 * 2 ** 20);
  }, 30_000);
});

describe("JSON that is hard to read", () => {
  const size = 4 * 2 ** 20;
  const fill = (toPart: (index: number) => string, end: string) => {
    let text = "[";
    for (let index = 0; text.length < size - 30; index++) text += toPart(index);
    return text + end;
  };
  const everyShape = fill((index) => `{"p${index}":1},`, "1]");

  // As a whole, each would take a quarter of a second to a whole one; the largest that an item may be takes a tenth of that.
  test.each([
    ["an array in a million others", fill(() => "[", ""), "too_large", 413],
    ["an object in a million others", fill(() => '{"a":', ""), "too_large", 413],
    [
      "an object with a million names",
      fill((index) => `${index === 0 ? "{" : ","}"p${index}":1`, "}]"),
      "too_large",
      413,
    ],
    ["a million empty arrays", fill(() => "[],", "1]"), "malformed_body", 400],
    ["a hundred thousand objects, each with a name of its own", everyShape, "unknown_parameter", 400],
  ])(
    "such as %s holds up nobody",
    async (_, text, code, status) => {
      const { peakBytes } = await siege.withstand(
        async ({ port }) =>
          repeat(5, async () => {
            const array = { target: "/batch", type: "application/json", body: Buffer.from(text) };
            expect(await post(port, array)).toBe(status);
            expect(await post(port, { ...array, type: ndjson })).toBe(413);
          }),
        code === "too_large"
          ? { [rejections(code)]: 10 }
          : { [rejections(code)]: 5, [rejections("too_large")]: 5 },
      );
      expect(peakBytes).toBeLessThan(128 * 2 ** 20);
    },
    30_000,
  );

  test("an item as long as it may be, of arrays in each other, holds up nobody", async () => {
    const longest = 6 * (65_536 + 128 + 128 + 64 + 128) + 8192;
    const items = Array.from({ length: 10 }, () => "[".repeat(longest - 1));

    await siege.withstand(
      async ({ port }) =>
        repeat(5, async () => {
          const body = Buffer.from(items.join("\n"));
          expect(await post(port, { target: "/batch", type: ndjson, body })).toBe(400);
        }),
      { [rejections("malformed_body")]: 5 },
    );
  });
});

describe("a compressed bomb", () => {
  /** A quarter of a gigabyte in a quarter of a megabyte. */
  const plain = Buffer.alloc(256 * 2 ** 20);
  const bombs = {
    gzip: Bun.gzipSync(plain),
    deflate: Bun.deflateSync(plain),
    zstd: Bun.zstdCompressSync(plain),
  };
  const targets = [
    { target: "/push?userid=1", type: "text/plain" },
    { target: "/push?userid=1", type: "application/octet-stream" },
    { target: "/pushtoall", type: "application/json" },
    { target: "/batch", type: "application/json" },
    { target: "/batch", type: ndjson },
  ];

  // Unpacked, it would be the server's whole memory. It is not even read.
  test.each([
    ["gzip", bombs.gzip],
    ["x-gzip", bombs.gzip],
    ["gzip, gzip", Bun.gzipSync(bombs.gzip)],
    ["identity, gzip", bombs.gzip],
    ["deflate", bombs.deflate],
    ["br", bombs.gzip],
    ["zstd", bombs.zstd],
  ])("as Content-Encoding: %s is refused with 415, and not unpacked", async (coding, body) => {
    const headers = [`Content-Encoding: ${coding}`];

    const { peakBytes } = await siege.withstand(
      async ({ port }) =>
        repeat(40, async () => {
          for (const target of targets) expect(await post(port, { ...target, headers, body })).toBe(415);
        }),
      { [rejections("unsupported_media_type")]: 40 * targets.length },
    );
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });

  // A coding of the transfer is not even in the server's hands.
  test.each(["gzip, chunked", "deflate, chunked", "gzip"])(
    "as Transfer-Encoding: %s is refused with 400",
    async (coding) => {
      const { gzip } = bombs;
      const head = `POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: ${coding}\r\n\r\n`;
      const body = `${gzip.length.toString(16)}\r\n${Buffer.from(gzip).toString("latin1")}\r\n0\r\n\r\n`;

      const { peakBytes } = await siege.withstand(
        async (server) =>
          repeat(100, async () => {
            await using raw = await openRaw(server);
            await raw.write(head + body);
            expect((await raw.answer()).status).toBe(400);
          }),
        {},
      );
      expect(peakBytes).toBeLessThan(32 * 2 ** 20);
    },
  );

  // Without a coding it is bytes like any others, and arrives as they are.
  test("without a coding is pushed as the bytes that it is", async () => {
    const body = Bun.gzipSync(plain.subarray(0, 32 * 2 ** 20));

    const { peakBytes } = await siege.withstand(async (server) => {
      await using session = await openRawSession(server, "userid=bytes");
      await repeat(100, async () => {
        const type = "application/octet-stream";
        expect(await post(server.port, { target: "/push?userid=bytes", type, body })).toBe(200);
        expect((await session.frame()).payload.equals(body)).toBe(true);
      });
    }, {});
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });

  // A WebSocket frame says by one bit that it is compressed; nothing of that kind was agreed on.
  test("as a frame of permessage-deflate, which was offered, ends the session", async () => {
    const offer = [
      "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    ];
    const frame = toFrame(opcodes.text, bombs.deflate.subarray(0, 60_000), { rsv: 4 });

    const { peakBytes } = await siege.withstand(
      async (server) =>
        repeat(150, async () => {
          await using session = await openRawSession(server, "userid=1", offer);
          expect(session.handshake.headers.has("sec-websocket-extensions")).toBe(false);
          await session.raw.write(frame);
          expect((await session.close()).code).toBe(1002);
        }),
      { [endings("violation")]: 150 },
    );
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });
});
