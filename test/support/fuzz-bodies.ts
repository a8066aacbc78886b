/**
 * Bodies of requests at random, and how they are sent. Each is text of which a character is a byte.
 */
import fc from "fast-check";

interface Body {
  /** The line that says what it is. */
  readonly type: string;
  readonly text: string;
}

const toLatin1 = (text: string) => Buffer.from(text).toString("latin1");

const anyValue = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom("\ud800", "\0", "\ufffd", "", "x".repeat(200), "x".repeat(5000), 1e308, -0, 0.5, "60"),
);

const names = ["userid", "compid", "all", "message", "event", "key", "ttl", "more"];

/** An item of a batch that is right, but for one property in some of them: or no batch of several would ever be taken. */
const item: fc.Arbitrary<unknown> = fc
  .tuple(
    fc.constantFrom({ userid: "1" }, { compid: "1" }, { userid: "1", compid: "2" }, { all: true }),
    fc.constantFrom("hello", "\u{1f600}", "x".repeat(1000), "\u2028").map((message) => ({ message })),
    fc.constantFrom({}, {}, { event: "order" }, { key: "k" }, { ttl: 0 }, { key: "k", ttl: 60 }),
    fc.oneof(
      { weight: 5, arbitrary: fc.constant({}) },
      {
        weight: 1,
        arbitrary: fc.dictionary(fc.constantFrom(...names), anyValue, { minKeys: 1, maxKeys: 1 }),
      },
    ),
  )
  .map((parts) => Object.assign({}, ...parts));

const items = fc.oneof(
  { weight: 6, arbitrary: fc.array(item, { maxLength: 6 }) },
  { weight: 1, arbitrary: fc.array(anyValue, { maxLength: 3 }) },
  // About as many as there may be.
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 19, max: 21 })
      .map((length) => Array.from({ length }, () => ({ all: true, message: "m" }))),
  },
);

const strange: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "",
    '[{"__proto__":{},"message":"m","all":true}]',
    "\xff\xfe",
    "\xef\xbb\xbf[]",
    "\xed\xa0\x80",
    "x".repeat(4096),
    "x".repeat(4097),
  ),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  fc
    .tuple(
      fc.constantFrom("[", '{"a":', '[{"message":', "\n", "1e", '"\\u', "-", "[0,"),
      fc.integer({ min: 1, max: 4000 }),
    )
    .map(([part, times]) => part.repeat(times)),
);

const types = ["text/plain", "application/json", "application/x-ndjson", "application/octet-stream"];

const strangeTypes = [
  "text/plain; charset=utf-16",
  'text/plain; charset="utf-8"; charset=',
  "multipart/form-data; boundary=x",
  "application/x-www-form-urlencoded",
  `text/${"x".repeat(5000)}`,
  "/",
  ";",
  "\xff",
  "",
];

const strangeBody: fc.Arbitrary<Body> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ type: fc.constantFrom(...types), text: strange }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom(...strangeTypes), text: fc.constant("hello") }) },
);

const messageBody: fc.Arbitrary<Body> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constantFrom(...types), text: fc.constantFrom("hello", "{}") }),
  },
  { weight: 2, arbitrary: strangeBody },
);

const batchBody: fc.Arbitrary<Body> = fc.oneof(
  {
    weight: 4,
    arbitrary: items.map((all) => ({ type: "application/json", text: toLatin1(JSON.stringify(all)) })),
  },
  {
    weight: 4,
    arbitrary: items.map((all) => ({
      type: "application/x-ndjson",
      text: toLatin1(all.map((one) => JSON.stringify(one)).join("\n")),
    })),
  },
  { weight: 2, arbitrary: strangeBody },
);

export interface FramedBody {
  readonly headers: readonly string[];
  readonly text: string;
  /** Whether all of it is there, by what the headers say. */
  readonly isWhole: boolean;
}

/** Lines that do not say how long a body is, or say it in two ways. */
const wrongLengths = [
  "Content-Length: 5",
  "Content-Length: 0",
  "Content-Length: -1",
  "Content-Length: +3",
  "Content-Length: 1, 1",
  "Content-Length: 99999999999999999999",
  "Content-Length: 0x10",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding : chunked",
  " Transfer-Encoding: chunked",
  "Expect: 100-continue",
  "Connection: close, x",
  "Trailer: Authorization",
];

const wrongChunks = [
  "",
  "0\r\n\r\n",
  "5\r\n",
  "ffffffffffffffff\r\n",
  "-1\r\n",
  "0x5\r\n",
  "5;x=y\r\n",
  "5 \n",
];

/** How a body is sent: with its length, in chunks, or with a length or chunks that are not its own. */
const toFramed = (body: fc.Arbitrary<Body>): fc.Arbitrary<FramedBody> =>
  fc.oneof(
    {
      weight: 6,
      arbitrary: body.map(({ type, text }) => ({
        headers: [`Content-Type: ${type}`, `Content-Length: ${text.length}`],
        text,
        isWhole: true,
      })),
    },
    {
      weight: 3,
      arbitrary: fc.tuple(body, fc.integer({ min: 1, max: 700 })).map(([{ type, text }, size]) => ({
        headers: [`Content-Type: ${type}`, "Transfer-Encoding: chunked"],
        text: `${toChunks(text, size)}0\r\n\r\n`,
        isWhole: true,
      })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(body, fc.subarray(wrongLengths, { maxLength: 4 }), fc.constantFrom(...wrongChunks))
        .map(([{ type, text }, lines, chunk]) => ({
          headers: [`Content-Type: ${type}`, ...lines],
          text: chunk + text,
          isWhole: false,
        })),
    },
  );

export const framedMessage: fc.Arbitrary<FramedBody> = toFramed(messageBody);
export const framedBatch: fc.Arbitrary<FramedBody> = toFramed(batchBody);

function toChunks(text: string, size: number): string {
  let chunks = "";
  for (let at = 0; at < text.length; at += size) {
    const chunk = text.slice(at, at + size);
    chunks += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
  }
  return chunks;
}
