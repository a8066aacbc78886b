/**
 * The file of the SQLite journal: its schema, how it is opened, and what guards it.
 *
 *   FILE         log        one row: the epoch, the head, the horizon, and how much was ever appended
 *                messages   a row for each offset that is not cleaned up yet, without holes
 *                once       what was appended with an idempotency key
 *   FILE-guard   locked for as long as a server has FILE open; remembers the newest message that a publisher was told of
 *
 * The guard tells a file that has lost something it had (a write-ahead log that was cut off, a backup that was put back)
 * from one that has not: such a file takes a new epoch.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, fsyncSync, openSync, realpathSync, statSync, truncateSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { quote } from "../errors.ts";
import { createEpoch, UnusableFile } from "../journal.ts";
import type { Offset } from "../message.ts";

/** Marks a SQLite file as ours: "push". */
const applicationId = 0x70757368;

/**
 * Each takes the file from the version of its index to the next. What was released is never changed: a new version is one more.
 *
 * The index by topic has a number of 32 bits for the topic, so that its entries are small; rows are found by number and topic. A
 * message that was replaced loses its content and leaves the indexes, but keeps its row: so rows have no holes, and what is
 * older than a time, or beyond a number of bytes, is found in a few steps.
 */
const migrations: readonly string[] = [
  `CREATE TABLE log (
     epoch TEXT NOT NULL,
     head INTEGER NOT NULL,
     horizon INTEGER NOT NULL,
     time INTEGER NOT NULL,
     bytes INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE messages (
     offset INTEGER PRIMARY KEY,
     hash INTEGER,
     topic TEXT NOT NULL,
     start INTEGER NOT NULL,
     time INTEGER NOT NULL,
     ttl INTEGER,
     event TEXT,
     key TEXT,
     body ANY NOT NULL
   ) STRICT;
   CREATE INDEX by_topic ON messages (hash) WHERE hash IS NOT NULL;
   CREATE INDEX by_key ON messages (hash, key) WHERE key IS NOT NULL;
   CREATE TABLE once (
     number INTEGER PRIMARY KEY,
     key TEXT NOT NULL UNIQUE,
     fingerprint TEXT NOT NULL,
     first INTEGER NOT NULL,
     count INTEGER NOT NULL,
     sessions TEXT,
     time INTEGER NOT NULL
   ) STRICT;
   INSERT INTO log VALUES ('', 0, 0, 0, 0);`,
];

/** The row of the table `log`. */
export interface Log {
  readonly epoch: string;
  readonly head: Offset;
  /** Retention has passed this, and all before. */
  readonly horizon: Offset;
  /** When the newest message came. */
  readonly time: number;
  /** What all messages that were ever appended are reckoned at. */
  readonly bytes: number;
}

export interface JournalFile {
  readonly db: Database;
  readonly guard: Guard;
  /** The file itself, whatever links lead to it. */
  readonly path: string;
  readonly log: Log;
  /** Why the file took a new epoch, if it did. */
  readonly forgotten?: string;
  /** @throws an error when the file is no longer where it was: what is written to it would be gone with the process */
  checkPlace(): void;
}

/**
 * Opens the file for writing, and makes it when it is not there; only this user may read it.
 *
 * @throws UnusableFile
 */
export function openJournalFile(given: string): JournalFile {
  const shown = quote(given);
  const path = makeFile(resolve(given), shown);
  let guard: Guard | undefined;
  let db: Database | undefined;
  try {
    db = new Database(path, { readwrite: true });
    inspect(db, shown);
    guard = openGuard(path, shown);
    prepare(db, shown);
    syncFolder(path);
    const log = readLog(db, shown);
    const forgotten = log.epoch === "" ? undefined : findForgotten(log, guard.read());
    const epoch = log.epoch === "" || forgotten !== undefined ? createEpoch() : log.epoch;
    db.query("UPDATE log SET epoch = ?").run(epoch);
    guard.write(epoch, log.head);
    guard.relax();
    const place = statSync(path);
    const checkPlace = () => {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.ino !== place.ino || found.dev !== place.dev)
        throw new Error("the file was moved or deleted");
    };
    return { db, guard, path, log: { ...log, epoch }, checkPlace, ...(forgotten && { forgotten }) };
  } catch (error) {
    db?.close();
    guard?.close();
    throw error instanceof UnusableFile ? error : new UnusableFile(`${shown}: ${explain(error)}`);
  }
}

/** What went wrong with the file, in words for whoever pushes: they name no path. */
export function explain(error: unknown): string {
  if (!(error instanceof SQLiteError)) return error instanceof Error ? error.message : String(error);
  const { code = "", message } = error;
  const [, words] = causes.find(([start]) => code.startsWith(start)) ?? [];
  return words === undefined ? `${message} (${code})` : `${words} (${code})`;
}

const causes: readonly (readonly [code: string, words: string])[] = [
  ["SQLITE_FULL", "the disk is full"],
  ["SQLITE_READONLY", "it cannot be written"],
  ["SQLITE_CANTOPEN", "it cannot be opened for writing"],
  ["SQLITE_PERM", "it may not be written"],
  ["SQLITE_BUSY", "another program has locked it"],
  ["SQLITE_LOCKED", "another program has locked it"],
  ["SQLITE_IOERR", "the disk reports an error"],
  ["SQLITE_CORRUPT", "it is damaged"],
  ["SQLITE_NOTADB", "it is not a SQLite file"],
];

/** The number that a topic has in the indexes: another topic may have it too. */
export function toHash(topic: string): number {
  return Bun.hash.xxHash32(topic) | 0;
}

function makeFile(path: string, shown: string): string {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw new UnusableFile(`${shown} is a folder, expected a file`);
    // Only when it is not there: whoever opens and closes a file takes away the locks that its process has on it.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) closeSync(openSync(path, "wx", 0o600));
    return realpathSync(path);
  } catch (error) {
    if (error instanceof UnusableFile) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new UnusableFile(`${shown}: its folder is not there; make it first`, { cause: error });
    if (code === "EACCES" || code === "EPERM")
      throw new UnusableFile(`${shown}: this user may not make or read it`, { cause: error });
    if (code === "EROFS") throw new UnusableFile(`${shown}: the disk is read-only`, { cause: error });
    if (code === "ENOSPC") throw new UnusableFile(`${shown}: the disk is full`, { cause: error });
    throw new UnusableFile(`${shown}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Whether the file is ours, or new. Changes nothing. */
function inspect(db: Database, shown: string): void {
  db.run("PRAGMA busy_timeout = 2000");
  const version = readNumber(db, "PRAGMA user_version");
  const isNew = version === 0 && readNumber(db, "SELECT count(*) FROM sqlite_schema") === 0;
  if (!isNew && readNumber(db, "PRAGMA application_id") !== applicationId)
    throw new UnusableFile(`${shown} is a SQLite file of another program, expected one of server-push`);
  if (version > migrations.length)
    throw new UnusableFile(
      `${shown} was written by a newer server-push: its schema is version ${version}, this one knows up to ${migrations.length}`,
    );
}

function prepare(db: Database, shown: string): void {
  const mode = db.query("PRAGMA journal_mode = WAL").values()[0]?.[0];
  if (mode !== "wal")
    throw new UnusableFile(`${shown}: its disk cannot have a write-ahead log, expected a local disk`);
  db.run("PRAGMA synchronous = FULL");
  db.run("PRAGMA fullfsync = 1");
  db.run("PRAGMA checkpoint_fullfsync = 1");
  db.run(`PRAGMA journal_size_limit = ${64 * 1024 * 1024}`);
  db.transaction(() => {
    db.run(`PRAGMA application_id = ${applicationId}`);
    for (const migration of migrations.slice(readNumber(db, "PRAGMA user_version"))) db.run(migration);
    db.run(`PRAGMA user_version = ${migrations.length}`);
  }).immediate();
}

function readLog(db: Database, shown: string): Log {
  const log = db.query<Log, []>("SELECT epoch, head, horizon, time, bytes FROM log").get();
  const last = readNumber(db, "SELECT coalesce(max(offset), 0) FROM messages");
  if (log === null || (log.horizon < log.head && last !== log.head))
    throw new UnusableFile(`${shown} is damaged: the newest message is ${last}, expected ${log?.head}`);
  return log;
}

function readNumber(db: Database, sql: string): number {
  return Number(db.query(sql).values()[0]?.[0]);
}

/** A file that was just made is there after a power cut only when its folder was written too. */
function syncFolder(path: string): void {
  try {
    const folder = openSync(dirname(path), "r");
    fsyncSync(folder);
    closeSync(folder);
  } catch {
    // Not every system can; those that cannot do it by themselves.
  }
}

/** What a publisher was told of, by the guard. */
interface Witness {
  readonly epoch: string;
  readonly head: Offset;
}

function findForgotten({ epoch, head }: Log, witness: Witness | undefined): string | undefined {
  if (witness === undefined)
    return head === 0 ? undefined : "its guard is missing, so it may be a copy that is not up to date";
  if (witness.epoch !== epoch) return "it is not the file that was here before";
  if (witness.head > head)
    return `it has lost what was in it: its newest message is ${head}, and was ${witness.head}`;
  return undefined;
}

/** The lock stays after the transaction, until the connection ends. */
const lock = [
  "PRAGMA locking_mode = EXCLUSIVE",
  "PRAGMA journal_mode = MEMORY",
  "PRAGMA synchronous = FULL",
  "BEGIN EXCLUSIVE",
  "CREATE TABLE IF NOT EXISTS guard (epoch TEXT NOT NULL, head INTEGER NOT NULL) STRICT",
  "COMMIT",
];

/**
 * The lock and the witness: a SQLite file of one page, because SQLite's locks end with the process on every system. It is written
 * without waiting for the disk, as it need not survive a power cut: a message that the log has and the guard does not is no loss.
 */
export class Guard {
  readonly #db: Database;
  readonly #write;

  constructor(path: string) {
    this.#db = new Database(path, { readwrite: true });
    try {
      for (const statement of lock) this.#db.run(statement);
      this.#write = this.#db.query("INSERT OR REPLACE INTO guard (rowid, epoch, head) VALUES (1, ?, ?)");
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  read(): Witness | undefined {
    return this.#db.query<Witness, []>("SELECT epoch, head FROM guard").get() ?? undefined;
  }

  write(epoch: string, head: Offset): void {
    this.#write.run(epoch, head);
  }

  /** From now on, `write` does not wait for the disk. */
  relax(): void {
    this.#db.run("PRAGMA synchronous = OFF");
  }

  close(): void {
    this.#db.close();
  }
}

function openGuard(path: string, shown: string): Guard {
  const guard = makeFile(`${path}-guard`, quote(`${path}-guard`));
  try {
    return new Guard(guard);
  } catch (error) {
    const code = error instanceof SQLiteError ? (error.code ?? "") : "";
    if (code.startsWith("SQLITE_BUSY"))
      throw new UnusableFile(`${shown} is in use by another server-push; each needs a file of its own`, {
        cause: error,
      });
    // Nobody has it locked, so it is what a power cut left.
    if (code.startsWith("SQLITE_NOTADB") || code.startsWith("SQLITE_CORRUPT")) {
      truncateSync(guard);
      return new Guard(guard);
    }
    throw new UnusableFile(`${quote(guard)}: ${explain(error)}`, { cause: error });
  }
}
