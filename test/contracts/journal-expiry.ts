/**
 * What a journal leaves out of a replay: the expired and the replaced, and how far back a duration leads.
 */
import { describe, expect, test } from "bun:test";
import type { Journal, Retention } from "../../src/journal.ts";
import { Clock } from "./clock.ts";

type Open = (retention?: Partial<Retention>, clock?: Clock) => Promise<Journal>;

export function journalExpiry(name: string, open: Open): void {
  describe(`the ${name} journal: a message with a ttl`, () => {
    test("is given until so many seconds have passed, and then no more, which is no gap", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      await journal.append([{ topic, body: "short", ttl: 2 }]);
      await journal.append([{ topic, body: "long" }]);

      clock.advance(1999);
      const before = read(journal, 0);
      clock.advance(1);

      expect(before).toEqual(["short", "long"]);
      expect(read(journal, 0)).toEqual(["long"]);
      expect(read(journal, 1)).toEqual(["long"]);
    });

    test("comes back with it, also with 0 for a reader that was connected when it came", async () => {
      const journal = await open();
      await journal.append([{ topic, body: "early", ttl: 0 }]);
      await journal.append([{ topic, body: "late", ttl: 0 }]);

      const [page = []] = journal.since(0, [topic], 1) ?? [];

      expect(read(journal, 0)).toEqual([]);
      expect(page.map(({ body, ttl }) => [body, ttl])).toEqual([["late", 0]]);
    });

    test("goes with the retention when that is shorter", async () => {
      const clock = new Clock();
      const journal = await open({ time: 1000 }, clock);
      await journal.append([{ topic, body: "a", ttl: 3600 }]);

      clock.advance(1001);

      expect(journal.since(0, [topic])).toBeUndefined();
      expect(read(journal, 1)).toEqual([]);
    });
  });

  test(`the ${name} journal tells how old the oldest message is that it keeps`, async () => {
    const clock = new Clock();
    const journal = await open({ time: 5000 }, clock);
    expect(journal.ageMs).toBe(0);
    await journal.append([{ topic, body: "first" }]);
    clock.advance(3000);
    await journal.append([{ topic, body: "second" }]);
    expect(journal.ageMs).toBe(3000);

    clock.advance(3000);
    expect(journal.ageMs).toBe(3000);
    clock.advance(3000);
    expect(journal.ageMs).toBe(0);
  });

  describe(`the ${name} journal: a message with a key`, () => {
    test("replaces the earlier one with the same topic and key for everybody who comes later", async () => {
      const journal = await open();
      await journal.append([{ topic, body: "10 %", key: "progress" }]);
      await journal.append([
        { topic, body: "other" },
        { topic, body: "20 %", key: "progress" },
        { topic, body: "30 %", key: "progress" },
      ]);

      expect(read(journal, 0)).toEqual(["other", "30 %"]);
      expect(read(journal, 3)).toEqual(["30 %"]);
      expect(read(journal, 4)).toEqual([]);
    });

    test("replaces nothing of another topic or another key, and nothing without one", async () => {
      const journal = await open();
      const drafts = [
        { topic, body: "a" },
        { topic, body: "b", key: "x" },
        { topic: "u2", body: "c", key: "x" },
        { topic, body: "d", key: "xx" },
        { topic, body: "e" },
      ];
      await journal.append(drafts);

      expect(read(journal, 0, [topic, "u2"])).toEqual(["a", "b", "c", "d", "e"]);
    });

    test("stays replaced when what replaced it has expired", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      await journal.append([{ topic, body: "old", key: "x" }]);
      await journal.append([{ topic, body: "new", key: "x", ttl: 1 }]);

      clock.advance(1000);

      expect(read(journal, 0)).toEqual([]);
    });

    test("comes back with it, and is taken again after the earlier one was trimmed", async () => {
      const journal = await open({ count: 2 });
      await journal.append([{ topic, body: "1", key: "x", event: "bar" }]);
      for (const body of ["2", "3"]) await journal.append([{ topic, body }]);
      await journal.append([{ topic, body: "4", key: "x", event: "bar" }]);

      const [page = []] = journal.since(2, [topic]) ?? [];

      expect(page.map(({ body, key, event }) => [body, key, event])).toEqual([
        ["3", undefined, undefined],
        ["4", "x", "bar"],
      ]);
    });
  });

  describe(`the ${name} journal: offsetBefore`, () => {
    test("leads to all that came in so long a time", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      for (const body of ["a", "b", "c"]) {
        await journal.append([{ topic, body }]);
        clock.advance(100);
      }

      expect([0, 99, 100, 200, 299, 300, 5000, Infinity].map((age) => journal.offsetBefore(age))).toEqual([
        3, 3, 2, 1, 1, 0, 0, 0,
      ]);
    });

    test("leads to no more than is kept", async () => {
      const journal = await open({ count: 2 });
      for (const body of ["a", "b", "c"]) await journal.append([{ topic, body }]);

      expect([journal.offsetBefore(Infinity), journal.offsetBefore(1000)]).toEqual([1, 1]);
    });

    test("leads to the head of an empty journal", async () => {
      const journal = await open();

      expect([journal.offsetBefore(Infinity), journal.offsetBefore(0)]).toEqual([0, 0]);
    });
  });

  test(`the ${name} journal: with a retention of no messages, only who has had everything can go on`, async () => {
    const journal = await open({ count: 0 });
    const seen: unknown[] = [];
    journal.tail((messages) => void seen.push(...messages.map(({ body }) => body)));

    await journal.append([
      { topic, body: "a", key: "x" },
      { topic, body: "b", key: "x", ttl: 5 },
    ]);

    expect(seen).toEqual(["a", "b"]);
    expect(journal.since(1, [topic])).toBeUndefined();
    expect(read(journal, 2)).toEqual([]);
    expect(journal.kept).toEqual({ count: 0, bytes: 0 });
    expect(journal.offsetBefore(Infinity)).toBe(2);
  });
}

const topic = "b1:7inbox";

function read(journal: Journal, offset: number, topics: readonly string[] = [topic]) {
  const pages = journal.since(offset, topics);
  if (pages === undefined) throw new Error(`expected that the journal knows what came after ${offset}`);
  return [...pages].flat().map(({ body }) => body);
}
