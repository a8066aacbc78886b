/**
 * Reading a SQLite journal's file: in the thread that delivers, with a connection of its own, while the writer commits.
 *
 * Every method sees what was committed before it was called, and keeps nothing open when it returns, so that it never holds up a
 * checkpoint.
 */
import { Database, type Statement } from "bun:sqlite";
import { pageBytes, pageMessages, type Remembered } from "../journal.ts";
import { type Message, type Offset, sizeOf } from "../message.ts";
import { fromCounts } from "./sqlite-counts.ts";
import { toHash } from "./sqlite-file.ts";

/** A page goes over no more of the log than so many messages: what has expired, or is for others, takes its time too. */
const pageRows = 16_384;

/** What of a message tells whether retention has reached it. */
export interface Place {
  /** How many bytes were appended before it. */
  readonly start: number;
  readonly time: number;
}

/** Where the oldest message stands when there is none. */
export const none: Place = { start: Number.POSITIVE_INFINITY, time: Number.POSITIVE_INFINITY };

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
  readonly sessions: number | Uint8Array | null;
  readonly time: number;
}

/** What to read, and when. */
interface Span {
  readonly after: Offset;
  /** Nothing beyond it. */
  readonly head: Offset;
  readonly now: number;
  /** What came later is given even when it has expired. */
  readonly present: Offset;
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
   * The next messages of these topics, in order, up to a page of them, without those that have expired. The page may be empty.
   *
   * @returns `position`, up to which there are no others
   */
  read(
    topics: readonly string[],
    { after, head, now, present }: Span,
  ): { readonly messages: readonly Message[]; readonly position: Offset } {
    if (topics.length === 0) return { messages: [], position: head };
    const messages: Message[] = [];
    let bytes = 0;
    const position = Math.min(head, after + pageRows);
    const statement = (this.#pages[topics.length] ??= this.#db.query(toPageSql(topics.length)));
    const names = topics.flatMap((topic) => [toHash(topic), topic]);
    for (const row of statement.iterate(after, position, now, present, ...names)) {
      messages.push(toMessage(row));
      bytes += sizeOf(row.body);
      if (messages.length >= pageMessages || bytes >= pageBytes) return { messages, position: row.offset };
    }
    return { messages, position };
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
        ...(sessions !== null && { sessions: fromCounts(sessions, count) }),
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
     WHERE hash = ?${2 * index + 5} AND topic = ?${2 * index + 6} AND offset > ?1 AND offset <= ?2
       AND (ttl IS NULL OR time + ttl * 1000 > ?3 OR offset > ?4)`;
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
