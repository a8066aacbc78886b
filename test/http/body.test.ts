/**
 * That a message arrives as it was pushed, byte for byte: nothing between the two ends guesses what it could mean.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { toProblem, toReceipt } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let inbox: TestClient;

beforeAll(async () => {
  server = await startServer();
  inbox = await connect(server, "userid=1&compid=inbox");
});

afterAll(async () => {
  await inbox[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const get = (message: string) =>
  fetch(`${server.url}/push?userid=1&compid=inbox&message=${encodeURIComponent(message)}`);

const post = (body: string | Uint8Array<ArrayBuffer>, contentType?: string) =>
  fetch(`${server.url}/push?userid=1&compid=inbox`, {
    method: "POST",
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    headers: contentType === undefined ? {} : { "Content-Type": contentType },
  });

/** Texts that one layer or another is known to change: to trim, to parse, to normalise, to cut. */
const delicate = [
  "",
  "0x10",
  "007",
  "true",
  "null",
  '{"a":1}',
  '"',
  " 12",
  "12 ",
  "\n",
  "\r\n\r\n",
  "a\r\nb\rc\n\n",
  "\t",
  "\u{feff}hello",
  "\u{feff}",
  "\u0000",
  "a\u0000b",
  "\u001b[31m",
  "\u2028\u2029",
  "e\u0301 \u00e9",
  "\u{1f469}\u200d\u{1f4bb}",
  "\u{10ffff}",
  "\ufffd",
  "%41%zz+&=#?",
  "__proto__",
].filter((text) => text !== "");

const text = fc.string({ unit: "binary", minLength: 1, maxLength: 300 });
const examples = delicate.map((example): [string] => [example]);

describe("a text", () => {
  test("arrives from a query as it was pushed, whatever Unicode it is", async () => {
    await fc.assert(
      fc.asyncProperty(text, async (message) => {
        await toReceipt(await get(message));

        expect(await inbox.next()).toBe(message);
      }),
      { numRuns: 200 + examples.length, examples },
    );
  });

  test("arrives from a body as it was pushed, whatever Unicode it is", async () => {
    await fc.assert(
      fc.asyncProperty(text, async (message) => {
        await toReceipt(await post(message, "text/plain; charset=utf-8"));

        expect(await inbox.next()).toBe(message);
      }),
      { numRuns: 200 + examples.length, examples },
    );
  });

  test.each(delicate)("%j in JSON is passed on and not read", async (message) => {
    await toReceipt(await post(message, "application/json"));

    expect(await inbox.next()).toBe(message);
  });
});

describe("bytes", () => {
  test("arrive as one binary frame with every value that a byte has", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, value) => value);

    await toReceipt(await post(bytes, "application/octet-stream"));

    expect(await inbox.next()).toEqual(bytes);
  });

  test("arrive as they were pushed, whatever they are", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        await toReceipt(await post(Uint8Array.from(bytes), "application/octet-stream"));

        expect(await inbox.next()).toEqual(bytes);
      }),
      { numRuns: 200 },
    );
  });

  test("that happen to be UTF-8 are still a binary frame", async () => {
    await toReceipt(await post("hello", "application/octet-stream"));

    expect(await inbox.next()).toEqual(new TextEncoder().encode("hello"));
  });
});

describe("the type of a body", () => {
  test.each([
    "text/plain",
    "text/html",
    "text/csv; header=present",
    "TEXT/PLAIN; CHARSET=UTF-8",
    'text/plain;charset="utf-8"',
    "text/plain; charset=us-ascii",
    "application/json",
    "application/json; charset=utf-8",
    "application/problem+json",
    "application/vnd.example.v1+json",
  ])("%s is a text", async (contentType) => {
    const answer = await post("héllo", contentType);

    expect(answer.status).toBe(200);
    expect(await inbox.next()).toBe("héllo");
  });

  test("may be missing, and the body is a text", async () => {
    const answer = await post("héllo");

    expect(answer.status).toBe(200);
    expect(await inbox.next()).toBe("héllo");
  });

  test.each([
    "image/png",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "text",
    "text/",
    "json",
    "text/plain; charset=iso-8859-1",
    "text/plain; charset=utf-16",
  ])("%s is refused with 415, by its name", async (contentType) => {
    const answer = await post("hello", contentType);

    expect(answer.status).toBe(415);
    const { code, detail } = await toProblem(answer);
    expect(code).toBe("unsupported_media_type");
    expect(detail).toContain(contentType.replace(/^.*charset=/, "").replace(/; boundary.*/, ""));
  });

  test("is refused with 415 when the body is compressed", async () => {
    const answer = await fetch(`${server.url}/push?userid=1`, {
      method: "POST",
      body: Bun.gzipSync("hello"),
      headers: { "Content-Type": "text/plain", "Content-Encoding": "gzip" },
    });

    expect(answer.status).toBe(415);
    expect((await toProblem(answer)).detail).toContain('Content-Encoding "gzip"');
  });
});

describe("a body that is no message", () => {
  test.each([
    ["of text", "text/plain"],
    ["of JSON", "application/json"],
    ["of bytes", "application/octet-stream"],
  ])("is refused when it is an empty one %s", async (_, contentType) => {
    const answer = await post("", contentType);

    expect(answer.status).toBe(400);
    expect((await toProblem(answer)).code).toBe("empty_message");
  });

  test.each([
    ["a byte that UTF-8 has not", [0x68, 0xff]],
    ["a sequence that is cut off", [0x68, 0xe2, 0x82]],
    ["an overlong form", [0xc0, 0x80]],
    ["half of a surrogate pair", [0xed, 0xa0, 0x80]],
    ["more than Unicode has", [0xf4, 0x90, 0x80, 0x80]],
    ["Latin-1", [0x68, 0xe9]],
  ])("is refused as a text when it has %s", async (_, bytes) => {
    const answer = await post(Uint8Array.from(bytes), "text/plain");

    expect(answer.status).toBe(400);
    expect((await toProblem(answer)).code).toBe("malformed_body");
  });
});
