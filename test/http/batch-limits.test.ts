/**
 * How large a batch may be: the limit itself passes, one more is refused, in whatever way the batch comes.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { batchForms, postBatch, toArray, toLines, toReceipts } from "../support/batches.ts";
import { push, receiveUntil, toOffset, toProblem } from "../support/calls.ts";
import { inChunks } from "../support/chunks.ts";
import { connect } from "../support/client.ts";
import { exchange, openRaw, type RawAnswer } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "max-message": "1KiB" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const lines = "application/x-ndjson";
const good = '{"all":true,"message":"good"}';

describe("with --max-batch 1KiB", () => {
  test.each([
    ["announced", (body: string) => body],
    ["in chunks", (body: string) => inChunks(body, 100)],
  ])("a batch of 1024 bytes passes, and one of 1025 is refused with 413, %s", async (_, send) => {
    await using own = await startServer({ "max-batch": "1KiB" });
    const [fits, tooLarge] = [ofBytes(1024), ofBytes(1025)];

    const taken = await postBatch(own, { ...fits, body: send(fits.body) });
    const refused = await postBatch(own, { ...tooLarge, body: send(tooLarge.body) });

    expect(await toReceipts(taken)).toHaveLength(1);
    expect(refused.status).toBe(413);
    const { code, detail } = await toProblem(refused);
    expect(code).toBe("too_large");
    expect(detail).toMatch(/^batch is (1025 bytes, the limit is 1024|larger than the limit, 1024 bytes)$/);
  });

  test("a batch that goes on for ever is refused as soon as it is too large", async () => {
    await using own = await startServer({ "max-batch": "1KiB" });
    await using raw = await openRaw(own);
    await raw.write(
      `POST /batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${lines}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );

    await raw.write(`800\r\n${good.padEnd(2048, "\n")}\r\n`);

    expect((await raw.answer()).status).toBe(413);
  });
});

describe("a batch without Content-Length", () => {
  test("may come in chunks of 16 bytes, or in smaller ones up to 256 KiB", async () => {
    const larger = await exchangeSlowly(toChunked("\n".repeat(16), 2 ** 19));
    const shorter = await exchangeSlowly(toChunked("\n", 262_000));

    expect([larger.status, shorter.status]).toEqual([202, 202]);
  });

  test("may come a word at a time, as some programs write JSON", async () => {
    const { body, type } = toArray(Array.from({ length: 3000 }, () => ({ all: true, message: "m" })));

    const { status, body: answer } = await exchangeSlowly(toRequest(type, body.match(/\W|\w+/g) ?? []));

    expect(status).toBe(202);
    expect(JSON.parse(answer)).toHaveLength(3000);
  });

  test("is refused when it goes on in chunks of 15 bytes", async () => {
    const { status, body } = await exchange(server, toChunked("\n".repeat(15), 2 ** 21));

    expect(status).toBe(400);
    expect(JSON.parse(body)).toMatchObject({
      code: "malformed_body",
      detail:
        "batch comes in chunks that are too small, expected at least 16 bytes in each, or Content-Length",
    });
  });
});

describe("with --max-batch-count 3", () => {
  test.each(batchForms)("3 messages as $name pass, and 4 are refused with 413", async ({ toBatch }) => {
    await using own = await startServer({ "max-batch-count": "3" });
    await using client = await connect(own, "userid=1");
    const items = ["a", "b", "c", "d"].map((message) => ({ userid: "1", message }));

    const refused = await postBatch(own, toBatch(items));
    const taken = await toReceipts(await postBatch(own, toBatch(items.slice(1))));
    await push(own, "userid=1", "end");

    expect(refused.status).toBe(413);
    expect(await toProblem(refused)).toMatchObject({
      code: "too_large",
      detail: "the batch has more items than the limit, 3",
    });
    expect(taken.map(toOffset)).toEqual([1, 2, 3]);
    expect(await receiveUntil(client, "end")).toEqual(["b", "c", "d"]);
  });

  test("empty lines do not count", async () => {
    await using own = await startServer({ "max-batch-count": "3" });

    const answer = await postBatch(own, { body: `${good}\n\n\n\n${good}\n\n${good}\n\n`, type: lines });

    expect(answer.status).toBe(202);
  });
});

describe("by default", () => {
  test("a batch may have 4 MiB, and its refusal names both sizes", async () => {
    const body = good + "\n".repeat(4_194_304 - good.length);

    const taken = await postBatch(server, { body, type: lines });
    const refused = await postBatch(server, { body: `${body}\n`, type: lines });

    expect(taken.status).toBe(202);
    expect(refused.status).toBe(413);
    expect((await toProblem(refused)).detail).toBe("batch is 4194305 bytes, the limit is 4194304");
  });

  test("a batch may have 10,000 messages, and one more is refused", async () => {
    const items = Array.from({ length: 10_000 }, () => ({ userid: "1", message: "m" }));

    const taken = await postBatch(server, toLines(items));
    const refused = await postBatch(server, toLines([...items, { userid: "1", message: "m" }]));

    expect([taken.status, refused.status]).toEqual([202, 413]);
    expect((await toProblem(refused)).detail).toBe("the batch has more items than the limit, 10000");
  });
});

test("a message may be as large as --max-message, however large the batch", async () => {
  await using client = await connect(server, "userid=1");
  const sent = Array.from({ length: 100 }, () => "é".repeat(512));

  const answer = await postBatch(server, toArray(sent.map((message) => ({ userid: "1", message }))));
  await push(server, "userid=1", "end");

  expect(answer.status).toBe(200);
  expect(await receiveUntil(client, "end")).toEqual(sent);
});

describe("the JSON of an item", () => {
  // A message of 1 KiB, ids, an event and a key whose every byte is written as six characters, and 8 KiB for what is around them.
  const longest = 6 * (1024 + 128 + 128 + 64 + 128) + 8192;

  test.each(batchForms)(
    "is as long as its message may need, and no longer, in $name",
    async ({ toBatch }) => {
      const around = ([first, item]: readonly string[]) => {
        const { body, type } = toBatch([1, 2]);
        return { body: body.replace("1", first ?? "").replace("2", item ?? ""), type };
      };

      const taken = await postBatch(server, around([good, ofLength(longest)]));
      const refused = await postBatch(server, around([good, ofLength(longest + 1)]));

      expect(taken.status).toBe(202);
      expect(refused.status).toBe(413);
      expect(await toProblem(refused)).toMatchObject({
        code: "too_large",
        item: 1,
        detail:
          "item 1: its JSON is longer than 17024 characters, the limit where a message has up to 1024 bytes",
      });
    },
  );

  test.each(batchForms)("may have everything at its limit and escaped, in $name", async ({ toBatch }) => {
    await using client = await connect(server, "userid=1");
    const { body, type } = toBatch([1]);
    const item = `{"userid":"1","message":"${escape(1024)}","event":"${escape(64)}","key":"${escape(128)}"}`;

    const answer = await postBatch(server, { body: body.replace("1", () => item), type });

    expect(answer.status).toBe(200);
    expect(await client.next()).toBe("a".repeat(1024));
  });
});

/** A request with so many bytes of space in chunks like this one, and with a message at its end. */
function toChunked(chunk: string, bytes: number): string {
  return toRequest(lines, [...Array<string>(Math.ceil(bytes / chunk.length)).fill(chunk), good]);
}

function toRequest(type: string, chunks: readonly string[]): string {
  const head = `POST /batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked`;
  const written = [...chunks, ""].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  return `${head}\r\n\r\n${written.join("")}`;
}

/** Writes it a little at a time, so that the server has each of its chunks by itself: what waits for it, it gets as one. */
async function exchangeSlowly(request: string): Promise<RawAnswer> {
  await using raw = await openRaw(server);
  for (let at = 0; at < request.length; at += 4096) {
    await raw.write(request.slice(at, at + 4096));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await raw.answer();
}

/** An item of exactly so many characters. */
function ofLength(length: number): string {
  return `${good.slice(0, -1)}${" ".repeat(length - good.length)}}`;
}

/** A text of so many bytes, as it is in JSON at its longest. */
function escape(size: number): string {
  return "\\u0061".repeat(size);
}

/** A batch of exactly so many bytes. */
function ofBytes(size: number) {
  const { body, type } = toArray([{ all: true, message: "" }]);
  return { body: body.replace('""', `"${"x".repeat(size - body.length)}"`), type };
}
