import { describe, expect, test } from "bun:test";
import { PushError } from "../src/errors.ts";
import { Idempotency, type Outcome, type Receipt, toFingerprint } from "../src/idempotency.ts";
import type { Journal } from "../src/journal.ts";
import { openMemoryJournal } from "../src/journal/memory.ts";
import { Clock } from "./contracts/clock.ts";
import { unbounded } from "./contracts/journal.ts";
import { toDrafts } from "./support/drafts.ts";
import { fileJournals, readBodies } from "./support/sqlite.ts";

const files = fileJournals();
const fiveMinutes = 300_000;

const journals = [
  {
    name: "memory",
    openJournal: async (clock: Clock): Promise<Journal> =>
      openMemoryJournal({ retention: unbounded, now: clock.now }),
  },
  { name: "SQLite", openJournal: (clock: Clock) => files.open({ now: clock.now }) },
];

interface RigOptions {
  readonly clock?: Clock;
  readonly maxKeys?: number;
}

/** A publisher of texts, each to 2 sessions, that can be held back and refused. */
function createRig(journal: Journal, { clock = new Clock(), maxKeys = 1000 }: RigOptions = {}) {
  const idempotency = new Idempotency({ journal, maxKeys, now: clock.now });
  return {
    clock,
    idempotency,
    /** @param before what has to be over first; when it fails, nothing is pushed */
    push(key: string, texts: string | readonly string[], before?: Promise<void>): Promise<Outcome> {
      const drafts = toDrafts(...[texts].flat());
      const once = { key, fingerprint: toFingerprint(drafts) };
      return idempotency.run(once, drafts.length, async () => {
        await before;
        const [first = 0] = await journal.append(drafts, once);
        return { first, sessions: new Uint32Array(drafts.length).fill(2) };
      });
    },
  };
}

const receipt = (journal: Journal, offset: number, sessions = 2): Receipt => ({
  id: `${journal.epoch}-${offset}`,
  sessions,
});

const failure = new PushError("unavailable", "not now");

/** The code that it is refused with. */
async function refusalOf(outcome: Promise<Outcome>): Promise<string> {
  try {
    await outcome;
  } catch (error) {
    if (error instanceof PushError) return error.code;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe.each(journals)("on the $name journal,", ({ openJournal }) => {
  test("a repeat gets the first answer, is told so, and pushes nothing", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);

    const first = await push("k", ["a", "b"]);
    const second = await push("k", ["a", "b"]);

    const receipts = [receipt(journal, 1), receipt(journal, 2)];
    expect(first).toEqual({ receipts, repeated: false });
    expect(second).toEqual({ receipts, repeated: true });
    expect(readBodies(journal, 0)).toEqual(["a", "b"]);
  });

  test("another key is another push, also of the same", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);

    await push("k", "a");
    const other = await push("K", "a");

    expect(other).toEqual({ receipts: [receipt(journal, 2)], repeated: false });
  });

  test("a key is remembered for five minutes, and not a millisecond longer", async () => {
    const journal = await openJournal(new Clock());
    const { push, clock, idempotency } = createRig(journal);
    await push("k", "a");

    clock.advance(fiveMinutes);
    const inTime = await push("k", "a");
    const kept = idempotency.size;
    clock.advance(1);
    const forgotten = idempotency.size;
    const late = await push("k", "a");

    expect(inTime).toEqual({ receipts: [receipt(journal, 1)], repeated: true });
    expect([kept, forgotten]).toEqual([1, 0]);
    expect(late).toEqual({ receipts: [receipt(journal, 2)], repeated: false });
  });

  test("a repeat does not make it younger", async () => {
    const journal = await openJournal(new Clock());
    const { push, clock } = createRig(journal);
    await push("k", "a");

    clock.advance(fiveMinutes - 1);
    await push("k", "a");
    clock.advance(2);

    expect((await push("k", "a")).repeated).toBe(false);
  });

  test("a key that was forgotten may be used for something else, and is remembered anew", async () => {
    const journal = await openJournal(new Clock());
    const { push, clock } = createRig(journal);
    await push("k", "a");
    clock.advance(fiveMinutes + 1);

    await push("k", "b");
    clock.advance(fiveMinutes);

    expect(await push("k", "b")).toEqual({ receipts: [receipt(journal, 2)], repeated: true });
  });

  test("over the limit the oldest keys are forgotten, and only they", async () => {
    const journal = await openJournal(new Clock());
    const { push, idempotency } = createRig(journal, { maxKeys: 3 });

    for (const key of ["a", "b", "c", "d", "e"]) await push(key, key);
    const kept = idempotency.size;
    const repeats = [];
    for (const key of ["c", "d", "e", "b"]) repeats.push((await push(key, key)).repeated);

    expect(kept).toBe(3);
    expect(repeats).toEqual([true, true, true, false]);
  });

  test("a batch counts as one key for each hundred of its messages", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal, { maxKeys: 3 });
    const batch = Array.from({ length: 201 }, (_, index) => `${index}`);

    await push("a", "a");
    await push("batch", batch);
    const repeats = [];
    for (const [key, texts] of [
      ["batch", batch],
      ["a", "a"],
      ["batch", batch],
    ] as const)
      repeats.push((await push(key, texts)).repeated);

    expect(repeats).toEqual([true, false, false]);
  });

  test("a batch that counts as more than the limit is remembered until the next one", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal, { maxKeys: 1 });
    const batch = Array.from({ length: 1000 }, (_, index) => `${index}`);

    await push("batch", batch);
    const repeat = await push("batch", batch);
    await push("a", "a");

    expect([repeat.repeated, (await push("batch", batch)).repeated]).toEqual([true, false]);
  });

  test("twenty at once push once, and all get the one answer", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);
    const { promise, resolve } = Promise.withResolvers<void>();

    const pushing = Array.from({ length: 20 }, () => push("k", "a", promise));
    resolve();
    const outcomes = await Promise.all(pushing);

    expect(outcomes.map(({ receipts }) => receipts)).toEqual(
      Array.from({ length: 20 }, () => [receipt(journal, 1)]),
    );
    expect(outcomes.map(({ repeated }) => repeated)).toEqual([false, ...Array(19).fill(true)]);
    expect(readBodies(journal, 0)).toEqual(["a"]);
  });

  test("a key that is used for something else is refused by its name, and the first answer stays", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);
    await push('order "17"', "a");

    const refusal = await push('order "17"', "b").catch((error: unknown) => error);

    expect(refusal).toBeInstanceOf(PushError);
    expect(refusal).toMatchObject({
      code: "idempotency_key_reused",
      detail: String.raw`Idempotency-Key "order \"17\"" was used within five minutes for another push, expected a new key`,
    });
    expect(await push('order "17"', "a")).toEqual({ receipts: [receipt(journal, 1)], repeated: true });
    expect(readBodies(journal, 0)).toEqual(["a"]);
  });

  test("a key is refused for something else also while the first push is under way", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = push("k", "a", promise);

    const code = await refusalOf(push("k", "b"));
    resolve();
    await first;

    expect(code).toBe("idempotency_key_reused");
    expect(readBodies(journal, 0)).toEqual(["a"]);
  });

  test("a push that failed is not remembered: the key can be used again, for anything", async () => {
    const journal = await openJournal(new Clock());
    const { push, idempotency } = createRig(journal);

    const codes = [];
    for (const text of ["a", "a", "b"]) codes.push(await refusalOf(push("k", text, Promise.reject(failure))));
    const taken = await push("k", "c");

    expect(codes).toEqual(["unavailable", "unavailable", "unavailable"]);
    expect(taken).toEqual({ receipts: [receipt(journal, 1)], repeated: false });
    expect(idempotency.size).toBe(1);
  });

  test("who repeats a push that then fails is told that it failed, and the next one pushes", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal);
    const { promise, reject } = Promise.withResolvers<void>();
    const pushing = Array.from({ length: 3 }, () => refusalOf(push("k", "a", promise)));

    reject(failure);
    const codes = await Promise.all(pushing);

    expect(codes).toEqual(["unavailable", "unavailable", "unavailable"]);
    expect((await push("k", "a")).repeated).toBe(false);
  });

  test("one that fails after its key was forgotten takes nothing from who uses the key now", async () => {
    const journal = await openJournal(new Clock());
    const { push } = createRig(journal, { maxKeys: 1 });
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const failing = refusalOf(push("k", "a", first.promise));
    await push("other", "b");
    await push("another", "c");
    const taking = push("k", "a", second.promise);

    first.reject(failure);
    await failing;
    const repeat = push("k", "a");
    second.resolve();

    expect([(await taking).repeated, (await repeat).repeated]).toEqual([false, true]);
    expect(readBodies(journal, 0)).toEqual(["b", "c", "a"]);
  });
});

describe("after a restart on a SQLite journal", () => {
  test("a repeat gets the first answer, with how many it was sent to", async () => {
    const { before, restart } = await openRestarted();
    await createRig(before).push("k", ["a", "b"]);

    const journal = await restart();
    const outcome = await createRig(journal).push("k", ["a", "b"]);

    expect(outcome).toEqual({ receipts: [receipt(before, 1), receipt(before, 2)], repeated: true });
    expect(readBodies(journal, 0)).toEqual(["a", "b"]);
  });

  test("of one that ended before it was known to how many, a repeat says 0, for each of its messages", async () => {
    const { before, restart } = await openRestarted();
    const drafts = toDrafts("a", "b");
    await before.append(drafts, { key: "k", fingerprint: toFingerprint(drafts) });

    const journal = await restart();
    const outcome = await createRig(journal).push("k", ["a", "b"]);

    expect(outcome).toEqual({ receipts: [receipt(before, 1, 0), receipt(before, 2, 0)], repeated: true });
  });

  test("a key is still refused for something else", async () => {
    const { before, restart } = await openRestarted();
    await createRig(before).push("k", "a");

    const journal = await restart();

    expect(await refusalOf(createRig(journal).push("k", "b"))).toBe("idempotency_key_reused");
  });

  test("the five minutes go on from when it was pushed", async () => {
    const { before, restart, clock } = await openRestarted();
    await createRig(before, { clock }).push("k", "a");
    clock.advance(fiveMinutes - 1000);

    const journal = await restart();
    const { push } = createRig(journal, { clock });
    clock.advance(1000);
    const inTime = await push("k", "a");
    clock.advance(1);
    const late = await push("k", "a");

    expect([inTime.repeated, late.repeated]).toEqual([true, false]);
  });

  test("what was pushed longer ago is not remembered", async () => {
    const { before, restart, clock } = await openRestarted();
    await createRig(before, { clock }).push("k", "a");
    clock.advance(fiveMinutes + 1);

    const { idempotency } = createRig(await restart(), { clock });

    expect(idempotency.size).toBe(0);
  });

  test("no more keys are remembered than now may be, the newest", async () => {
    const { before, restart, clock } = await openRestarted();
    const rig = createRig(before, { clock });
    for (const key of ["a", "b", "c", "d"]) await rig.push(key, key);

    const { push, idempotency } = createRig(await restart(), { clock, maxKeys: 2 });
    const kept = idempotency.size;

    expect(kept).toBe(2);
    expect([(await push("c", "c")).repeated, (await push("d", "d")).repeated]).toEqual([true, true]);
    expect((await push("b", "b")).repeated).toBe(false);
  });

  test("a push that failed before is as unknown as it was then", async () => {
    const { before, restart } = await openRestarted();
    await refusalOf(createRig(before).push("k", "a", Promise.reject(failure)));

    const journal = await restart();

    expect(await createRig(journal).push("k", "b")).toEqual({
      receipts: [receipt(journal, 1)],
      repeated: false,
    });
  });
});

async function openRestarted() {
  const [path, clock] = [files.newPath(), new Clock()];
  const before = await files.open({ path, now: clock.now });
  return {
    before,
    clock,
    restart: async () => {
      await before.close();
      return await files.open({ path, now: clock.now });
    },
  };
}
