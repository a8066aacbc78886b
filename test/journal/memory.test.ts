import { afterEach, describe, expect, setSystemTime, test } from "bun:test";
import fc from "fast-check";
import { createEpoch, HorizonPassed } from "../../src/journal.ts";
import { keyBytes, openMemoryJournal, slotBytes, topicBytes } from "../../src/journal/memory.ts";
import type { Draft, Message } from "../../src/message.ts";
import { Clock } from "../contracts/clock.ts";
import { journalContract, unbounded } from "../contracts/journal.ts";

journalContract("memory", openMemoryJournal);

describe("the journal in memory", () => {
  afterEach(() => void setSystemTime());

  test("reckons every message at its event, key and body in bytes and its slot, and every topic and key once", async () => {
    const journal = openMemoryJournal({ retention: unbounded });

    await journal.append([
      { topic, body: "é" },
      { topic, body: new Uint8Array(10) },
      { topic, body: "a", event: "order" },
      { topic, body: "b", key: "bar" },
      { topic, body: "c", key: "bar" },
    ]);

    const parts = 2 + 10 + 6 + 4 + 4;
    const bytes = 5 * slotBytes + topicBytes + 2 * topic.length + keyBytes + 2 * 3 + parts;
    expect(journal.kept).toEqual({ count: 5, bytes });
  });

  test("gives back the bytes of what goes", async () => {
    const clock = new Clock();
    const journal = openMemoryJournal({ retention: { ...unbounded, time: 1000 }, now: clock.now });
    await journal.append([{ topic, body: "a".repeat(100) }]);
    clock.advance(600);
    await journal.append([{ topic, body: "b".repeat(7) }]);

    clock.advance(600);

    expect(journal.kept).toEqual({ count: 1, bytes: one + 7 });
  });

  test("keeps a message that is exactly as large as all that may be kept, and none that is larger", async () => {
    const journal = openMemoryJournal({ retention: { ...unbounded, bytes: one + 10 } });
    await journal.append([{ topic, body: "a".repeat(10) }]);
    const exact = journal.kept;

    await journal.append([{ topic, body: "a".repeat(11) }]);

    expect(exact).toEqual({ count: 1, bytes: one + 10 });
    expect(journal.kept).toEqual({ count: 0, bytes: 0 });
  });

  test("hands over a message that is too large to be kept", async () => {
    const journal = openMemoryJournal({ retention: { ...unbounded, bytes: 1 } });
    const seen: Message[] = [];
    journal.tail((messages) => void seen.push(...messages));

    await journal.append([{ topic, body: "large" }]);

    expect(seen.map(({ body }) => body)).toEqual(["large"]);
    expect(journal.kept.count).toBe(0);
  });

  test("keeps a message until it is older than the limit", async () => {
    const clock = new Clock();
    const journal = openMemoryJournal({ retention: { ...unbounded, time: 1000 }, now: clock.now });
    await journal.append([{ topic, body: "a" }]);

    clock.advance(1000);
    const exactlySoOld = journal.kept.count;
    clock.advance(1);

    expect(exactlySoOld).toBe(1);
    expect(journal.kept.count).toBe(0);
  });

  test("keeps thousands of messages in order, however they came", async () => {
    const journal = openMemoryJournal({ retention: unbounded });

    await journal.append(drafts(1, 5000));
    for (const draft of drafts(5001, 9000)) await journal.append([draft]);

    expect(bodiesSince(0)).toEqual(drafts(1, 9000).map(({ body }) => body));
    expect(journal.kept.count).toBe(9000);

    function bodiesSince(offset: number) {
      return [...(journal.since(offset, [topic]) ?? [])].flat().map(({ body }) => body);
    }
  });

  test("keeps the newest in order, over any number of turns of its ring and however it has grown", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 12 });
    const count = fc.constantFrom(1, 2, 1000, 1023, 1024, 1025, 2048, 3000);
    await fc.assert(
      fc.asyncProperty(count, sizes, async (limit, batches) => {
        const journal = openMemoryJournal({ retention: { ...unbounded, count: limit } });
        for (const size of batches) {
          await journal.append(drafts(journal.head + 1, journal.head + size));
          const horizon = Math.max(0, journal.head - limit);
          const offsets = [...(journal.since(horizon, [topic]) ?? [])].flat().map(({ offset }) => offset);

          expect(offsets).toEqual(drafts(horizon + 1, journal.head).map(({ body }) => Number(body)));
        }
      }),
      { numRuns: 30 },
    );
  });

  test("tells a reader that was overtaken, also when newer messages are in the places of those it wants", async () => {
    const journal = openMemoryJournal({ retention: { ...unbounded, count: 500 } });
    await journal.append(drafts(1, 500));
    const pages = Iterator.from(journal.since(0, [topic]) ?? []);
    pages.next();

    for (const draft of drafts(501, 2600)) await journal.append([draft]);

    expect(() => pages.next()).toThrow(HorizonPassed);
  });

  test("forgets nothing when the system's clock is set forward", async () => {
    const journal = openMemoryJournal({ retention: { ...unbounded, time: 60_000 } });
    await journal.append([{ topic, body: "a" }]);

    setSystemTime(Date.now() + 366 * 86_400_000);

    expect(journal.kept.count).toBe(1);
  });

  test("gives a message the time of day", async () => {
    const journal = openMemoryJournal({ retention: unbounded });
    const before = Math.floor(performance.timeOrigin + performance.now());
    await journal.append([{ topic, body: "a" }]);
    const after = performance.timeOrigin + performance.now();

    const [message] = [...(journal.since(0, [topic]) ?? [])].flat();

    expect(message?.time).toBeGreaterThanOrEqual(before);
    expect(message?.time).toBeLessThanOrEqual(after);
  });

  test("takes nothing after it was closed", async () => {
    const journal = openMemoryJournal({ retention: unbounded });
    let handedOver = 0;
    journal.tail((messages) => (handedOver += messages.length));

    await journal.close();

    expect(() => journal.append([{ topic, body: "a" }])).toThrow(
      expect.objectContaining({ code: "unavailable" }),
    );
    expect([handedOver, journal.head]).toEqual([0, 0]);
  });

  test("gives back large bodies, text and bytes, whatever slabs they came to lie in, with what is left of each retention", async () => {
    const bodies = fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 1_500_000 }), text: fc.boolean(), event: fc.boolean() }),
      { minLength: 1, maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(bodies, fc.integer({ min: 1, max: 8_000_000 }), async (wanted, bytes) => {
        const journal = openMemoryJournal({ retention: { ...unbounded, bytes } });
        const sent = wanted.map(({ size, text, event }, at): Draft => {
          const body = text ? "é".repeat(size / 2 + 1) : new Uint8Array(size).fill(at + 1);
          return event ? { topic, body, event: `event ${at}` } : { topic, body };
        });
        for (const draft of sent) await journal.append([draft]);

        const { count, bytes: kept } = journal.kept;
        const found = [...(journal.since(journal.head - count, [topic]) ?? [])].flat();

        expect(kept).toBeLessThanOrEqual(bytes);
        const expected = count === 0 ? [] : sent.slice(-count);
        expect(found.map(({ body }) => Bun.hash(body))).toEqual(expected.map(({ body }) => Bun.hash(body)));
        expect(found.map(({ body }) => typeof body)).toEqual(expected.map(({ body }) => typeof body));
        expect(found.map(({ event }) => event)).toEqual(expected.map(({ event }) => event));
      }),
      { numRuns: 60 },
    );
  });

  test("a page of bytes that is held on to stays as it was when its slab has gone", async () => {
    const journal = openMemoryJournal({ retention: { ...unbounded, count: 1 } });
    const body = new Uint8Array(900_000).fill(7);
    await journal.append([{ topic, body }]);
    const [page = []] = [...(journal.since(0, [topic]) ?? [])];

    for (let count = 0; count < 5; count++)
      await journal.append([{ topic, body: new Uint8Array(900_000).fill(9) }]);

    expect(page[0]?.body).toEqual(body);
  });
});

test("an epoch is 8 letters and digits, each of them in use, and is another one each time", () => {
  const epochs = Array.from({ length: 2000 }, createEpoch);

  for (const epoch of epochs) expect(epoch).toMatch(/^[0-9a-z]{8}$/);
  expect(new Set(epochs).size).toBe(2000);
  expect(new Set(epochs.join("")).size).toBe(36);
});

const topic = "a";

/** What a message without a body is reckoned at, alone in its topic. */
const one = slotBytes + topicBytes + 2 * topic.length;

/** Messages whose bodies are their offsets. */
function drafts(first: number, last: number): Draft[] {
  return Array.from({ length: last - first + 1 }, (_, at) => ({ topic, body: String(first + at) }));
}
