/**
 * The file of the SQLite journal: its schema, how it is opened, and how it is found out that it has lost something.
 *
 *   FILE         log        one row: the epoch, the head, the horizon, and how much was ever appended
 *                messages   a row for each offset that is not cleaned up yet, without holes
 *                once       what was appended with an idempotency key
 *   FILE-wal     what was written last, until a checkpoint takes it into FILE
 *   FILE-guard   locked for as long as a server has FILE open; remembers the newest message that a publisher was told of
 *
 * A file that may have lost something takes a new epoch.
 */
import { Database, SQLiteError } from "bun:sqlite";
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  realpathSync,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { quote } from "../errors.ts";
import { createEpoch, UnusableFile } from "../journal.ts";
import type { Offset } from "../message.ts";
import { type Guard, identify, openGuard, type Witness } from "./sqlite-guard.ts";

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
     sessions ANY,
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
  /** As the guard remembers the file. */
  readonly identity: string;
  /** Why the file took a new epoch, if it did. */
  readonly forgotten?: string;
  /**
   * @throws an error when the file, or what belongs to it, is no longer where it was: what is written to it would be gone with the
   *         process, or another server could write to it too
   */
  checkPlace(): void;
}

export interface FileOptions {
  readonly path: string;
  /** After so many bytes, the write-ahead log is taken into the file. */
  readonly walBytes: number;
}

/**
 * Opens the file for writing, and makes it when it is not there; only this user may read it.
 *
 * @throws UnusableFile
 */
export function openJournalFile({ path: given, walBytes }: FileOptions): JournalFile {
  const shown = quote(given);
  const path = makeFile(resolve(given), shown);
  let guard: Guard | undefined;
  let db: Database | undefined;
  try {
    const wasEmpty = statSync(path).size === 0;
    db = new Database(path, { readwrite: true });
    const isNew = inspect(db, shown);
    guard = lockFile(path, shown);
    prepare(db, { shown, walBytes });
    syncFolder(path);
    const { log, surplus } = readLog(db, shown);
    const identity = identify(path);
    const emptied =
      isNew && !wasEmpty ? "it is empty, and was not new: its write-ahead log is missing" : undefined;
    const forgotten = findForgotten(log, guard.witness, identity) ?? surplus ?? emptied;
    const epoch = log.epoch === "" || forgotten !== undefined ? createEpoch() : log.epoch;
    // A file that is as it was is not written to, so that a server starts on a full disk too.
    if (epoch !== log.epoch) {
      db.query("UPDATE log SET epoch = ?, head = ?, time = ?, bytes = ?").run(
        epoch,
        log.head,
        log.time,
        log.bytes,
      );
      guard.write({ epoch, head: log.head, file: identity });
    }
    guard.relax();
    const checkPlace = watch({
      "the file": path,
      "its write-ahead log": `${path}-wal`,
      "its guard": `${path}-guard`,
    });
    return { db, guard, path, log: { ...log, epoch }, identity, checkPlace, ...(forgotten && { forgotten }) };
  } catch (error) {
    db?.close();
    guard?.close();
    throw error instanceof UnusableFile ? error : toUnusable(error, path, shown);
  }
}

function toUnusable(error: unknown, path: string, shown: string): UnusableFile {
  const { code = "" } = error instanceof SQLiteError ? error : {};
  const folder = dirname(path);
  // SQLite says only that it cannot write.
  const inFolder = findWhyNotWritable(folder);
  const why =
    inFolder === "EROFS"
      ? "the disk is read-only"
      : inFolder !== undefined
        ? `its folder ${quote(folder)} must be writable for this user`
        : explain(error);
  const advice = code.startsWith("SQLITE_CORRUPT") ? `; ${whenDamaged}` : "";
  return new UnusableFile(`${shown}: ${why}${advice}`, { cause: error });
}

const whenDamaged = "put a backup back, or move it away: a new one is made when there is none";

/** The system's code, when this user may not. */
function findWhyNotWritable(path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (error) {
    return String(error instanceof Error && "code" in error ? error.code : error);
  }
}

/** @returns what throws when one of these is no longer the file that it is now */
function watch(files: Readonly<Record<string, string>>): () => void {
  const places = Object.entries(files).map(([name, path]) => ({ name, path, was: statSync(path) }));
  return () => {
    for (const { name, path, was } of places) {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.ino !== was.ino || found.dev !== was.dev) throw new Error(`${name} was moved or deleted`);
    }
  };
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
  let name = shown;
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw new UnusableFile(`${shown} is a folder, expected a file`);
    // Only when it is not there: whoever opens and closes a file takes away the locks that its process has on it.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) closeSync(openSync(path, "wx", 0o600));
    const real = realpathSync(path);
    // SQLite opens what it cannot write for reading alone, and says so with the first message.
    for (const more of ["", "-wal", "-shm"]) {
      if (more !== "") name = quote(`${real}${more}`);
      if (existsSync(`${real}${more}`)) accessSync(`${real}${more}`, constants.W_OK);
    }
    // Each name would have a guard of its own.
    const { nlink } = statSync(real);
    if (nlink > 1)
      throw new UnusableFile(
        `${shown} has ${nlink} names (hard links), expected one: by another name, another server could open it too`,
      );
    return real;
  } catch (error) {
    if (error instanceof UnusableFile) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new UnusableFile(`${shown}: its folder is not there; make it first`, { cause: error });
    if (code === "EACCES" || code === "EPERM")
      throw new UnusableFile(`${name}: this user may not make, read or write it`, { cause: error });
    if (code === "EROFS") throw new UnusableFile(`${shown}: the disk is read-only`, { cause: error });
    if (code === "ENOSPC") throw new UnusableFile(`${shown}: the disk is full`, { cause: error });
    throw new UnusableFile(`${shown}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/**
 * Makes sure that the file is ours, or new. Changes nothing.
 *
 * @returns whether there is nothing in it
 */
function inspect(db: Database, shown: string): boolean {
  db.run("PRAGMA busy_timeout = 2000");
  const version = readNumber(db, "PRAGMA user_version");
  const isNew = version === 0 && readNumber(db, "SELECT count(*) FROM sqlite_schema") === 0;
  if (!isNew && readNumber(db, "PRAGMA application_id") !== applicationId)
    throw new UnusableFile(`${shown} is a SQLite file of another program, expected one of server-push`);
  if (version > migrations.length)
    throw new UnusableFile(
      `${shown} was written by a newer server-push: its schema is version ${version}, this one knows up to ${migrations.length}`,
    );
  return isNew;
}

function prepare(db: Database, { shown, walBytes }: { shown: string; walBytes: number }): void {
  const mode = db.query("PRAGMA journal_mode = WAL").values()[0]?.[0];
  if (mode !== "wal")
    throw new UnusableFile(`${shown}: its disk cannot have a write-ahead log, expected a local disk`);
  db.run("PRAGMA synchronous = FULL");
  db.run("PRAGMA fullfsync = 1");
  db.run("PRAGMA checkpoint_fullfsync = 1");
  db.run(`PRAGMA wal_autocheckpoint = ${Math.ceil(walBytes / readNumber(db, "PRAGMA page_size"))}`);
  db.run(`PRAGMA journal_size_limit = ${walBytes}`);
  const version = readNumber(db, "PRAGMA user_version");
  if (version === migrations.length) return;
  db.transaction(() => {
    db.run(`PRAGMA application_id = ${applicationId}`);
    for (const migration of migrations.slice(version)) db.run(migration);
    db.run(`PRAGMA user_version = ${migrations.length}`);
  }).immediate();
}

/** @returns `surplus` when there are messages that the log does not know of: they are taken into it */
function readLog(db: Database, shown: string): { readonly log: Log; readonly surplus?: string } {
  const log = db.query<Log, []>("SELECT epoch, head, horizon, time, bytes FROM log").get();
  const newest = db
    .query<{ offset: Offset; start: number; time: number }, []>(
      "SELECT offset, start, time FROM messages ORDER BY offset DESC LIMIT 1",
    )
    .get();
  const { offset = 0, start = 0, time = 0 } = newest ?? {};
  if (log === null || (log.horizon < log.head && offset < log.head))
    throw new UnusableFile(
      `${shown} is damaged: its newest message is ${offset}, expected ${log?.head}; ${whenDamaged}`,
    );
  if (offset <= log.head) return { log };
  const grown = { head: offset, time: Math.max(log.time, time), bytes: Math.max(log.bytes, start) };
  return {
    log: { ...log, ...grown },
    surplus: `its newest message is ${offset}, expected ${log.head}`,
  };
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

/** Why clients must be told that they may have missed something, if so. */
function findForgotten(
  { epoch, head }: Log,
  witness: Witness | undefined,
  identity: string,
): string | undefined {
  const isNew = epoch === "";
  if (witness === undefined)
    return isNew ? undefined : "its guard is missing, so it may be a copy that is not up to date";
  if (!isNew && witness.epoch !== epoch) return "it is not the file that was here before";
  if (witness.head > head)
    return `it has lost what was in it: its newest message is ${head}, and was ${witness.head}`;
  if (!isNew && witness.file !== identity)
    return "it is a copy of the file that was here before, so it may not be up to date";
  return undefined;
}

function lockFile(path: string, shown: string): Guard {
  const guard = makeFile(`${path}-guard`, quote(`${path}-guard`));
  try {
    return openGuard(guard);
  } catch (error) {
    if (error instanceof SQLiteError && error.code?.startsWith("SQLITE_BUSY"))
      throw new UnusableFile(`${shown} is in use by another server-push; each needs a file of its own`, {
        cause: error,
      });
    throw new UnusableFile(`${quote(guard)}: ${explain(error)}`, { cause: error });
  }
}
