/**
 * The guard beside a SQLite journal's file: the lock, and the witness.
 *
 * It is a SQLite file of its own, because SQLite's locks end with the process on every system. It is locked for as long as a server
 * has the journal open, and remembers which file that was and the newest message that a publisher was told of. So a file that has
 * lost something it had (a write-ahead log that was cut off, a backup that was put back) is told from one that has not.
 *
 * It is written without waiting for the disk, and a write that fails is made up for by the next one: a message that the log has and
 * the guard does not is no loss. A guard that cannot be read is none, and what was not guarded takes a new epoch.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { statSync, truncateSync } from "node:fs";
import type { Offset } from "../message.ts";

/** What the guard remembers. */
export interface Witness {
  readonly epoch: string;
  readonly head: Offset;
  /** Which file it was, as `identify` gives it. */
  readonly file: string;
}

/**
 * Tells a file from a copy of it: by its number and the time when it was made. Where that is not known, by its disk, whose number may be
 * another one after the machine was started again.
 */
export function identify(path: string): string {
  const { dev, ino, birthtimeNs } = statSync(path, { bigint: true });
  return birthtimeNs > 0n ? `${ino} of ${birthtimeNs}` : `${ino} on ${dev}`;
}

/** The lock stays after the transaction, until the connection ends. */
const lock = [
  "PRAGMA locking_mode = EXCLUSIVE",
  "PRAGMA journal_mode = MEMORY",
  "PRAGMA synchronous = FULL",
  "BEGIN EXCLUSIVE",
  "CREATE TABLE IF NOT EXISTS witness (epoch TEXT NOT NULL, head INTEGER NOT NULL, file TEXT NOT NULL) STRICT",
  "COMMIT",
];

export class Guard {
  /** What it remembered when it was opened. */
  readonly witness: Witness | undefined;
  readonly #db: Database;
  readonly #write;

  /** @throws SQLiteError */
  constructor(path: string) {
    this.#db = new Database(path, { readwrite: true });
    try {
      for (const statement of lock) this.#db.run(statement);
      this.witness = this.#db.query<Witness, []>("SELECT epoch, head, file FROM witness").get() ?? undefined;
      this.#write = this.#db.query(
        "INSERT OR REPLACE INTO witness (rowid, epoch, head, file) VALUES (1, ?, ?, ?)",
      );
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  write({ epoch, head, file }: Witness): void {
    this.#write.run(epoch, head, file);
  }

  /** From now on, `write` does not wait for the disk. */
  relax(): void {
    this.#db.run("PRAGMA synchronous = OFF");
  }

  close(): void {
    this.#db.close();
  }
}

/** @throws SQLiteError, `SQLITE_BUSY` when another server has it */
export function openGuard(path: string): Guard {
  try {
    return new Guard(path);
  } catch (error) {
    const { code = "" } = error instanceof SQLiteError ? error : {};
    if (!code.startsWith("SQLITE_NOTADB") && !code.startsWith("SQLITE_CORRUPT")) throw error;
    // Nobody has it locked, so it is what a power cut left.
    truncateSync(path);
    return new Guard(path);
  }
}
