/**
 * A SQLite journal whose file is damaged, moved or written by others while it runs.
 */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { open as openFile, rename, rm } from "node:fs/promises";
import { HorizonPassed } from "../../src/journal.ts";
import type { Draft } from "../../src/message.ts";
import { eventually } from "../support/eventually.ts";
import { fileJournals, readBodies } from "../support/sqlite.ts";

const { open, newPath, log } = fileJournals();

const unreadable =
  "the journal's file cannot be read; clients that come back are told that they may have missed some";

describe("a SQLite file of which a part cannot be read", () => {
  test("ends the replay that finds it, and proves nothing any more of what came before", async () => {
    const path = await makeDamaged();
    const journal = await open({ path });
    const { epoch, head } = journal;

    const replay = () => [...(journal.since(100, ["a"]) ?? [])];

    expect(replay).toThrow(HorizonPassed);
    expect([journal.since(100, ["a"]), journal.since(head - 1, ["a"])]).toEqual([undefined, undefined]);
    expect(readBodies(journal, head)).toEqual([]);
    expect([journal.offsetBefore(Infinity), journal.kept.count, journal.epoch]).toEqual([head, 0, epoch]);
    expect(log).toEqual([`${unreadable}: it is damaged (SQLITE_CORRUPT)`]);
  });

  test("takes new messages nevertheless, and gives them", async () => {
    const journal = await open({ path: await makeDamaged() });
    const { head } = journal;
    expect(() => [...(journal.since(0, ["a"]) ?? [])]).toThrow(HorizonPassed);

    await eventually("a message is taken after the clean-up was given up", async () => {
      if (log.length < 3) return false;
      await journal.append(texts("new"));
      return true;
    });

    expect(readBodies(journal, head)).toEqual(["new"]);
    expect(log).toEqual([
      `${unreadable}: it is damaged (SQLITE_CORRUPT)`,
      "the journal cannot be written; pushes are refused until it can: it is damaged (SQLITE_CORRUPT)",
      "the journal can be written again",
    ]);
  });

  test("leads to its head, by a duration too, when a message is missing", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("a", "b", "c"));
    alter(path, "DELETE FROM messages WHERE offset = 2");

    expect([journal.offsetBefore(60_000), journal.since(0, ["a"])]).toEqual([3, undefined]);
    expect(log).toEqual([`${unreadable}: the message 2 is missing`]);
  });
});

describe("a SQLite journal takes nothing", () => {
  for (const { part, suffix } of [
    { part: "its guard", suffix: "-guard" },
    { part: "its write-ahead log", suffix: "-wal" },
  ])
    test(`when ${part} was moved away, until it is back`, async () => {
      const path = newPath();
      const journal = await open({ path });
      await journal.append(texts("before"));
      await rename(path + suffix, `${path}.moved`);

      const append = Promise.resolve(journal.append(texts("lost?"))).catch((error: unknown) => error);

      expect(await append).toMatchObject({
        code: "unavailable",
        detail: `the journal cannot be written: ${part} was moved or deleted`,
      });
      await rename(`${path}.moved`, path + suffix);
      await eventually("it can be written again", () => journal.problem === undefined);
      expect(await journal.append(texts("after"))).toEqual([2]);
    });

  test("when another server could open the file and did, as its guard was deleted", async () => {
    const path = newPath();
    const first = await open({ path });
    await first.append(texts("a"));
    await rm(`${path}-guard`);
    const second = await open({ path });

    await Promise.resolve(first.append(texts("b"))).catch(() => {});
    await second.append(texts("c"));

    expect([first.problem?.detail, second.head]).toEqual([
      "the journal cannot be written: its guard was moved or deleted",
      2,
    ]);
    expect(readBodies(second, 0)).toEqual(["a", "c"]);
  });

  test("when its file says something else than it was told to, and changes nothing of it", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("a"));
    alter(path, "UPDATE log SET head = 2");

    const append = Promise.resolve(journal.append(texts("b"))).catch((error: unknown) => error);

    expect(await append).toMatchObject({
      code: "unavailable",
      detail:
        "the journal cannot be written: another program has written to it; the server has to be started again",
    });
    using database = new Database(path);
    expect(database.query("SELECT head FROM log").get()).toEqual({ head: 2 });
    expect(database.query("SELECT offset FROM messages").all()).toEqual([{ offset: 1 }]);
  });
});

/** A journal of 4000 messages, with holes in the middle of its file. */
async function makeDamaged(): Promise<string> {
  const path = newPath();
  const journal = await open({ path });
  await journal.append(texts(...Array.from({ length: 4000 }, (_, at) => `${at}`.padEnd(1000, "."))));
  await journal.close();
  const file = await openFile(path, "r+");
  for (let page = 60; page < 200; page++)
    await file.write(new Uint8Array(4096).fill(255), 0, 4096, page * 4096);
  await file.close();
  return path;
}

/** Runs SQL on the file, as another program would. */
function alter(path: string, sql: string): void {
  using database = new Database(path);
  database.run(sql);
}

function texts(...given: readonly string[]): Draft[] {
  return given.map((body) => ({ topic: "a", body }));
}
