import { describe, expect, test } from "bun:test";
import { findAlone, toWindow } from "../../src/console/curves.ts";

describe("the part of the past that a chart shows", () => {
  test.each([
    [1000, 1010, 950],
    [1000, 1060, 1000],
    [1000, 1200, 1000],
    [1000, 1400, 1100],
  ])("with the first point at %d and the last at %d, it begins at %d", (oldest, newest, begin) => {
    expect(toWindow([oldest, newest])).toEqual([begin, newest]);
  });

  test("is the last minute where there is nothing yet", () => {
    const [begin, end] = toWindow([]);

    expect(end - begin).toBe(60);
  });
});

test("a point that has none beside it is found, as no line goes through it", () => {
  expect(findAlone([1, null, 2, 3, null, 4, null, null, 5])).toEqual([0, 5, 8]);
  expect(findAlone([0])).toEqual([0]);
  expect(findAlone([1, 2])).toEqual([]);
});
