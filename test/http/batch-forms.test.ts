/**
 * How a batch may be written: what stands between its messages, what is in them, byte for byte, and what is none.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { batchForms, postBatch, toReceipts } from "../support/batches.ts";
import { inChunks } from "../support/chunks.ts";
import { toProblem } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let client: TestClient;

beforeAll(async () => {
  server = await startServer();
  client = await connect(server, "userid=1");
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const a = '{"userid":"1","message":"a"}';
const b = '{"userid":"1","message":"b"}';

describe("NDJSON", () => {
  test.each([
    ["a line feed between its lines", `${a}\n${b}`],
    ["one at its end, too", `${a}\n${b}\n`],
    ["CRLF", `${a}\r\n${b}\r\n`],
    ["empty lines", `\n\n${a}\n\n\n${b}\n\n`],
    ["empty lines of CRLF", `\r\n${a}\r\n\r\n${b}\r\n\r\n`],
    ["lines of blanks", `  \n${a}\n\t\n${b}\n \t \r\n`],
    ["blanks around its objects", ` ${a} \n\t${b}\t`],
    ["a byte order mark at its head", `\ufeff${a}\n${b}`],
  ])("may have %s", async (_, body) => {
    const receipts = await toReceipts(await postBatch(server, { body, type: "application/x-ndjson" }));

    expect(receipts.map(({ sessions }) => sessions)).toEqual([1, 1]);
    expect([await client.next(), await client.next()]).toEqual(["a", "b"]);
  });

  test.each([
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "Application/X-NDJSON; charset=UTF-8",
  ])("may be called %s", async (type) => {
    const answer = await postBatch(server, { body: `${a}\n${b}`, type });

    expect(answer.status).toBe(200);
    expect([await client.next(), await client.next()]).toEqual(["a", "b"]);
  });

  test("of one line is one message", async () => {
    const receipts = await toReceipts(await postBatch(server, { body: a, type: "application/x-ndjson" }));

    expect(receipts).toHaveLength(1);
    expect(await client.next()).toBe("a");
  });

  test("has no other line breaks than line feeds: what JSON allows in a string ends no line", async () => {
    const message = "a\u2028b\u2029c\u0085d";

    await postBatch(server, {
      body: `{"userid":"1","message":"${message}"}\n${b}`,
      type: "application/x-ndjson",
    });

    expect([await client.next(), await client.next()]).toEqual([message, "b"]);
  });
});

describe("a JSON array", () => {
  test.each([
    ["on one line", `[${a},${b}]`],
    ["with blanks and line breaks wherever JSON allows them", `\r\n[ ${a}\n,\t${b} ]\r\n`],
    ["with a byte order mark at its head", `\ufeff[${a},${b}]`],
  ])("may be written %s", async (_, body) => {
    const answer = await postBatch(server, { body, type: "application/json; charset=utf-8" });

    expect(answer.status).toBe(200);
    expect([await client.next(), await client.next()]).toEqual(["a", "b"]);
  });
});

describe.each(batchForms)("a message in $name arrives as it was pushed:", ({ toBatch }) => {
  test.each([
    "é 日本 😀",
    "e\u0301 \u00e9",
    "\u{feff}hello",
    "\u0000",
    "a\nb\r\nc",
    " \t",
    "\u2028\u2029",
    "\u{10ffff}",
    "\ufffd",
    '{"a":1}',
    '"\\',
    "__proto__",
  ])("%j", async (message) => {
    await postBatch(server, toBatch([{ userid: "1", message }]));

    expect(await client.next()).toBe(message);
  });

  test("with every unit of it escaped", async () => {
    const { type } = toBatch([]);
    const escaped = String.raw`{"\u0075serid":"\u0031","message":"\ud83d\ude00\u0000"}`;

    await postBatch(server, { body: type === "application/json" ? `[${escaped}]` : escaped, type });

    expect(await client.next()).toBe("😀\0");
  });

  test("in chunks that end within a letter", async () => {
    const { body, type } = toBatch([{ userid: "1", message: "日本😀" }]);

    await postBatch(server, { body: inChunks(body, 1), type });

    expect(await client.next()).toBe("日本😀");
  });
});

test("ids that are the names of what every object has are ids like any other", async () => {
  await using odd = await connect(server, "userid=__proto__&compid=constructor");

  const answer = await postBatch(server, {
    body: '[{"userid":"__proto__","compid":"constructor","message":"hello"}]',
    type: "application/json",
  });

  expect(answer.status).toBe(200);
  expect(await odd.next()).toBe("hello");
});

const array = "application/json";
const lines = "application/x-ndjson";
const gzip = Bun.gzipSync(`[${a}]`);
const notArray =
  "the body is not an array, expected a JSON array of items; for an item a line, send Content-Type: application/x-ndjson";

describe("a body that is no batch", () => {
  test.each<
    [what: string, body: string | Uint8Array<ArrayBuffer>, type: string, code: string, detail: string]
  >([
    ["an empty array", "[]", array, "malformed_body", "the batch is empty, expected at least 1 item"],
    ["no lines", "", lines, "malformed_body", "the batch is empty, expected at least 1 item"],
    [
      "only empty lines",
      "\r\n \n\n",
      lines,
      "malformed_body",
      "the batch is empty, expected at least 1 item",
    ],
    ["nothing", "", array, "malformed_body", notArray],
    ["a byte order mark", "\ufeff", array, "malformed_body", notArray],
    [
      "two arrays",
      `[${a}][${a}]`,
      array,
      "malformed_body",
      "the body goes on after its array, expected its end",
    ],
    ["lines as an array", `${a}\n${b}`, array, "malformed_body", notArray],
    [
      "an array that never closes",
      "[".repeat(100_000),
      array,
      "malformed_body",
      "the body ends within item 0, expected the end of its array",
    ],
    ["one object", a, array, "malformed_body", notArray],
    ["null", "null", array, "malformed_body", notArray],
    ["a text", '"hello"', array, "malformed_body", notArray],
    [
      "Latin-1",
      Buffer.from('["\xe9"]', "latin1"),
      array,
      "malformed_body",
      "the body is not UTF-8, expected UTF-8",
    ],
    [
      "UTF-16",
      Buffer.from(`\ufeff[${a}]`, "utf16le"),
      array,
      "malformed_body",
      "the body is not UTF-8, expected UTF-8",
    ],
    [
      "half of a letter",
      Buffer.of(0x5b, 0xe2, 0x82),
      lines,
      "malformed_body",
      "the body is not UTF-8, expected UTF-8",
    ],
    ["of a strange type", `[${a}]`, "text/plain", "unsupported_media_type", 'Content-Type "text/plain"'],
    [
      "of curl's own type",
      `[${a}]`,
      "application/x-www-form-urlencoded",
      "unsupported_media_type",
      "form-urlencoded",
    ],
    [
      "of almost the right type",
      `[${a}]`,
      "application/jsonp",
      "unsupported_media_type",
      "application/jsonp",
    ],
    [
      "of another charset",
      `[${a}]`,
      `${array}; charset=utf-16`,
      "unsupported_media_type",
      'charset "utf-16"',
    ],
  ])("is refused: %s", async (_, body, type, code, detail) => {
    const answer = await postBatch(server, { body, type });

    expect(answer.status).toBe(code === "unsupported_media_type" ? 415 : 400);
    const problem = await toProblem(answer);
    expect([problem.code, problem.detail]).toEqual([code, expect.stringContaining(detail)]);
    expect(problem).not.toHaveProperty("item");
  });

  test("is refused when it says no type", async () => {
    const answer = await fetch(`${server.url}/batch`, { method: "POST", body: Buffer.from(`[${a}]`) });

    expect(answer.status).toBe(415);
    expect((await toProblem(answer)).detail).toContain("expected application/json or application/x-ndjson");
  });

  test("is refused when it is compressed", async () => {
    const answer = await postBatch(server, { body: gzip, type: array }, { "Content-Encoding": "gzip" });

    expect(answer.status).toBe(415);
    expect((await toProblem(answer)).detail).toContain('Content-Encoding "gzip"');
  });
});
