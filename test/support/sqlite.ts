/**
 * Journals in SQLite files that are gone after the test, and what they log.
 */
import { afterAll, afterEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Journal, Retention } from "../../src/journal.ts";
import { openSqliteJournal } from "../../src/journal/sqlite.ts";
import type { Message } from "../../src/message.ts";
import { unbounded } from "../contracts/journal.ts";

export interface FileJournalOptions {
  /** A new file when it is not given. */
  readonly path?: string;
  readonly retention?: Partial<Retention>;
  readonly now?: () => number;
  readonly maxOnce?: number;
}

/** To be called where a file's tests are described: what is opened in a test is closed after it. */
export function fileJournals() {
  const folder = mkdtempSync(join(tmpdir(), "server-push-"));
  const opened: Journal[] = [];
  let files = 0;
  const log: string[] = [];
  afterEach(async () => {
    for (const journal of opened.splice(0)) await journal.close();
    log.length = 0;
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const write = (event: string, fields: Readonly<Record<string, unknown>> = {}) =>
    void log.push([event, ...Object.values(fields)].join(": "));
  const newPath = () => join(folder, `${files++}.db`);
  return {
    folder,
    newPath,
    /** What the journals of this test have logged: each the event, and the reason if there is one. */
    log,
    async open({ path = newPath(), retention, now, maxOnce = 1000 }: FileJournalOptions = {}) {
      const journal = await openSqliteJournal({
        path,
        retention: { ...unbounded, ...retention },
        ...(now && { now }),
        maxOnce,
        onceMs: 300_000,
        logger: { info: write, warn: write, error: write },
      });
      opened.push(journal);
      return journal;
    },
  };
}

/** What the journal gives of these topics after the offset. */
export function readBodies(journal: Journal, after: number, topics: readonly string[] = ["a"]): string[] {
  return readMessages(journal, after, topics).map(({ body }) => String(body));
}

export function readMessages(journal: Journal, after: number, topics: readonly string[] = ["a"]): Message[] {
  return [...(journal.since(after, topics) ?? [])].flat();
}
