/**
 * The worker that owns the writing to a SQLite journal's file, so that no commit, checkpoint or clean-up holds up the thread that
 * delivers. It takes one request at a time, and answers each.
 *
 *   open   → opened | unusable
 *   commit → committed | refused      all of the group is synced to disk, or none of it is there
 *   close  → closed
 *
 * What is in the file is the truth: a commit that failed is looked up there, and one that finds another log than it expected writes
 * nothing.
 */
import { SQLiteError, type Statement } from "bun:sqlite";
import { statfsSync } from "node:fs";
import { messagesPerKey } from "../idempotency.ts";
import type { Once } from "../journal.ts";
import { type Body, type Message, type Offset, sizeOf } from "../message.ts";
import { toCounts } from "./sqlite-counts.ts";
import {
  explain,
  type FileOptions,
  type JournalFile,
  type Log,
  openJournalFile,
  toHash,
} from "./sqlite-file.ts";

export type Request = ({ readonly kind: "open" } & FileOptions) | Group | { readonly kind: "close" };

/** What shares one commit. Of the messages, one array for each column: that crosses to the worker several times as fast as objects. */
export interface Group {
  readonly kind: "commit";
  /** Where the log stands after it. */
  readonly log: Omit<Log, "epoch">;
  readonly topics: readonly string[];
  readonly bodies: readonly Body[];
  /** How many bytes were appended before each. */
  readonly starts: readonly number[];
  /** Of the messages that have any, by their index. */
  readonly options: ReadonlyMap<number, Options>;
  readonly once: readonly (Once & { readonly first: Offset; readonly count: number })[];
  readonly settled: readonly { readonly key: string; readonly sessions: readonly number[] }[];
  /** What was appended with an idempotency key before this time is forgotten, and over so many keys (`messagesPerKey`) the oldest. */
  readonly onceAfter: number;
  readonly maxOnce: number;
}

export type Options = Pick<Message, "ttl" | "event" | "key">;

export type Answer =
  | {
      readonly kind: "opened";
      readonly path: string;
      readonly log: Log;
      readonly forgotten?: string;
    }
  | { readonly kind: "unusable"; readonly reason: string }
  /** @param cleaned up to which offset no row is left */
  | { readonly kind: "committed"; readonly cleaned: Offset }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "closed" };

/** How many rows beyond the horizon go with every commit, and twice as many as have come: so it always catches up. */
const cleanedAtOnce = 500;

/**
 * After a disk was full, so much must be free beside what the refused group needed, so that the next pushes are not refused again. Of a
 * group, no more than so much is asked for: a single large one must not keep out the small ones for ever.
 */
const roomBytes = 1024 * 1024;
const groupRoomBytes = 4 * 1024 * 1024;

declare const self: Worker;

let writer: Writer | undefined;

self.onmessage = ({ data }: MessageEvent<Request>) => {
  self.postMessage(answer(data));
  // A worker that nothing can reach ends by itself.
  if (data.kind === "close") self.onmessage = null;
};

function answer(request: Request): Answer {
  if (request.kind === "open") {
    try {
      const file = openJournalFile(request);
      writer = new Writer(file);
      const { path, log, forgotten } = file;
      return { kind: "opened", path, log, ...(forgotten && { forgotten }) };
    } catch (error) {
      return { kind: "unusable", reason: error instanceof Error ? error.message : String(error) };
    }
  }
  if (request.kind === "close") {
    writer?.close();
    return { kind: "closed" };
  }
  try {
    if (writer === undefined) throw new TypeError("expected to be opened first");
    return { kind: "committed", cleaned: writer.commit(request) };
  } catch (error) {
    return { kind: "refused", reason: explain(error) };
  }
}

class Writer {
  readonly #file: JournalFile;
  /** Up to which offset no row is left; without end when nothing more can be cleaned up. */
  #cleaned: Offset;
  /** The disk was full, and has been since: why, and how many bytes must be free. */
  #full: { readonly error: SQLiteError; readonly bytes: number } | undefined;
  readonly #insert: Statement;
  readonly #replace: Statement;
  readonly #clean: Statement;
  readonly #move: Statement;
  readonly #insertOnce: Statement;
  readonly #settle: Statement;
  readonly #forgetOnce: Statement;
  readonly #find: Statement;

  constructor(file: JournalFile) {
    this.#file = file;
    const { db, log } = file;
    const first = db.query<{ first: Offset | null }, []>("SELECT min(offset) AS first FROM messages").get();
    this.#cleaned = (first?.first ?? log.head + 1) - 1;
    this.#insert = db.query("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    this.#replace = db.query(
      `UPDATE messages SET hash = NULL, topic = '', ttl = NULL, event = NULL, key = NULL, body = ''
       WHERE hash = ? AND key = ? AND topic = ?`,
    );
    this.#clean = db.query("DELETE FROM messages WHERE offset <= ?");
    this.#move = db.query(
      "UPDATE log SET head = ?, horizon = ?, time = ?, bytes = ? WHERE head = ? AND epoch = ?",
    );
    // Its number is the weight of all that came up to it, so that a weight is found as fast as a number of rows.
    this.#insertOnce = db.query(
      `INSERT OR REPLACE INTO once (number, key, fingerprint, first, count, time)
       VALUES ((SELECT coalesce(max(number), 0) FROM once) + ?, ?, ?, ?, ?, ?)`,
    );
    this.#settle = db.query("UPDATE once SET sessions = ? WHERE key = ?");
    this.#forgetOnce = db.query(
      `DELETE FROM once WHERE number < (SELECT min(number) FROM once) + ?1 AND (time < ?2 OR
         number < (SELECT max(number) FROM once) AND
         number - (count + ${messagesPerKey - 1}) / ${messagesPerKey} < (SELECT max(number) FROM once) - ?3)`,
    );
    this.#find = db.query("SELECT 1 FROM log WHERE epoch = ? AND head = ? AND time = ? AND bytes = ?");
  }

  commit(group: Group): Offset {
    this.#file.checkPlace();
    const { db, guard, log, identity } = this.#file;
    const { head, horizon } = group.log;
    const cleaned = Math.max(
      this.#cleaned,
      Math.min(horizon, this.#cleaned + cleanedAtOnce + 2 * group.topics.length),
    );
    db.run("BEGIN IMMEDIATE");
    let isWritten = false;
    try {
      this.#write(group, cleaned);
      isWritten = true;
      db.run("COMMIT");
    } catch (error) {
      if (!this.#undo(group, isWritten)) {
        this.#note(error, group);
        throw error;
      }
    }
    this.#cleaned = cleaned;
    try {
      guard.write({ epoch: log.epoch, head, file: identity });
    } catch {
      // The next commit makes up for it.
    }
    this.#expectRoom(group);
    return cleaned;
  }

  #write(group: Group, cleaned: Offset): void {
    const { head, horizon, time, bytes } = group.log;
    const before = head - group.topics.length;
    const { changes } = this.#move.run(head, horizon, time, bytes, before, this.#file.log.epoch);
    if (changes !== 1)
      throw new Error("another program has written to it; the server has to be started again");
    this.#append(group);
    if (cleaned > this.#cleaned) this.#clean.run(cleaned);
  }

  /**
   * After a failed sync, the group may stand in the write-ahead log nevertheless, and would come back after a crash. One more commit
   * overwrites it there.
   *
   * @param isWritten whether it was the commit itself that failed
   * @returns whether the group is in the file after all
   */
  #undo({ log }: Group, isWritten: boolean): boolean {
    const { db } = this.#file;
    try {
      if (db.inTransaction) db.run("ROLLBACK");
      if (isWritten && this.#isInFile(log)) return true;
      // It has to change something: SQLite does not write what is as it was.
      db.run("UPDATE log SET time = time + 1");
    } catch {
      // So it does with the next commit.
    }
    try {
      // What is in the write-ahead log goes to its place, so that its room can be used again: the disk may be full.
      db.run("PRAGMA wal_checkpoint");
    } catch {
      // So it does when there is room.
    }
    return false;
  }

  #isInFile({ head, time, bytes }: Group["log"]): boolean {
    return this.#find.get(this.#file.log.epoch, head, time, bytes) !== null;
  }

  #note(error: unknown, { bodies }: Group): void {
    if (!(error instanceof SQLiteError)) return;
    // What is damaged cannot be cleaned up, but that need not keep new messages out.
    if (error.code?.startsWith("SQLITE_CORRUPT")) this.#cleaned = Number.POSITIVE_INFINITY;
    if (error.code !== "SQLITE_FULL") return;
    const bytes = bodies.reduce((sum, body) => sum + sizeOf(body), 0);
    const needed = roomBytes + Math.min(groupRoomBytes, bytes);
    this.#full = { error, bytes: Math.max(needed, this.#full?.bytes ?? 0) };
  }

  /**
   * An empty group nearly always fits, but says nothing of the pushes that come next: they would be refused again.
   *
   * @throws the error of when the disk was full, when it is full still and the group was empty, so that nothing was committed
   */
  #expectRoom({ topics, settled }: Group): void {
    if (this.#full === undefined || topics.length > 0 || settled.length > 0) return;
    // The room of the write-ahead log is the disk's again.
    this.#file.db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    if (freeBytes(this.#file.path) < this.#full.bytes) throw this.#full.error;
    this.#full = undefined;
  }

  #append({ log, topics, bodies, starts, options, once, settled, onceAfter, maxOnce }: Group): void {
    const first = log.head - topics.length + 1;
    for (const [index, topic] of topics.entries()) {
      const hash = toHash(topic);
      const { ttl = null, event = null, key = null } = options.get(index) ?? {};
      if (key !== null) this.#replace.run(hash, key, topic);
      this.#insert.run(
        first + index,
        hash,
        topic,
        starts[index] ?? 0,
        log.time,
        ttl,
        event,
        key,
        bodies[index] ?? "",
      );
    }
    let weight = 0;
    for (const { key, fingerprint, first: own, count } of once) {
      const ownWeight = Math.ceil(count / messagesPerKey);
      weight += ownWeight;
      this.#insertOnce.run(ownWeight, key, fingerprint, own, count, log.time);
    }
    for (const { key, sessions } of settled) this.#settle.run(toCounts(sessions), key);
    this.#forgetOnce.run(cleanedAtOnce + 2 * weight, onceAfter, maxOnce);
  }

  close(): void {
    const { db, guard } = this.#file;
    try {
      db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // It is done at the next start.
    }
    db.close();
    guard.close();
  }
}

/** Without limit where the system cannot say. */
function freeBytes(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
