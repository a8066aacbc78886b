import { describe, expect, test } from "bun:test";
import { findLabel, parseMetrics, toGrowth, toQuantile } from "../../src/console/metrics.ts";
import { createMetrics } from "../../src/metrics.ts";

const name = "server_push_push_duration_seconds";

/** What a server says of pushes that took so long, in seconds. */
async function sample(...seconds: number[]) {
  const metrics = createMetrics({ version: '1.2.3 "x"', commit: "abc" });
  for (const one of seconds) metrics.pushed(one);
  return parseMetrics(await metrics.render());
}

describe("a counter", () => {
  test("has grown by the difference", () => {
    expect(toGrowth("a", new Map([["a", 7]]), new Map([["a", 5]]))).toBe(2);
  });

  test("that was not there before has grown from nothing", () => {
    expect(toGrowth("a", new Map([["a", 7]]), new Map())).toBe(7);
  });

  test("that began anew with its server has grown by all that it is", () => {
    expect(toGrowth("a", new Map([["a", 7]]), new Map([["a", 500]]))).toBe(7);
  });
});

describe("a share of the values", () => {
  test("is nothing where there were none", async () => {
    const before = await sample(0.001);

    expect(toQuantile(0.5, name, before, before)).toBeUndefined();
  });

  test("counts only what came between the samples", async () => {
    const [older, newer] = [await sample(5, 5, 5), await sample(5, 5, 5, 0.0002)];

    expect(toQuantile(1, name, newer, older)).toBe(0.00025);
  });

  test("lies within the bucket of its value, as far in it as its place among them", async () => {
    const older = await sample();
    const newer = await sample(0.002, 0.002, 0.002, 0.002);

    expect(toQuantile(0.5, name, newer, older)).toBeCloseTo(0.00175, 6);
    expect(toQuantile(1, name, newer, older)).toBe(0.0025);
  });

  test("is the largest bound where it lies above it", async () => {
    expect(toQuantile(0.99, name, await sample(60), await sample())).toBe(5);
  });
});

test("a label of the build is found", async () => {
  expect(findLabel("commit", "server_push_build_info", await sample())).toBe("abc");
  expect(findLabel("version", "nothing", await sample())).toBeUndefined();
});

test("every line of a server is read, and every value is a number", async () => {
  for (const [key, value] of await sample(1))
    expect({ key, isNumber: Number.isFinite(value) }).toEqual({ key, isNumber: true });
});
