/**
 * A part of the contract of journals: a reader that takes only a part of each page.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HorizonPassed, type Journal, type Retention } from "../../src/journal.ts";
import type { Draft, Message } from "../../src/message.ts";
import { Clock } from "./clock.ts";

type Open = (retention?: Partial<Retention>, clock?: Clock) => Promise<Journal>;

const draft: fc.Arbitrary<Draft> = fc.record({
  topic: fc.constantFrom("a", "b", "c"),
  body: fc.integer({ min: 1, max: 40_000 }).map((size) => "x".repeat(size)),
});

export function journalPages(name: string, open: Open): void {
  describe(`the ${name} journal: a reader that takes a part of a page`, () => {
    test("has everything in order, once, whatever it takes each time", async () => {
      const takes = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 10 });
      await fc.assert(
        fc.asyncProperty(fc.array(draft, { maxLength: 60 }), takes, async (drafts, rooms) => {
          const journal = await open();
          if (drafts.length > 0) await journal.append(drafts);
          const topics = ["a", "c"];

          const received: Message[] = [];
          const pages = journal.since(0, topics);
          for (let page = pages?.next(), turn = 0; page?.done === false; turn++) {
            // Now and then nothing, but not for ever.
            const room = turn % 2 === 0 ? (rooms[turn % rooms.length] ?? 1) : 1;
            received.push(...page.value.slice(0, room));
            page = pages?.next(Math.min(room, page.value.length));
          }

          expect(received.map(({ offset }) => offset)).toEqual(
            drafts.flatMap(({ topic }, index) => (topics.includes(topic) ? [index + 1] : [])),
          );
        }),
        { numRuns: 50 },
      );
    });

    test("is given the rest anew, without what was replaced or has expired meanwhile", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      await journal.append([
        { topic: "a", body: "taken" },
        { topic: "a", body: "old state", key: "k" },
        { topic: "a", body: "short-lived", ttl: 1 },
        { topic: "a", body: "stays" },
      ]);
      const pages = journal.since(0, ["a"], 4);
      pages?.next();

      await journal.append([{ topic: "a", body: "new state", key: "k" }]);
      clock.advance(1000);

      expect(bodiesOf(pages?.next(1))).toEqual(["stays", "new state"]);
      expect(bodiesOf(pages?.next(1))).toEqual(["new state"]);
      expect(pages?.next(1).done).toBe(true);
    });

    test("is told when the rest was dropped meanwhile", async () => {
      const journal = await open({ count: 3 });
      await journal.append(["1", "2", "3"].map((body) => ({ topic: "a", body })));
      const pages = journal.since(0, ["a"]);
      pages?.next();

      await journal.append(["4", "5"].map((body) => ({ topic: "a", body })));

      expect(() => pages?.next(1)).toThrow(HorizonPassed);
    });

    test("loses nothing when only what it took was dropped meanwhile", async () => {
      const journal = await open({ count: 3 });
      await journal.append(["a", "b", "a"].map((topic, index) => ({ topic, body: `${index}` })));
      const pages = journal.since(0, ["a"]);
      pages?.next();

      await journal.append(["3", "4"].map((body) => ({ topic: "b", body })));

      expect(bodiesOf(pages?.next(1))).toEqual(["2"]);
    });
  });
}

function bodiesOf(page: IteratorResult<readonly Message[], void> | undefined): unknown[] | undefined {
  return page?.value?.map(({ body }) => body);
}
