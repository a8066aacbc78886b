/**
 * What one user, one address and one publisher may take, by a clock that the test moves.
 */
import { describe, expect, test } from "bun:test";
import { PushRates, Quotas } from "../src/quotas.ts";

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

function openPushRates() {
  const clock = { now: 0 };
  return { rates: new PushRates({ perSecond: 2, now: () => clock.now }), clock };
}

describe("a publisher", () => {
  test("pushes ten seconds' worth of messages at once, and then so many a second", () => {
    const { rates, clock } = openPushRates();
    for (let count = 0; count < 20; count++) rates.take("one", 1);

    expect(() => rates.take("one", 1)).toThrow(
      expect.objectContaining({
        code: "rate_limited",
        detail: "too many messages are pushed by this API key or user, the limit is 2 a second for each",
        waitMs: 500,
      }),
    );
    clock.now = 500;
    expect(() => rates.take("one", 1)).not.toThrow();
  });

  test("is told when all of its messages will be taken, and then they are", () => {
    const { rates, clock } = openPushRates();
    rates.take("one", 15);

    expect(() => rates.take("one", 8)).toThrow(expect.objectContaining({ waitMs: 1500 }));
    clock.now = 1499;
    expect(() => rates.take("one", 8)).toThrow();
    clock.now = 1500;
    expect(() => rates.take("one", 8)).not.toThrow();
  });

  test("that is refused has used nothing of what it may", () => {
    const { rates } = openPushRates();
    rates.take("one", 15);

    for (let time = 0; time < 100; time++) expect(() => rates.take("one", 6)).toThrow();
    expect(() => rates.take("one", 5)).not.toThrow();
  });

  test("does not count for another", () => {
    const { rates } = openPushRates();
    rates.take("one", 20);

    expect(() => rates.take("two", 20)).not.toThrow();
    expect(() => rates.take(undefined, 20)).not.toThrow();
  });

  test("without a name is one with all that have none", () => {
    const { rates } = openPushRates();
    rates.take(undefined, 20);

    expect(() => rates.take(undefined, 1)).toThrow(
      expect.objectContaining({ detail: "too many messages are pushed, the limit is 2 a second" }),
    );
  });

  test("is told how many may come at once when that is fewer", () => {
    const { rates } = openPushRates();

    expect(() => rates.take("one", 21)).toThrow(
      expect.objectContaining({
        code: "too_large",
        detail: "the batch has 21 messages and the limit is 2 a second, expected at most 20 at once",
      }),
    );
    expect(() => rates.take("one", 20)).not.toThrow();
  });
});
