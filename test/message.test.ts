import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PushError } from "../src/errors.ts";
import { type Body, checkBody, type Draft, sizeOf, toMessage, toMessageId } from "../src/message.ts";

const text = fc.string({ unit: "binary" });
const bytes = fc.uint8Array();

describe("the size of a body", () => {
  test("is that of its UTF-8 for a text", () => {
    fc.assert(fc.property(text, (body) => expect(sizeOf(body)).toBe(new TextEncoder().encode(body).length)));
  });

  test("is the number of its bytes for bytes, also of a part of a larger buffer", () => {
    expect(sizeOf(new Uint8Array(10).subarray(3, 7))).toBe(4);
  });
});

describe("a body", () => {
  test("comes back itself when it is from one byte to the limit, and is refused by name otherwise", () => {
    fc.assert(
      fc.property(fc.oneof(text, bytes), fc.integer({ min: 1, max: 40 }), (body, limit) => {
        const size = sizeOf(body);
        const expected = size === 0 ? "empty_message" : size > limit ? "too_large" : body;

        expect(check(body, limit)).toBe(expected);
      }),
      { numRuns: 1000 },
    );
  });

  test("of two-byte letters may fill the limit exactly", () => {
    const body = "é".repeat(32);

    expect(check(body, 64)).toBe(body);
  });

  test("that is one byte over the limit is refused with its size and the limit", () => {
    const body = `${"é".repeat(32)}a`;

    expect(() => checkBody(body, 64)).toThrow("message is 65 bytes, the limit is 64");
  });

  test("that has a byte order mark or a NUL comes back with it", () => {
    const body = "\ufeffa\0";

    expect(check(body, 64)).toBe("\ufeffa\0");
  });
});

test("a message that was taken is its draft, whatever that has, with its place and its time", () => {
  const draft: fc.Arbitrary<Draft> = fc.record(
    { topic: text, body: fc.oneof(text, bytes), event: text, key: text, ttl: fc.nat() },
    { requiredKeys: ["topic", "body"] },
  );
  fc.assert(
    fc.property(draft, fc.nat(), fc.nat(), (given, offset, time) =>
      expect(toMessage(given, offset, time)).toStrictEqual({ ...given, offset, time }),
    ),
  );
});

test("the id of a message is its epoch and its offset", () => {
  expect(toMessageId("k3f9a0zq", 1042)).toBe("k3f9a0zq-1042");
});

/** What `checkBody` gives back, or the code that it refuses with. */
function check(body: Body, limit: number): Body {
  try {
    return checkBody(body, limit);
  } catch (error) {
    if (error instanceof PushError) return error.code;
    throw error;
  }
}
