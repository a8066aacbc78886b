import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type ErrorCode, PushError } from "../src/errors.ts";
import { readQuery } from "../src/query.ts";

const names = ["userid", "compid", "message", "event", "key"] as const;

const text = fc.string({ unit: "binary", minLength: 1 });

describe("a query", () => {
  test("gives the parameters that are there, and no others", () => {
    expect(readQuery("/push?userid=123&message=hello", names)).toEqual({ userid: "123", message: "hello" });
  });

  test("may be missing or empty", () => {
    for (const url of ["/push", "/push?", "/push?&", "/push?&&"]) expect(readQuery(url, names)).toEqual({});
  });

  test("is read the same from a whole URL", () => {
    expect(readQuery("http://localhost:8888/push?userid=1", names)).toEqual({ userid: "1" });
  });

  test("may have question and equals signs in a value", () => {
    expect(readQuery("/push?message=a=b?c==", names)).toEqual({ message: "a=b?c==" });
  });

  test("has a plus sign for a blank, and %2B for a plus sign", () => {
    expect(readQuery("/push?message=1+%2B+1", names)).toEqual({ message: "1 + 1" });
  });

  test("may have letters as they are, not encoded", () => {
    expect(readQuery("/push?message=日本é", names)).toEqual({ message: "日本é" });
  });

  test("may have the name of a parameter encoded", () => {
    expect(readQuery("/push?user%69d=1", names)).toEqual({ userid: "1" });
  });

  test("may have U+FFFD where it is encoded", () => {
    expect(readQuery("/push?message=%EF%BF%BD", names)).toEqual({ message: "\ufffd" });
  });

  test("may have control characters in a message", () => {
    expect(readQuery("/push?message=%00%0d%0a%1b", names)).toEqual({ message: "\0\r\n\x1b" });
  });

  test("gives back any text that encodeURIComponent encoded", () => {
    fc.assert(
      fc.property(text, (message) =>
        expect(readQuery(`/push?message=${encodeURIComponent(message)}`, names)).toEqual({ message }),
      ),
      { numRuns: 1000 },
    );
  });

  test("gives back any texts that URLSearchParams encoded", () => {
    const id = fc
      .string({ unit: "binary", minLength: 1, maxLength: 16 })
      .filter((value) => !/\p{Cc}/u.test(value));
    const given = fc.record({ userid: id, compid: id, message: text, event: id, key: id });
    fc.assert(
      fc.property(given, (parameters) =>
        expect(readQuery(`/push?${new URLSearchParams(parameters)}`, names)).toEqual(parameters),
      ),
      { numRuns: 1000 },
    );
  });
});

describe("the parameter _ is ignored", () => {
  for (const query of ["_=1700000000", "_", "_=", "_=1&_=2", "_=%zz", "%5F=1"])
    test(`as ${query}`, () => {
      expect(readQuery(`/push?${query}&userid=1&${query}`, names)).toEqual({ userid: "1" });
    });
});

const notHexadecimal = "has a percent sign that is not followed by the hexadecimal digits of UTF-8";
const refusals: readonly (readonly [query: string, code: ErrorCode, detail: string])[] = [
  [
    "comp=1",
    "unknown_parameter",
    'parameter "comp" is unknown here, expected userid, compid, message, event, key',
  ],
  ["UserId=1", "unknown_parameter", 'parameter "UserId" is unknown here'],
  ["userid%20=1", "unknown_parameter", 'parameter "userid " is unknown here'],
  ["userid[]=1", "unknown_parameter", 'parameter "userid[]" is unknown here'],
  ["=1", "unknown_parameter", 'parameter "" is unknown here'],
  ["__=1", "unknown_parameter", 'parameter "__" is unknown here'],
  ["__proto__=1", "unknown_parameter", 'parameter "__proto__" is unknown here'],
  ["constructor=1", "unknown_parameter", 'parameter "constructor" is unknown here'],
  ["toString=1", "unknown_parameter", 'parameter "toString" is unknown here'],
  ["c%0Aomp=1", "unknown_parameter", 'parameter "c\\nomp" is unknown here'],
  ["userid=1&userid=2", "repeated_parameter", "parameter userid is given more than once, expected it once"],
  ["userid=1&userid=1", "repeated_parameter", "parameter userid is given more than once"],
  ["userid=1&user%69d=2", "repeated_parameter", "parameter userid is given more than once"],
  ["userid=1&userid=", "repeated_parameter", "parameter userid is given more than once"],
  ["userid=", "empty_parameter", "parameter userid is empty, expected at least 1 byte"],
  ["userid", "empty_parameter", "parameter userid is empty"],
  ["message=", "empty_parameter", "parameter message is empty"],
  ["userid=1&message", "empty_parameter", "parameter message is empty"],
  ["message=%zz", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=100%", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%4", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%ff", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%e9", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%c0%80", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%ED%A0%80", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["message=%F4%90%80%80", "invalid_parameter", `parameter message ${notHexadecimal}`],
  ["%zz=1", "invalid_parameter", `the name of a parameter ${notHexadecimal}`],
  ["userid=a%EF%BF%BDb", "invalid_parameter", "parameter userid has bytes that are not UTF-8, or U+FFFD"],
  ["event=%EF%BF%BD", "invalid_parameter", "parameter event has bytes that are not UTF-8, or U+FFFD"],
  ["userid=a%00", "invalid_parameter", "parameter userid has a control character, expected none"],
  ["compid=%0a", "invalid_parameter", "parameter compid has a control character"],
  ["event=a%7f", "invalid_parameter", "parameter event has a control character"],
  ["key=a%09", "invalid_parameter", "parameter key has a control character"],
  ["key=%EF%BF%BD", "invalid_parameter", "parameter key has bytes that are not UTF-8, or U+FFFD"],
  ["key=", "empty_parameter", "parameter key is empty"],
  ["key=a&key=a", "repeated_parameter", "parameter key is given more than once"],
  ["userid=%C2%85", "invalid_parameter", "parameter userid has a control character"],
];

describe("a query is refused by name:", () => {
  for (const [query, code, detail] of refusals)
    test(`${JSON.stringify(query)} with ${code}`, () => {
      const error = refusal(`/push?${query}`);

      expect(error.code).toBe(code);
      expect(error.detail).toStartWith(detail);
    });

  test("any parameter of a call that takes none", () => {
    expect(() => readQuery("/sessions?userid=1", [])).toThrow(
      'parameter "userid" is unknown here, expected none',
    );
  });

  test("any control character in an id, wherever it stands", () => {
    const control = fc
      .oneof(fc.integer({ min: 0, max: 0x1f }), fc.integer({ min: 0x7f, max: 0x9f }))
      .map((code) => String.fromCharCode(code));
    const around = fc.string({ maxLength: 10 });
    fc.assert(
      fc.property(around, control, around, (before, character, after) => {
        const { code } = refusal(`/push?compid=${encodeURIComponent(before + character + after)}`);

        expect(code).toBe("invalid_parameter");
      }),
    );
  });
});

describe("the longest name in bytes of UTF-8 passes, and one byte more does not:", () => {
  const limits = { userid: 128, compid: 128, event: 64, key: 128 };
  for (const [name, limit] of Object.entries(limits))
    for (const letter of ["a", "é", "日", "😀"])
      test(`${name} of ${limit} bytes with ${letter}`, () => {
        const bytes = Buffer.byteLength(letter);
        const longest = letter.repeat(Math.floor(limit / bytes)) + "x".repeat(limit % bytes);

        const taken = readQuery(`/push?${name}=${encodeURIComponent(longest)}`, names);
        const error = refusal(`/push?${name}=${encodeURIComponent(`${longest}x`)}`);

        expect(taken).toEqual({ [name]: longest });
        expect(error.code).toBe("invalid_parameter");
        expect(error.detail).toBe(`parameter ${name} is ${limit + 1} bytes, the limit is ${limit}`);
      });

  test("a message has no limit here", () => {
    const message = "a".repeat(100_000);

    expect(readQuery(`/push?message=${message}`, names)).toEqual({ message });
  });
});

test("whatever stands in a query, it is read or refused with printable ASCII", () => {
  const junk = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({
      unit: fc.constantFrom(..."%&=+?#_cf08userid", "userid=", "message=", "%0a", "\x1b", "\u202e"),
    }),
    fc.array(fc.tuple(text, text)).map((pairs) => String(new URLSearchParams(pairs))),
  );
  fc.assert(
    fc.property(junk, (query) => {
      try {
        const values = readQuery(`/push?${query}`, names);
        for (const [name, value] of Object.entries(values)) {
          expect(names.some((known) => known === name)).toBe(true);
          expect(value).not.toBe("");
        }
      } catch (error) {
        if (!(error instanceof PushError)) throw error;
        expect(error.detail).toMatch(/^[\x20-\x7e…]+$/);
      }
    }),
    { numRuns: 3000 },
  );
});

/** What `readQuery` refuses the URL with. */
function refusal(url: string): PushError {
  try {
    readQuery(url, names);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`expected that it is refused: ${url}`);
}
