/**
 * Reading a SQLite journal's file: in the thread that delivers, with a connection of its own, while the writer commits.
 *
 * Every method sees what was committed before it was called, and keeps nothing open when it returns, so that it never holds up a
 * checkpoint.
 */
import { Database, type Statement } from "bun:sqlite";
import { pageBytes, pageMessages, type Remembered } from "../journal.ts";
import { type Message, type Offset, sizeOf } from "../message.ts";
import { toHash } from "./sqlite-file.ts";

/** What of a message tells whether retention has reached it. */
export interface Place {
  /** How many bytes were appended before it. */
  readonly start: number;
  readonly time: number;
}

interface Row {
  readonly offset: Offset;
  readonly topic: string;
  readonly time: number;
  readonly ttl: number | null;
  readonly event: string | null;
  readonly key: string | null;
  readonly body: string | Uint8Array;
}

interface RememberedRow {
  readonly key: string;
  readonly fingerprint: string;
  readonly first: Offset;
  readonly count: number;
  /** As JSON. */
  readonly sessions: string | null;
  readonly time: number;
}

export class Reader {
  readonly #db: Database;
  readonly #place: Statement<Place, [Offset]>;
  /** One for each number of topics. */
  readonly #pages: Statement<Row, (string | number)[]>[] = [];

  constructor(path: string) {
    this.#db = new Database(path, { readonly: true });
    this.#db.run("PRAGMA busy_timeout = 100");
    this.#place = this.#db.query("SELECT start, time FROM messages WHERE offset = ?");
  }

  placeOf(offset: Offset): Place | undefined {
    return this.#place.get(offset) ?? undefined;
  }

  /**
   * The next messages of these topics, in order, up to a page of them.
   *
   * @returns `end` when there are no more up to `head`
   */
  read(
    topics: readonly string[],
    after: Offset,
    head: Offset,
  ): { readonly messages: readonly Message[]; readonly end: boolean } {
    const messages: Message[] = [];
    let bytes = 0;
    if (topics.length === 0) return { messages, end: true };
    const statement = (this.#pages[topics.length] ??= this.#db.query(toPageSql(topics.length)));
    for (const row of statement.iterate(after, head, ...topics.flatMap((topic) => [toHash(topic), topic]))) {
      messages.push(toMessage(row));
      bytes += sizeOf(row.body);
      if (messages.length >= pageMessages || bytes >= pageBytes) return { messages, end: false };
    }
    return { messages, end: true };
  }

  *remembered(now: number, ageMs: number): Generator<Remembered> {
    const rows = this.#db
      .query<RememberedRow, [number]>("SELECT * FROM once WHERE time >= ? ORDER BY number")
      .all(now - ageMs);
    for (const { key, fingerprint, first, count, sessions, time } of rows)
      yield {
        key,
        fingerprint,
        first,
        count,
        ageMs: now - time,
        // It was written by `settle`, as this.
        ...(sessions !== null && { sessions: JSON.parse(sessions) as number[] }),
      };
  }

  close(): void {
    this.#db.close();
  }
}

/** Of each topic the index gives its messages in order, and SQLite merges them: it reads no more than are asked for. */
function toPageSql(topics: number): string {
  const columns = "offset, topic, time, ttl, event, key, body";
  const ofTopic = (index: number) =>
    `SELECT ${columns} FROM messages INDEXED BY by_topic
     WHERE hash = ?${2 * index + 3} AND topic = ?${2 * index + 4} AND offset > ?1 AND offset <= ?2`;
  return `${Array.from({ length: topics }, (_, index) => ofTopic(index)).join(" UNION ALL ")} ORDER BY offset`;
}

function toMessage({ offset, topic, time, ttl, event, key, body }: Row): Message {
  return {
    topic,
    body,
    ...(event !== null && { event }),
    ...(key !== null && { key }),
    ...(ttl !== null && { ttl }),
    offset,
    time,
  };
}
