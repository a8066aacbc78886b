/**
 * How many are inside at once, by key.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Concurrency } from "../src/rates.ts";

describe("concurrency", () => {
  test("is full when as many are inside with one key as may be, and not with another", () => {
    const sessions = new Concurrency(2);

    sessions.enter("a");
    expect(sessions.isFull("a")).toBe(false);
    sessions.enter("a");
    expect([sessions.isFull("a"), sessions.isFull("b")]).toEqual([true, false]);
  });

  test("has room again when somebody leaves", () => {
    const sessions = new Concurrency(1);
    sessions.enter("a");

    sessions.leave("a");

    expect(sessions.isFull("a")).toBe(false);
  });

  test("has no more room when somebody leaves who was not inside", () => {
    const sessions = new Concurrency(1);
    sessions.leave("a");
    sessions.enter("a");

    expect(sessions.isFull("a")).toBe(true);
    expect(sessions.count("a")).toBe(1);
  });

  test("counts as a list of everyone inside would, and keeps no key that nobody has", () => {
    const moves = fc.array(fc.tuple(fc.boolean(), fc.nat(4)), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), moves, (limit, list) => {
        const sessions = new Concurrency<number>(limit);
        const inside: number[] = [];
        for (const [isEntering, key] of list) {
          const count = inside.filter((other) => other === key).length;
          if (isEntering) {
            expect(sessions.isFull(key)).toBe(count >= limit);
            sessions.enter(key);
            inside.push(key);
          } else {
            sessions.leave(key);
            if (count > 0) inside.splice(inside.indexOf(key), 1);
          }
          expect(sessions.count(key)).toBe(inside.filter((other) => other === key).length);
          expect(sessions.size).toBe(new Set(inside).size);
        }
      }),
    );
  });
});
