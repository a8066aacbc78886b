/**
 * What one user and one address may take, by a clock that the test moves.
 */
import { describe, expect, test } from "bun:test";
import { Quotas } from "../src/quotas.ts";

function openQuotas() {
  const clock = { now: 0 };
  const quotas = new Quotas({ maxPerUser: 2, maxPerAddress: 3, perSecond: 1, now: () => clock.now });
  return { quotas, clock };
}

const address = "203.0.113.7";

describe("a user", () => {
  test("has as many sessions as the limit, and one more when one ends", () => {
    const { quotas } = openQuotas();
    const claimant = { userid: "7" };
    for (let index = 0; index < 2; index++) {
      quotas.check(claimant);
      quotas.enter(claimant);
    }

    expect(() => quotas.check(claimant)).toThrow(
      expect.objectContaining({
        code: "quota_exceeded",
        detail: 'the user "7" has 2 sessions, which is the limit for one',
      }),
    );
    expect(() => quotas.check({ userid: "8" })).not.toThrow();
    quotas.leave(claimant);
    expect(() => quotas.check(claimant)).not.toThrow();
  });
});

describe("an address", () => {
  test("has as many sessions as the limit, of whichever users", () => {
    const { quotas } = openQuotas();
    for (const userid of ["1", "2", "3"]) quotas.enter({ userid, address });

    expect(() => quotas.check({ userid: "4", address })).toThrow(
      expect.objectContaining({
        code: "quota_exceeded",
        detail: "203.0.113.7 has 3 sessions, which is the limit for one",
      }),
    );
    expect(() => quotas.check({ userid: "4", address: "203.0.113.8" })).not.toThrow();
    expect(() => quotas.check({ userid: "4" })).not.toThrow();
  });

  test("begins ten seconds' worth of sessions at once, and then so many a second, for hours", () => {
    const { quotas, clock } = openQuotas();
    let begun = 0;
    const begin = () => {
      try {
        quotas.throttle(address);
        begun++;
      } catch (error) {
        expect(error).toMatchObject({
          code: "rate_limited",
          detail: "203.0.113.7 begins too many sessions, the limit is 1 a second",
        });
      }
    };

    for (let index = 0; index < 100; index++) begin();
    expect(begun).toBe(10);
    for (let second = 1; second <= 10_000; second++) {
      clock.now = second * 1000;
      for (let index = 0; index < 3; index++) begin();
    }
    expect(begun).toBe(10_010);
  });
});
