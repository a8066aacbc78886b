/**
 * What a reader of a journal is told, against an array of all that was ever appended.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Journal, Retention } from "../../src/journal.ts";
import type { Draft, Message, Offset } from "../../src/message.ts";
import { Clock } from "./clock.ts";

const topics = ["a", "u1", "c1", "b1:11"];

const draft: fc.Arbitrary<Draft> = fc.record(
  {
    topic: fc.constantFrom(...topics),
    body: fc.constantFrom("x", "yy"),
    key: fc.constantFrom("k", "l"),
    ttl: fc.constantFrom(0, 1, 2),
  },
  { requiredKeys: ["topic", "body"] },
);

const step = fc.oneof(
  fc.record({ append: fc.array(draft, { maxLength: 5 }) }),
  fc.record({ advance: fc.constantFrom(0, 10, 100, 300, 600) }),
  fc.record({
    since: fc.integer({ min: -1, max: 60 }),
    of: fc.subarray(topics),
    present: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
  }),
);

// Messages come at whole tens, so that none is exactly as old as may be.
const retention = fc.record({
  time: fc.constantFrom(15, 305, 1005, 5005),
  count: fc.integer({ min: 1, max: 20 }),
});

type Open = (retention: Partial<Retention>, clock: Clock) => Promise<Journal>;

export function journalModel(name: string, open: Open): void {
  test(`the ${name} journal: tells a reader exactly what an array of all messages says`, async () => {
    await fc.assert(
      fc.asyncProperty(retention, fc.array(step, { maxLength: 40 }), async ({ time, count }, steps) => {
        const clock = new Clock();
        const journal = await open({ time, count }, clock);
        const seen: Message[] = [];
        journal.tail((messages) => void seen.push(...messages));
        const appended: Message[] = [];
        for (const one of steps) {
          if ("advance" in one) clock.advance(one.advance);
          else if ("append" in one) {
            await journal.append(one.append);
            for (const given of one.append)
              appended.push({ ...given, offset: appended.length + 1, time: clock.now() });
          } else {
            const kept = appended.slice(-count).filter((message) => message.time >= clock.now() - time);
            const horizon = appended.length - kept.length;
            const known = one.since >= horizon && one.since <= appended.length;
            const expected = kept.filter(
              (message) =>
                message.offset > one.since &&
                one.of.includes(message.topic) &&
                !isReplaced(message, kept) &&
                !isExpired(message, clock.now(), one.present),
            );
            const pages = journal.since(one.since, one.of, one.present);

            expect(pages && [...pages].flat()).toEqual(known ? expected : undefined);
            expect(journal.kept.count).toBe(kept.length);
            expect(journal.offsetBefore(Infinity)).toBe(horizon);
          }
          expect(journal.head).toBe(appended.length);
        }
        expect(seen).toEqual(appended);
      }),
    );
  });
}

function isReplaced({ topic, key, offset }: Message, kept: readonly Message[]): boolean {
  return kept.some(
    (later) => later.offset > offset && later.topic === topic && later.key === key && key !== undefined,
  );
}

function isExpired({ ttl, time, offset }: Message, now: number, present: Offset = Infinity): boolean {
  return ttl !== undefined && now >= time + ttl * 1000 && offset <= present;
}
