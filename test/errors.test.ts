import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { errorCodes, PushError, quote, show } from "../src/errors.ts";

/** Any UTF-16 units, lone surrogates too, with many of those that a terminal acts on. */
const unit = fc.oneof(
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
  fc.constantFrom(
    "\0",
    "\n",
    "\r",
    "\x1b",
    "\x7f",
    "\x9b",
    "\u2028",
    "\u202e",
    "\u2066",
    "😀",
    '"',
    "\\",
    "…",
  ),
);
const anyText = fc.string({ unit, maxLength: 200 });

describe("a quoted text", () => {
  test("is printable ASCII and the ellipsis, whatever was given", () => {
    fc.assert(
      fc.property(anyText, (text) => expect(quote(text)).toMatch(/^"[\x20-\x7e…]*"$/)),
      {
        numRuns: 1000,
      },
    );
  });

  test("has a bound, whatever was given", () => {
    fc.assert(fc.property(anyText, (text) => expect(quote(text).length).toBeLessThanOrEqual(64 * 6 + 3)));
  });

  test("of up to 64 characters is JSON that reads back as it was", () => {
    const short = fc.string({ unit, maxLength: 32 });
    fc.assert(fc.property(short, (text) => expect(JSON.parse(quote(text))).toBe(text)));
  });

  test("of plain letters is the text between quotes", () => {
    expect(quote("comp")).toBe('"comp"');
  });

  test("shows its first 64 characters and an ellipsis when it is longer", () => {
    expect(quote("a".repeat(65))).toBe(`"${"a".repeat(64)}…"`);
  });

  test("shows all of 64 characters", () => {
    expect(quote("a".repeat(64))).toBe(`"${"a".repeat(64)}"`);
  });

  test("cannot close its own quotes", () => {
    expect(quote('a" is fine, "b')).toBe('"a\\" is fine, \\"b"');
  });
});

test("a value of JSON can be shown in a sentence, whatever it is", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => expect(show(value)).toMatch(/^[\x20-\x7e…]{1,400}$/)));
  expect(show(JSON.parse('{"toString":1}'))).toBe("an object");
});

test("the codes of errors are distinct words of small letters", () => {
  expect(new Set(errorCodes).size).toBe(errorCodes.length);
  for (const code of errorCodes) expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
});

test("an error says its code, its sentence and its kind", () => {
  const error = new PushError("too_large", "message is 70210 bytes, the limit is 65536");

  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "PushError", code: "too_large", message: error.detail });
});
