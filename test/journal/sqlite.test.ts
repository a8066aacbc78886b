import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { rename } from "node:fs/promises";
import { queueBytes, rowBytes } from "../../src/journal/sqlite-group.ts";
import type { Draft, Message } from "../../src/message.ts";
import { Clock } from "../contracts/clock.ts";
import { journalContract } from "../contracts/journal.ts";
import { eventually } from "../support/eventually.ts";
import { fileJournals, readBodies, readMessages } from "../support/sqlite.ts";

const { open, newPath, log } = fileJournals();

journalContract("SQLite", open);

describe("the journal in a SQLite file, after a restart", () => {
  test("is the same log: its epoch, its head, its messages, and its counting go on", async () => {
    const path = newPath();
    const before = await open({ path });
    await before.append([
      { topic: "a", body: "text", event: "order", ttl: 3600 },
      { topic: "a", body: new Uint8Array([0, 255, 10]), key: "chart" },
      { topic: "u1", body: "other" },
    ]);
    const messages = readMessages(before, 0, ["a", "u1"]);
    const { epoch, head, kept } = before;
    await before.close();

    const after = await open({ path });

    expect({ epoch: after.epoch, head: after.head, kept: after.kept }).toEqual({ epoch, head, kept });
    expect(readMessages(after, 0, ["a", "u1"])).toEqual(messages);
    expect(await after.append(texts("next"))).toEqual([4]);
    expect(readBodies(after, 3)).toEqual(["next"]);
  });

  test("has everything that waited when it was closed", async () => {
    const path = newPath();
    const before = await open({ path });
    const appends = Array.from({ length: 50 }, (_, at) => before.append(texts(`${at}`)));
    await before.close();

    const after = await open({ path });

    expect((await Promise.all(appends)).flat()).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
    expect(readBodies(after, 0)).toHaveLength(50);
  });

  test("leaves out what was replaced, and keeps nothing of its content in the file", async () => {
    const path = newPath();
    const before = await open({ path });
    await before.append([{ topic: "a", body: "secret 10 %", key: "progress", event: "bar" }]);
    await before.append([{ topic: "a", body: "20 %", key: "progress" }]);
    await before.close();

    const after = await open({ path });

    expect(readBodies(after, 0)).toEqual(["20 %"]);
    using database = new Database(path);
    expect(database.query("SELECT topic, key, event, body FROM messages WHERE offset = 1").get()).toEqual({
      topic: "",
      key: null,
      event: null,
      body: "",
    });
  });

  test("takes a retention that has become smaller at once", async () => {
    const path = newPath();
    const before = await open({ path });
    await before.append(texts(..."abcdefghij"));
    await before.close();

    const after = await open({ path, retention: { count: 3 } });

    expect(after.kept.count).toBe(3);
    expect(after.since(6, ["a"])).toBeUndefined();
    expect(readBodies(after, 7)).toEqual(["h", "i", "j"]);
  });

  test("expires nothing early, and goes on in time, when the system's clock was set back meanwhile", async () => {
    const path = newPath();
    const clock = new Clock();
    const before = await open({ path, now: clock.now, retention: { time: 1000 } });
    await before.append(texts("before"));
    await before.close();
    clock.advance(-86_400_000);

    const after = await open({ path, now: clock.now, retention: { time: 1000 } });
    clock.advance(400);
    await after.append(texts("after"));

    const [first, second] = readMessages(after, 0);
    expect([first?.body, second?.body]).toEqual(["before", "after"]);
    expect((second?.time ?? 0) - (first?.time ?? 0)).toBe(400);
    clock.advance(700);
    expect(after.kept.count).toBe(1);
  });

  test("remembers what was appended with an idempotency key, and to how many it went", async () => {
    const path = newPath();
    const clock = new Clock();
    const before = await open({ path, now: clock.now });
    await before.append(texts("before the others"));
    await before.append(texts("a", "b"), { key: "first", fingerprint: "f1" });
    await before.settle("first", [3, 0]);
    clock.advance(1000);
    await before.append(texts("c"), { key: "second", fingerprint: "f2" });
    await before.close();

    const after = await open({ path, now: clock.now });

    expect([...after.remembered(5000)]).toEqual([
      { key: "first", fingerprint: "f1", first: 2, count: 2, sessions: [3, 0], ageMs: 1000 },
      { key: "second", fingerprint: "f2", first: 4, count: 1, ageMs: 0 },
    ]);
    expect([...after.remembered(999)].map(({ key }) => key)).toEqual(["second"]);
  });

  test("remembers the last use of an idempotency key that was used again", async () => {
    const path = newPath();
    const before = await open({ path });
    await before.append(texts("a"), { key: "k", fingerprint: "f1" });
    await before.settle("k", [7]);
    await before.append(texts("b"), { key: "k", fingerprint: "f2" });
    await before.close();

    const after = await open({ path });

    expect([...after.remembered(60_000)]).toMatchObject([{ key: "k", fingerprint: "f2", first: 2 }]);
    expect([...after.remembered(60_000)][0]).not.toHaveProperty("sessions");
  });

  test("counts a batch with an idempotency key as one for each hundred of its messages", async () => {
    const path = newPath();
    const before = await open({ path, maxOnce: 5 });
    const batch = texts(...Array.from({ length: 201 }, (_, at) => `${at}`));
    for (const key of ["a", "b"]) await before.append(batch, { key, fingerprint: "f" });
    const sessions = batch.map((_, at) => at);
    await before.settle("b", sessions);
    for (const key of ["c", "d"]) await before.append(texts(key), { key, fingerprint: "f" });
    await before.close();

    const after = await open({ path, maxOnce: 5 });

    expect([...after.remembered(60_000)].map(({ key, count }) => [key, count])).toEqual([
      ["b", 201],
      ["c", 1],
      ["d", 1],
    ]);
    expect([...after.remembered(60_000)][0]?.sessions).toEqual(sessions);
  });

  test("has forgotten idempotency keys over the limit, the oldest first, also in the file", async () => {
    const path = newPath();
    const before = await open({ path, maxOnce: 3 });
    for (const key of ["a", "b", "c", "d", "e"]) await before.append(texts(key), { key, fingerprint: "f" });
    await before.append(texts("one more"));
    await before.close();

    const after = await open({ path, maxOnce: 3 });

    expect([...after.remembered(60_000)].map(({ key }) => key)).toEqual(["c", "d", "e"]);
  });
});

describe("the journal in a SQLite file", () => {
  test("writes all that waits in one commit", async () => {
    const path = newPath();
    const journal = await open({ path });
    const before = await countCommits(path);

    await Promise.all(Array.from({ length: 500 }, (_, at) => journal.append(texts(`${at}`))));

    expect(journal.head).toBe(500);
    expect((await countCommits(path)) - before).toBeWithin(1, 3);
  });

  test("has nothing in its head, its tail or a replay before it is synced", async () => {
    const journal = await open();
    const seen: Message[] = [];
    journal.tail((messages) => void seen.push(...messages));
    await journal.append(texts("kept"));

    const append = journal.append(texts("under way"));

    expect([journal.head, seen.length, readBodies(journal, 0)]).toEqual([1, 1, ["kept"]]);
    await append;
    expect([journal.head, seen.length, readBodies(journal, 0)]).toEqual([2, 2, ["kept", "under way"]]);
  });

  test("reckons every message at its row, its topic, event, key and body", async () => {
    const journal = await open();

    await journal.append([
      { topic: "u1", body: "é" },
      { topic: "a", body: new Uint8Array(10), event: "order", key: "k" },
    ]);

    expect(journal.kept).toEqual({ count: 2, bytes: 2 * rowBytes + (2 + 2) + (1 + 10 + 5 + 1) });
  });

  test("goes over what has expired without reading it, and gives the turn back meanwhile", async () => {
    const journal = await open();
    const drafts = Array.from({ length: 40_000 }, () => ({ topic: "a", body: "x", ttl: 0 }));
    await journal.append([...drafts, { topic: "a", body: "kept" }]);

    const pages = [...(journal.since(0, ["a"]) ?? [])];

    expect(pages.flat().map(({ body }) => body)).toEqual(["kept"]);
    expect(pages.length).toBeWithin(2, 10);
  });

  test("cleans up the rows that retention has passed, a part at a time, without holding up an append", async () => {
    const path = newPath();
    const journal = await open({ path, retention: { count: 10 } });

    await journal.append(Array.from({ length: 20_000 }, (_, at) => ({ topic: "a", body: `${at}` })));
    await journal.append(texts("last"));

    expect(journal.kept.count).toBe(10);
    expect(countRows(path)).toBeGreaterThan(10);
    await eventually("only what is kept is in the file", async () => {
      await journal.append(texts("more"));
      return countRows(path) < 20;
    });
  });

  test("cleans up also when nothing is appended any more", async () => {
    const path = newPath();
    const clock = new Clock();
    const journal = await open({ path, now: clock.now, retention: { time: 1000 } });
    await journal.append(texts("a", "b"));

    clock.advance(2000);

    await eventually("the rows are gone", () => countRows(path) === 0);
    expect(journal.kept).toEqual({ count: 0, bytes: 0 });
  });

  test("refuses what would have to wait behind too much", async () => {
    const journal = await open();
    const body = "x".repeat(1024 * 1024);
    const appends: unknown[] = [];

    const fill = () => {
      for (let at = 0; at < 100; at++) appends.push(journal.append([{ topic: "a", body }]));
    };

    expect(fill).toThrow(
      expect.objectContaining({
        code: "unavailable",
        detail: expect.stringMatching(
          new RegExp(`^6[0-9]{7} bytes wait to be written to disk, the limit is ${queueBytes}$`),
        ),
      }),
    );
    expect(appends).toHaveLength(63);
    await Promise.all(appends);
    expect(await journal.append(texts("room again"))).toEqual([64]);
  });

  test("takes one append that is larger than all that may wait", async () => {
    const journal = await open();
    const body = "x".repeat(queueBytes + 1);

    expect(await journal.append([{ topic: "a", body }])).toEqual([1]);
    expect(readMessages(journal, 0)[0]?.body.length).toBe(body.length);
  });

  test("refuses an append after it was closed", async () => {
    const journal = await open();
    await journal.close();

    expect(() => journal.append(texts("late"))).toThrow(
      expect.objectContaining({ code: "unavailable", detail: "the journal is closed" }),
    );
  });
});

describe("a SQLite file that cannot be written", () => {
  test("because another program has it locked refuses all, says so once, and takes messages again by itself", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("before"));
    using other = new Database(path);
    other.run("BEGIN IMMEDIATE");

    const refused = await Promise.allSettled([journal.append(texts("a")), journal.append(texts("b"))]);

    const detail = "the journal cannot be written: another program has locked it (SQLITE_BUSY)";
    for (const one of refused)
      expect(one).toMatchObject({ status: "rejected", reason: { code: "unavailable", detail } });
    expect(journal.problem).toMatchObject({ code: "unavailable", detail });
    expect(() => journal.append(texts("c"))).toThrow(detail);
    expect([journal.head, readBodies(journal, 0)]).toEqual([1, ["before"]]);

    other.run("ROLLBACK");
    await eventually("it can be written again", () => journal.problem === undefined);

    expect(await journal.append(texts("after"))).toEqual([2]);
    expect(readBodies(journal, 0)).toEqual(["before", "after"]);
    expect(log).toEqual([
      "the journal cannot be written; pushes are refused until it can: another program has locked it (SQLITE_BUSY)",
      "the journal can be written again",
    ]);
  });

  test("because it was moved away takes nothing that would be gone, until it is back", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("before"));
    await rename(path, `${path}.moved`);

    const append = Promise.resolve(journal.append(texts("lost?")));

    expect(append).rejects.toMatchObject({
      code: "unavailable",
      detail: "the journal cannot be written: the file was moved or deleted",
    });
    await append.catch(() => {});
    await rename(`${path}.moved`, path);
    await eventually("it can be written again", () => journal.problem === undefined);
    expect(await journal.append(texts("after"))).toEqual([2]);
  });

  test("does not hold up the end, and what was waiting for it is refused", async () => {
    const path = newPath();
    const journal = await open({ path });
    using other = new Database(path);
    other.run("BEGIN IMMEDIATE");
    const append = Promise.resolve(journal.append(texts("a"))).catch((error: unknown) => error);

    await journal.close();

    expect(await append).toMatchObject({ code: "unavailable" });
  });

  test("does not keep an idempotent push from being answered", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("a"), { key: "k", fingerprint: "f" });
    using other = new Database(path);
    other.run("BEGIN IMMEDIATE");

    await journal.settle("k", [1]);

    expect(journal.problem).toBeDefined();
    expect(await journal.settle("k", [1])).toBeUndefined();
  });
});

function texts(...given: readonly string[]): Draft[] {
  return given.map((body) => ({ topic: "a", body }));
}

function countRows(path: string): number {
  using database = new Database(path, { readonly: true });
  return Number(database.query("SELECT count(*) FROM messages").values()[0]?.[0]);
}

/** How many commits are in the write-ahead log: the last frame of each says how large the file is after it. */
async function countCommits(path: string): Promise<number> {
  const frames = Buffer.from(await Bun.file(`${path}-wal`).arrayBuffer()).subarray(32);
  let commits = 0;
  for (let at = 0; at + 24 <= frames.length; at += 24 + 4096) if (frames.readUInt32BE(at + 4) > 0) commits++;
  return commits;
}
