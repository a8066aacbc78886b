/**
 * A JSON array is read in parts: what comes out of all of them is what `JSON.parse` makes of the whole.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { readArray, readLines } from "../../src/http/batch-items.ts";

const maxMessage = 1024;

/** The value, or `undefined` where it is no array. */
function parseWhole(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function parseParts(text: string): unknown {
  try {
    return [...readArray(text, maxMessage)].flat();
  } catch {
    return undefined;
  }
}

/** Sometimes so much that an array is read in several parts. */
const space = fc.oneof(
  { weight: 20, arbitrary: fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\r"), maxLength: 3 }) },
  { weight: 1, arbitrary: fc.constant(" ".repeat(6000)) },
);
/** As JSON may be written: each item as it happens to be, with space around it. */
const items = fc.array(fc.tuple(space, fc.json(), space).map((parts) => parts.join("")));
const arrays = fc
  .tuple(space, items, space)
  .map(([before, all, after]) => `${before}[${all.join(",")}]${after}`);
/** What means something in JSON, and what looks as if it did. */
const pieces = fc.constantFrom(
  '"',
  "\\",
  "[",
  "]",
  "{",
  "}",
  ",",
  ":",
  "0",
  " ",
  "\n",
  "\u00a0",
  "\ufeff",
  "é",
);

test("every array is read as what it has", () => {
  fc.assert(
    fc.property(arrays, (text) => {
      expect(parseParts(text)).toEqual(parseWhole(text));
      expect(parseParts(text)).toBeDefined();
    }),
    { numRuns: 2000 },
  );
});

test("what is damaged is an array exactly where it is one as a whole", () => {
  let damaged = 0;
  fc.assert(
    fc.property(
      arrays,
      fc.nat(),
      fc.nat({ max: 2 }),
      fc.string({ unit: pieces, maxLength: 3 }),
      (text, at, cut, put) => {
        const place = at % (text.length + 1);
        const other = text.slice(0, place) + put + text.slice(place + cut);
        const whole = parseWhole(other);
        if (whole === undefined) damaged++;
        expect(parseParts(other)).toEqual(whole);
      },
    ),
    { numRuns: 5000 },
  );
  expect(damaged).toBeGreaterThan(500);
});

test.each([
  ["a comma at the end of a part", (long: string) => `[${long},]`],
  ["nothing between two commas, and a part of space", (long: string) => `[${long},${" ".repeat(17_000)},1]`],
  ["nothing before a comma", (long: string) => `[,${long}]`],
])("an array with %s is none", (_, toText) => {
  for (let length = 16_000; length < 16_800; length++) {
    const text = toText(`"${"x".repeat(length)}"`);
    expect(parseWhole(text)).toBeUndefined();
    expect(parseParts(text)).toBeUndefined();
  }
});

test("any text made of JSON's own characters is an array exactly where it is one as a whole", () => {
  fc.assert(
    fc.property(fc.string({ unit: pieces, maxLength: 12 }), (text) => {
      const whole = `[${text}]`;
      expect(parseParts(whole)).toEqual(parseWhole(whole));
    }),
    { numRuns: 5000 },
  );
});

test("every line is an item, but those with nothing on them", () => {
  const ends = fc.constantFrom("\n", "\r\n", "\n\n", " \n", "\n \t\r\n", "\u00a0\f\n");
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.json(), ends)), fc.boolean(), (lines, isClosed) => {
      const text = lines.map(([json, end]) => json + end).join("");
      const whole = isClosed ? text : text.trimEnd();
      expect([...readLines(whole, maxMessage)].flat()).toEqual(lines.map(([json]) => JSON.parse(json)));
    }),
    { numRuns: 2000 },
  );
});
