/**
 * The suite of the contract in src/journal.ts: every journal runs it, and adds only what is particular to itself.
 *
 *   journalContract("memory", openMemoryJournal);
 */
import { afterEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HorizonPassed, type Journal, type Retention } from "../../src/journal.ts";
import type { Draft, Message, Offset } from "../../src/message.ts";
import { journalExpiry } from "./journal-expiry.ts";
import { journalModel } from "./journal-model.ts";
import { journalPages } from "./journal-pages.ts";
import { Clock } from "./clock.ts";

export interface JournalOptions {
  readonly retention: Retention;
  /** The time of now, in milliseconds since 1970. */
  readonly now: () => number;
}

/** Opens a journal that is empty and shares nothing with any other. */
export type OpenJournal = (options: JournalOptions) => Journal | Promise<Journal>;

/** Keeps whatever a test appends. */
export const unbounded: Retention = { time: 86_400_000, bytes: 2 ** 40, count: 1e9 };

export function journalContract(name: string, openJournal: OpenJournal): void {
  const opened: Journal[] = [];
  afterEach(async () => {
    for (const journal of opened.splice(0)) await journal.close();
  });

  async function open(retention: Partial<Retention> = {}, clock = new Clock()): Promise<Journal> {
    const journal = await openJournal({ retention: { ...unbounded, ...retention }, now: clock.now });
    opened.push(journal);
    return journal;
  }

  describe(`the ${name} journal: offsets`, () => {
    test("count from 1 without holes, after a head of 0", async () => {
      const journal = await open();
      const before = journal.head;

      const given = [await journal.append(texts("a")), await journal.append(texts("b"))];

      expect(given).toEqual([[1], [2]]);
      expect([before, journal.head]).toEqual([0, 2]);
    });

    test("of one append are consecutive, in the order given", async () => {
      const journal = await open();
      await journal.append(texts("first"));

      const given = await journal.append(texts("a", "b", "c"));

      expect(given).toEqual([2, 3, 4]);
      expect(bodies(read(journal, 1))).toEqual(["a", "b", "c"]);
    });

    test("of appends at the same time have no holes and no repeats, and each is that of its message", async () => {
      const journal = await open();
      const batches = Array.from({ length: 60 }, (_, batch) =>
        texts(...Array.from({ length: (batch % 4) + 1 }, (__, at) => `${batch}:${at}`)),
      );

      const given = await Promise.all(batches.map((batch) => journal.append(batch)));

      for (const own of given) expect(own).toEqual(own.map((_, at) => (own[0] ?? 0) + at));
      expect(given.flat().toSorted((a, b) => a - b)).toEqual(upTo(150));
      const byOffset = new Map(read(journal, 0).map(({ offset, body }) => [offset, body]));
      expect(given.flat().map((offset) => byOffset.get(offset))).toEqual(
        batches.flat().map(({ body }) => body),
      );
    });
  });

  describe(`the ${name} journal: tail`, () => {
    test("hands over every message once, in order, also of appends at the same time", async () => {
      const journal = await open();
      const seen = listen(journal);

      await Promise.all(Array.from({ length: 100 }, (_, at) => journal.append(texts(`${at}`, `${at}!`))));

      expect(offsets(seen)).toEqual(upTo(200));
      expect(seen).toEqual(read(journal, 0));
    });

    test("has handed a message over before its append resolves", async () => {
      const journal = await open();
      const seen = listen(journal);
      const seenAtEnd = await Promise.all(
        ["a", "b", "c"].map(async (body) => {
          const [offset] = await journal.append(texts(body));
          return seen.some((message) => message.offset === offset && message.body === body);
        }),
      );

      expect(seenAtEnd).toEqual([true, true, true]);
    });
  });

  describe(`the ${name} journal: a message`, () => {
    const topic = "b1:7inbox";

    test("has the time of its append", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      const began = clock.now();
      await journal.append(texts("a"));
      clock.advance(250);
      await journal.append(texts("b"));

      expect(read(journal, 0).map(({ time }) => time - began)).toEqual([0, 250]);
    });

    test("of text, its event and its topic come back as they were, whatever they are", async () => {
      const clock = new Clock();
      const journal = await open({}, clock);
      const text = fc.string({ unit: "binary", minLength: 1 });
      const draft = fc.record({ topic: text, body: text, event: text }, { requiredKeys: ["topic", "body"] });
      await fc.assert(
        fc.asyncProperty(draft, async (given) => {
          const [offset = 0] = await journal.append([given]);

          expect(read(journal, offset - 1, [given.topic])).toEqual([{ ...given, offset, time: clock.now() }]);
        }),
      );
    });

    test("of bytes comes back as the same bytes, also when they are a part of a larger buffer", async () => {
      const journal = await open();
      const part = fc
        .tuple(fc.uint8Array({ minLength: 1 }), fc.nat(9), fc.nat(9))
        .map(([bytes, before, after]) => {
          const buffer = Buffer.concat([Buffer.alloc(before), bytes, Buffer.alloc(after)]);
          return buffer.subarray(before, before + bytes.length);
        });
      await fc.assert(
        fc.asyncProperty(part, async (body) => {
          const [offset = 0] = await journal.append([{ topic, body, event: "chart" }]);
          const [message] = read(journal, offset - 1, [topic]);

          expect(message?.body).toBeInstanceOf(Uint8Array);
          expect(new Uint8Array(Buffer.from(message?.body ?? ""))).toEqual(new Uint8Array(body));
        }),
      );
    });
  });

  describe(`the ${name} journal: since`, () => {
    test("gives what came after the offset, in order, to these topics only", async () => {
      const journal = await open();
      const topics = ["u1", "u2", "a", "u1", "u3", "u2"];
      await journal.append(topics.map((topic, at) => ({ topic, body: `${at + 1}` })));

      expect(bodies(read(journal, 1, ["u1", "u2"]))).toEqual(["2", "4", "6"]);
      expect(read(journal, 0, ["u4"])).toEqual([]);
    });

    test("gives thousands in pages, none of them all", async () => {
      const journal = await open();
      await journal.append(texts(...upTo(5000).map(String)));

      const pages = [...(journal.since(0, [all]) ?? [])];

      expect(offsets(pages.flat())).toEqual(upTo(5000));
      expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(1000);
    });

    test("gives the turn back between two pages, also where nearly nothing is for the reader", async () => {
      const journal = await open();
      await journal.append(upTo(20_000).map(() => ({ topic: all, body: "5", key: "progress" })));
      await journal.append([{ topic: "u1", body: "found" }]);

      const pages = [...(journal.since(0, [all, "u1"]) ?? [])];

      expect(pages.flat().map(({ body }) => body)).toEqual(["5", "found"]);
    });

    test("ends a page also by the bytes of its bodies", async () => {
      const journal = await open();
      await journal.append(texts(..."abcdefghij".split("").map((letter) => letter.repeat(100_000))));

      const pages = [...(journal.since(0, [all]) ?? [])];

      expect(offsets(pages.flat())).toEqual(upTo(10));
      expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(3);
    });

    test("goes on to what was appended while it was read", async () => {
      const journal = await open();
      await journal.append(texts(...upTo(3000).map(String)));
      const pages = begin(journal, 0);
      const first = pages.next().value ?? [];

      await journal.append(texts("late"));

      const rest = [...pages].flat();
      expect(first.length + rest.length).toBe(3001);
      expect(rest.at(-1)?.body).toBe("late");
    });

    for (const offset of [3, 1e9, Number.MAX_SAFE_INTEGER, -1, 0.5, 1.5, Number.NaN, Infinity, -Infinity])
      test(`cannot prove anything of the offset ${offset}, which was never given out`, async () => {
        const journal = await open();
        await journal.append(texts("a", "b"));

        expect(journal.since(offset, [all])).toBeUndefined();
      });

    test("cannot prove anything below the horizon, and can at it", async () => {
      const journal = await open({ count: 10 });
      await journal.append(texts(...upTo(25).map(String)));

      expect(journal.since(14, [all])).toBeUndefined();
      expect(offsets(read(journal, 15))).toEqual(upTo(25).slice(15));
    });

    test("throws HorizonPassed when retention overtakes the reader between two pages", async () => {
      const journal = await open({ count: 3000 });
      await journal.append(texts(...upTo(3000).map(String)));
      const pages = begin(journal, 0);
      pages.next();

      await journal.append(texts(...upTo(3000).map(String)));

      expect(() => pages.next()).toThrow(HorizonPassed);
    });

    test("throws HorizonPassed when retention overtakes the reader before the first page", async () => {
      const journal = await open({ count: 2 });
      await journal.append(texts("a", "b"));
      const pages = begin(journal, 0);

      await journal.append(texts("c"));

      expect(() => pages.next()).toThrow(HorizonPassed);
    });
  });

  describe(`the ${name} journal: retention`, () => {
    test("keeps no more than so many bytes, the newest", async () => {
      const journal = await open({ bytes: 400_000 });

      for (const letter of "abcdef") await journal.append(texts(letter.repeat(100_000)));

      const { count, bytes } = journal.kept;
      expect(bytes).toBeLessThanOrEqual(400_000);
      expect(count).toBe(3);
      expect(bodies(read(journal, 3)).map((body) => body.slice(0, 1))).toEqual(["d", "e", "f"]);
      expect(journal.since(2, [all])).toBeUndefined();
    });

    test("keeps nothing that is older than so long", async () => {
      const clock = new Clock();
      const journal = await open({ time: 1000 }, clock);
      await journal.append(texts("old"));
      clock.advance(600);
      await journal.append(texts("young"));

      clock.advance(600);

      expect(journal.since(0, [all])).toBeUndefined();
      expect(bodies(read(journal, 1))).toEqual(["young"]);
      expect(journal.kept.count).toBe(1);
    });

    test("that took all messages away leaves the head, where a reader loses nothing", async () => {
      const clock = new Clock();
      const journal = await open({ time: 1000 }, clock);
      await journal.append(texts("a", "b"));

      clock.advance(5000);

      expect(journal.kept).toEqual({ count: 0, bytes: 0 });
      expect(journal.head).toBe(2);
      expect(journal.since(1, [all])).toBeUndefined();
      expect(read(journal, 2)).toEqual([]);
      expect(await journal.append(texts("c"))).toEqual([3]);
    });

    for (const [first, retention] of Object.entries({
      age: { time: 50, count: 1000, bytes: 1e9 },
      count: { time: 1e9, count: 5, bytes: 1e9 },
      bytes: { time: 1e9, count: 1000, bytes: 25_000 },
    }))
      test(`goes by the limit that is reached first: ${first}`, async () => {
        const clock = new Clock();
        const journal = await open(retention, clock);

        for (const body of upTo(10)) {
          clock.advance(10);
          await journal.append(texts(String(body).padEnd(4000, ".")));
        }

        expect(journal.kept.count).toBeWithin(4, 7);
        expect(journal.since(0, [all])).toBeUndefined();
      });
  });

  test(`the ${name} journal: another one has another epoch, of 8 letters and digits`, async () => {
    const epochs = [(await open()).epoch, (await open()).epoch, (await open()).epoch];

    expect(new Set(epochs).size).toBe(3);
    for (const epoch of epochs) expect(epoch).toMatch(/^[0-9a-z]{8}$/);
  });

  journalExpiry(name, open);
  journalModel(name, open);
  journalPages(name, open);
}

const all = "a";

function texts(...given: readonly string[]): Draft[] {
  return given.map((body) => ({ topic: all, body }));
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, at) => at + 1);
}

function listen(journal: Journal): readonly Message[] {
  const seen: Message[] = [];
  journal.tail((messages) => void seen.push(...messages));
  return seen;
}

/** A reader that has read nothing yet, of what the journal must be able to prove. */
function begin(journal: Journal, offset: Offset, topics: readonly string[] = [all]) {
  const pages = journal.since(offset, topics);
  if (pages === undefined) throw new Error(`expected that the journal knows what came after ${offset}`);
  return Iterator.from(pages);
}

function read(journal: Journal, offset: Offset, topics?: readonly string[]): Message[] {
  return [...begin(journal, offset, topics)].flat();
}

function offsets(messages: readonly Message[]): Offset[] {
  return messages.map(({ offset }) => offset);
}

function bodies(messages: readonly Message[]): string[] {
  return messages.map(({ body }) => String(body));
}
