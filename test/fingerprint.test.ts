/**
 * What tells whether two pushes are the same.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { toFingerprint } from "../src/idempotency.ts";
import type { Draft } from "../src/message.ts";
import { toDrafts } from "./support/drafts.ts";

describe("a fingerprint", () => {
  const few = fc.constantFrom("a", "b", "ab", "aa", "1:a", '"', ",");
  const body = fc.oneof(
    few,
    few.map((text) => new TextEncoder().encode(text)),
  );
  const draft: fc.Arbitrary<Draft> = fc.record(
    { topic: few, body, event: few, key: few, ttl: fc.constantFrom(0, 1, 10) },
    { requiredKeys: ["topic", "body"] },
  );
  const drafts = fc.array(draft, { minLength: 1, maxLength: 3 });

  test("is the same for the same, and another one for anything else", () => {
    fc.assert(
      fc.property(drafts, drafts, (one, other) => {
        expect(toFingerprint(one)).toBe(toFingerprint(structuredClone(one)));
        expect(toFingerprint(one) === toFingerprint(other)).toBe(Bun.deepEquals(one, other, true));
      }),
      { numRuns: 5000, verbose: 1 },
    );
  });

  test("is another one when a single part is", () => {
    const parts = ["topic", "body", "event", "key", "ttl"] as const;
    fc.assert(
      fc.property(drafts, fc.nat(2), fc.constantFrom(...parts), draft, (given, at, part, other) => {
        const index = at % given.length;
        const changed = given.map((own, place) => (place === index ? { ...own, [part]: other[part] } : own));
        const isSame = Bun.deepEquals(given[index]?.[part], other[part], true);

        expect(toFingerprint(changed) === toFingerprint(given)).toBe(isSame);
      }),
      { numRuns: 5000, verbose: 1 },
    );
  });

  test.each<[what: string, one: readonly Draft[], other: readonly Draft[]]>([
    ["a text and its bytes", toDrafts("a"), [{ topic: "a", body: Uint8Array.of(0x61) }]],
    ["an event and a key", [{ topic: "a", body: "b", event: "e" }], [{ topic: "a", body: "b", key: "e" }]],
    ["a ttl of 0 and none", [{ topic: "a", body: "b", ttl: 0 }], toDrafts("b")],
    [
      "an event that is called null and none",
      [{ topic: "a", body: "b", event: "null" }],
      [{ topic: "a", body: "b" }],
    ],
    ["a part of one body in the next", toDrafts("ab", "c"), toDrafts("a", "bc")],
    ["two messages and one of both", toDrafts("a", "b"), toDrafts("ab")],
    ["another order", toDrafts("a", "b"), toDrafts("b", "a")],
    ["a message once and twice", toDrafts("a"), toDrafts("a", "a")],
    ["one topic more of the same body", [{ topic: "ua", body: "b" }], [{ topic: "ca", body: "b" }]],
  ])("tells apart %s", (_, one, other) => {
    expect(toFingerprint(one)).not.toBe(toFingerprint(other));
  });

  test("of a batch of ten thousand tells apart each message that is another one", () => {
    const texts = Array.from({ length: 10_000 }, (_, index) => `${index}`);
    const own = toFingerprint(toDrafts(...texts));

    for (const index of [0, 4999, 9999])
      expect(toFingerprint(toDrafts(...texts.with(index, "x")))).not.toBe(own);
  });
});
