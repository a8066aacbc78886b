/**
 * The worker that owns the writing to a SQLite journal's file, so that no commit, checkpoint or clean-up holds up the thread that
 * delivers. It takes one request at a time, and answers each.
 *
 *   open   → opened | unusable
 *   commit → committed | refused      all of the group is synced to disk, or none of it is there
 *   close  → closed
 */
import type { Statement } from "bun:sqlite";
import type { Once } from "../journal.ts";
import type { Body, Message, Offset } from "../message.ts";
import { explain, type JournalFile, type Log, openJournalFile, toHash } from "./sqlite-file.ts";

export type Request = { readonly kind: "open"; readonly path: string } | Group | { readonly kind: "close" };

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
  /** What was appended with an idempotency key before this time is forgotten, and over so many keys the oldest. */
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
      const file = openJournalFile(request.path);
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
  #cleaned: Offset;
  readonly #insert: Statement;
  readonly #replace: Statement;
  readonly #clean: Statement;
  readonly #move: Statement;
  readonly #insertOnce: Statement;
  readonly #settle: Statement;
  readonly #forgetOnce: Statement;

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
    this.#move = db.query("UPDATE log SET head = ?, horizon = ?, time = ?, bytes = ?");
    this.#insertOnce = db.query(
      "INSERT OR REPLACE INTO once (key, fingerprint, first, count, time) VALUES (?, ?, ?, ?, ?)",
    );
    this.#settle = db.query("UPDATE once SET sessions = ? WHERE key = ?");
    this.#forgetOnce = db.query(
      `DELETE FROM once WHERE number < (SELECT min(number) FROM once) + ?
       AND (time < ? OR number <= (SELECT max(number) FROM once) - ?)`,
    );
  }

  commit(group: Group): Offset {
    const { db, guard, log } = this.#file;
    this.#file.checkPlace();
    let cleaned = this.#cleaned;
    db.run("BEGIN IMMEDIATE");
    try {
      this.#append(group);
      cleaned = Math.min(group.log.horizon, cleaned + cleanedAtOnce + 2 * group.topics.length);
      if (cleaned > this.#cleaned) this.#clean.run(cleaned);
      const { head, horizon, time, bytes } = group.log;
      this.#move.run(head, horizon, time, bytes);
      db.run("COMMIT");
    } catch (error) {
      if (db.inTransaction) db.run("ROLLBACK");
      // What is in the write-ahead log goes to its place, so that its room can be used again: the disk may be full.
      db.run("PRAGMA wal_checkpoint");
      throw error;
    }
    this.#cleaned = cleaned;
    guard.write(log.epoch, group.log.head);
    return cleaned;
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
    for (const { key, fingerprint, first: own, count } of once)
      this.#insertOnce.run(key, fingerprint, own, count, log.time);
    for (const { key, sessions } of settled) this.#settle.run(JSON.stringify(sessions), key);
    this.#forgetOnce.run(cleanedAtOnce + 2 * once.length, onceAfter, maxOnce);
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
