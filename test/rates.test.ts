import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Rate, type RateLimit, Rates } from "../src/rates.ts";

/** What is early by less than this counts as on time; twice as much, for what floating point adds. */
const slackMs = 0.002;

/** From one in ten minutes to a hundred thousand a second. */
const rates = fc.oneof(
  fc.integer({ min: 1, max: 100_000 }),
  fc.double({ min: 1 / 600, max: 1000, noNaN: true }),
  fc.constantFrom(1 / 60, 1 / 3, 0.1, 0.7, 3, 7, 60, 999),
);
const bursts = fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 10_000 }));
const limits: fc.Arbitrary<RateLimit> = fc.record({ rate: rates, burst: bursts });
const threeYears = 3 * 365 * 86_400_000;
const starts = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: threeYears }), fc.nat(1000));

/** Steps of time in units of what one event takes, so that they matter at every rate. */
const steps = fc.oneof(fc.constantFrom(0, 1, 0.5), fc.double({ min: 0, max: 3, noNaN: true }), fc.nat(100));

describe("a rate", () => {
  test("lets the burst through at once, and then tells how long to wait", () => {
    const rate = new Rate({ rate: 2, burst: 3 });

    const waits = [0, 0, 0, 0, 100, 500, 500, 750, 1000].map((now) => rate.take(now));

    expect(waits).toEqual([0, 0, 0, 500, 400, 0, 500, 250, 0]);
  });

  test("gives whoever was quiet the burst again, and no more", () => {
    const rate = new Rate({ rate: 2, burst: 3 });
    for (let taken = 0; taken < 3; taken++) rate.take(0);

    const waits = Array.from({ length: 4 }, () => rate.take(threeYears));

    expect(waits).toEqual([0, 0, 0, 500]);
  });

  test("takes several together or none of them, and never more than the burst", () => {
    const rate = new Rate({ rate: 10, burst: 5 });

    const waits = [3, 3, 6, 2, 5].map((count) => rate.take(0, count));

    expect(waits).toEqual([0, 100, Infinity, 0, 500]);
  });

  for (const limit of [
    { rate: 0, burst: 1 },
    { rate: Number.NaN, burst: 1 },
    { rate: Infinity, burst: 1 },
    { rate: 1, burst: 0.5 },
    { rate: 1, burst: Infinity },
  ])
    test(`cannot be ${limit.rate} with a burst of ${limit.burst}`, () => {
      expect(() => new Rate(limit)).toThrow(RangeError);
    });

  test("takes in any window of time at most its burst and what comes in that time", () => {
    const asks = fc.array(fc.tuple(steps, fc.integer({ min: 1, max: 4 })), { maxLength: 80 });
    holds(
      fc.property(limits, starts, asks, (limit, start, list) => {
        const rate = new Rate(limit);
        const taken: { at: number; count: number }[] = [];
        let now = start;
        for (const [step, count] of list) {
          now += (step * 1000) / limit.rate;
          if (rate.take(now, count) === 0) taken.push({ at: now, count });
        }
        for (const [first, from] of taken.entries()) {
          let sum = 0;
          for (const to of taken.slice(first)) {
            sum += to.count;
            expect(sum).toBeLessThanOrEqual(most(limit, to.at - from.at));
          }
        }
      }),
    );
  });

  test("never refuses somebody who asks at exactly the rate, also once the burst is used up", () => {
    holds(
      fc.property(limits, starts, (limit, start) => {
        const rate = new Rate(limit);
        expect(rate.take(start, limit.burst)).toBe(0);

        for (let event = 1; event <= 500; event++)
          expect(rate.take(start + (event * 1000) / limit.rate)).toBe(0);
      }),
    );
  });

  test("takes after exactly the time that it told", () => {
    const asks = fc.array(fc.tuple(steps, fc.integer({ min: 1, max: 4 })), { maxLength: 30 });
    holds(
      fc.property(limits, starts, asks, (limit, start, list) => {
        const rate = new Rate(limit);
        let now = start;
        for (const [step, count] of list) {
          now += (step * 1000) / limit.rate;
          if (count > limit.burst) continue;
          const wait = rate.take(now, count);
          if (wait === 0) continue;
          expect(rate.take(now + wait * 0.9 - slackMs, count)).toBeGreaterThan(0);
          now += wait;
          expect(rate.take(now, count)).toBe(0);
        }
      }),
    );
  });

  test("does not add up what it takes for on time although it is early", () => {
    const limit = { rate: 100_000, burst: 1 };
    const rate = new Rate(limit);
    let [now, taken] = [0, 0];
    for (let asked = 0; asked < 10_000; asked++) {
      // The second is refused, and may not forgive that the first was early.
      now += 0.0091;
      if (rate.take(now) === 0) taken++;
      if (rate.take(now) === 0) taken++;
    }

    expect(taken).toBeLessThanOrEqual(most(limit, now));
  });

  // Refilling in steps passes every test of a burst and is wrong by this one: what is rounded off each step adds up.
  for (const events of [1 / 100, 1 / 30, 1 / 7])
    test(`of ${events} a second is met to the millisecond by somebody greedy, over three years`, () => {
      const rate = new Rate({ rate: events, burst: 10 });
      const all = Math.floor((threeYears / 1000) * events);
      let now = 0;
      for (let taken = 0; taken < all;) {
        const wait = rate.take(now);
        if (wait === 0) taken++;
        else now += wait;
      }

      expect(Math.abs(now - ((all - 10) * 1000) / events)).toBeLessThan(1);
    });
});

describe("a clock that", () => {
  test("stands still gives the burst, and nothing more", () => {
    holds(
      fc.property(limits, starts, (limit, now) => {
        const rate = new Rate(limit);
        let taken = 0;
        for (let asked = 0; asked < limit.burst + 200; asked++) if (rate.take(now) === 0) taken++;

        expect(taken).toBeLessThanOrEqual(most(limit, 0));
        expect(taken).toBeGreaterThanOrEqual(limit.burst);
      }),
    );
  });

  const leaps = fc.array(fc.oneof(steps, steps.map(negate), fc.integer({ min: -1e6, max: 1e6 })), {
    maxLength: 200,
  });

  test("goes back and forth gives nothing for going back", () => {
    holds(
      fc.property(limits, leaps, (limit, list) => {
        const rate = new Rate(limit);
        let now = 1e9;
        let forward = 0;
        let taken = 0;
        for (const leap of list) {
          const step = (leap * 1000) / limit.rate;
          now += step;
          if (step > 0) forward += step;
          if (rate.take(now) === 0) taken++;

          expect(taken).toBeLessThanOrEqual(most(limit, forward));
        }
      }),
    );
  });

  test("went back locks nobody out for longer than the burst takes", () => {
    holds(
      fc.property(limits, leaps, (limit, list) => {
        const rate = new Rate(limit);
        let now = 1e9;
        for (const leap of list) rate.take((now += (leap * 1000) / limit.rate));
        // Somebody has to have asked for it to be noticed, as nobody looks at the clock in between.
        const wait = rate.take(now, limit.burst);

        expect(wait).toBeLessThanOrEqual((limit.burst * 1000) / limit.rate + slackMs);
        expect(rate.take(now + wait, wait === 0 ? 0 : limit.burst)).toBe(0);
      }),
    );
  });
});

describe("rates by key", () => {
  test("do not touch each other", () => {
    const table = new Rates({ rate: 1, burst: 1, maxKeys: 10 });

    const waits = [table.take("a", 0), table.take("a", 0), table.take("b", 0), table.take("b", 500)];

    expect(waits).toEqual([0, 1000, 0, 500]);
  });

  test("cannot be kept in a table of one key", () => {
    expect(() => new Rates({ rate: 1, burst: 1, maxKeys: 1 })).toThrow(RangeError);
  });

  const asks = fc.array(fc.tuple(fc.nat(9), steps, fc.integer({ min: 1, max: 4 })), { maxLength: 200 });

  test("are each as a rate of their own, as long as the table has room", () => {
    holds(
      fc.property(limits, starts, asks, (limit, start, list) => {
        const table = new Rates<number>({ ...limit, maxKeys: 20 });
        const alone = Array.from({ length: 10 }, () => new Rate(limit));
        let now = start;
        for (const [key, step, count] of list) {
          now += (step * 1000) / limit.rate;
          expect(table.take(key, now, count)).toBe(alone[key]?.take(now, count) ?? Number.NaN);
        }
      }),
    );
  });

  test("never keep more keys than they may, whatever comes and whatever the clock does", () => {
    const wild = fc.array(fc.tuple(fc.nat(100), fc.oneof(steps, steps.map(negate))), { maxLength: 300 });
    holds(
      fc.property(limits, fc.integer({ min: 2, max: 20 }), wild, (limit, maxKeys, list) => {
        const table = new Rates<number>({ ...limit, maxKeys });
        let now = 1e6;
        for (const [key, step] of list) {
          table.take(key, (now += (step * 1000) / limit.rate));
          expect(table.size).toBeLessThanOrEqual(maxKeys);
        }
      }),
    );
  });

  test("are forgotten when they are full again, by the next that asks", () => {
    const table = new Rates({ rate: 10, burst: 20, maxKeys: 2000 });
    for (let key = 0; key < 500; key++) table.take(`quiet ${key}`, 0);
    expect(table.size).toBe(500);

    table.take("other", 4001);

    expect(table.size).toBe(1);
  });

  test("are not forgotten before they are full, whenever it was that they were used up", () => {
    for (let usedUp = 0; usedUp <= 4000; usedUp += 100) {
      const table = new Rates({ rate: 10, burst: 20, maxKeys: 10 });
      for (let now = 0; now < usedUp; now += 100) table.take("busy", now);
      table.take("own", usedUp, 20);
      for (let now = usedUp; now < usedUp + 1999; now += 100) table.take("busy", now);

      expect(table.take("own", usedUp + 1999, 20)).toBeCloseTo(1);
    }
  });

  for (const [when, at] of Object.entries({
    "while others keep asking": 0,
    "after the clock went back": 1e9,
  }))
    test(`are forgotten also ${when}`, () => {
      const table = new Rates({ rate: 10, burst: 20, maxKeys: 2000 });
      for (let key = 0; key < 500; key++) table.take(`quiet ${key}`, at);

      for (let now = 0; now <= 4300; now += 100) table.take("busy", now);

      expect(table.size).toBeLessThanOrEqual(2);
    });
});

describe("an attacker with a million keys", () => {
  const limit = { rate: 10, burst: 20, maxKeys: 10_000 };

  test("takes no more memory than the table may have", () => {
    const table = new Rates(limit);
    let largest = 0;
    for (let key = 0; key < 1_000_000; key++) {
      table.take(`attacker ${key}`, key / 1000);
      largest = Math.max(largest, table.size);
    }

    expect(largest).toBeLessThanOrEqual(limit.maxKeys);
  });

  test("locks nobody out: whoever is new, or keeps to the rate, is let through", () => {
    const table = new Rates(limit);
    for (let round = 0; round < 100; round++) {
      const now = round * 100;
      for (let key = 0; key < 10_000; key++) table.take(`attacker ${round} ${key}`, now);

      expect(table.take("steady", now)).toBe(0);
      expect(table.take(`new ${round}`, now)).toBe(0);
    }
  });

  test("gets no limit back with fewer other keys than half the table", () => {
    const table = new Rates(limit);
    table.take("own", 0, 20);
    for (let key = 0; key < limit.maxKeys / 2 - 1; key++) table.take(`other ${key}`, 0);

    expect(table.take("own", 0)).toBe(100);
  });

  test("gets no limit back by asking on, however many other keys there are", () => {
    const table = new Rates(limit);
    table.take("own", 0, 20);
    for (let key = 0; key < 1_000_000; key++) {
      table.take(`other ${key}`, 0);
      if (key % 4000 === 0) expect(table.take("own", 0)).toBe(100);
    }
  });

  test("gets one burst for a table of requests, which is what forgetting costs", () => {
    const table = new Rates(limit);
    table.take("own", 0, 20);
    for (let key = 0; key <= limit.maxKeys; key++) table.take(`other ${key}`, 0);

    expect(table.take("own", 0, 20)).toBe(0);
    expect(table.take("own", 0)).toBe(100);
  });

  test("gets no key past its limit within what the table is made for", () => {
    const table = new Rates<number>(limit);
    const taken = new Map<number, number>();
    // Just under half the table in the 2 s of a burst: a third for five keys, over and over, and the others each with a new one.
    const [requests, seconds] = [2490, 20];
    for (let asked = 0; asked < requests * seconds; asked++) {
      const key = asked % 3 === 0 ? asked % 5 : asked + 5;
      if (table.take(key, (asked * 1000) / requests) === 0) taken.set(key, (taken.get(key) ?? 0) + 1);
    }

    const largest = Math.max(...[0, 1, 2, 3, 4].map((key) => taken.get(key) ?? 0));
    expect(largest).toBeLessThanOrEqual(20 + 10 * seconds);
  });
});

function holds<Values>(property: fc.IProperty<Values>): void {
  fc.assert(property, { numRuns: 1000 });
}

/** The most that may be taken in a window of so many milliseconds. */
function most({ rate, burst }: RateLimit, ms: number): number {
  return burst + (rate * (ms + slackMs)) / 1000 + 1e-9;
}

function negate(step: number): number {
  return -step;
}
