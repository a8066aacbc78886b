import { expect, test } from "bun:test";
import fc from "fast-check";
import { fromCounts, toCounts } from "../../src/journal/sqlite-counts.ts";

test("counts come back as they were", () => {
  const counts = fc.oneof(...[1, 300, 70_000].map((max) => fc.array(fc.nat(max), { minLength: 1 })));
  fc.assert(fc.property(counts, (given) => expect(fromCounts(toCounts(given), given.length)).toEqual(given)));
});

test("counts take no more than they need: one number when they are the same, else a byte or a few for each", () => {
  expect(toCounts(many(1))).toBe(1);
  expect([255, 65_535, 65_536].map((last) => toCounts(many(last)))).toEqual([
    expect.objectContaining({ length: 10_000 }),
    expect.objectContaining({ length: 20_000 }),
    expect.objectContaining({ length: 40_000 }),
  ]);
});

function many(last: number): number[] {
  return [...Array.from({ length: 9999 }, () => 1), last];
}
