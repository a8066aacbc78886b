/**
 * The appends that wait for the writer of a SQLite journal, and a group of them as it takes it: in columns, and with its offsets.
 */
import { PushError } from "../errors.ts";
import type { Once } from "../journal.ts";
import { type Draft, type Message, type Offset, sizeOf, toMessage } from "../message.ts";
import type { Group, Options } from "./sqlite-writer.ts";

/** What is never split over two groups. */
export interface Append {
  readonly drafts: readonly Draft[];
  readonly once: Once | undefined;
}

/** What a message is reckoned at beside its topic, event, key and body: its row, and its places in the indexes. */
export const rowBytes = 64;

/** A group ends after so many messages or bytes, with an append that is never split: what was asked first is not kept waiting. */
const groupMessages = 4096;
const groupBytes = 16 * 1024 * 1024;
/** What may wait to be written. */
export const queueBytes = 64 * 1024 * 1024;

export interface Waiting extends Append {
  readonly bytes: number;
  resolve(offsets: readonly Offset[]): void;
  reject(error: PushError): void;
}

export class Queue {
  #appends: Waiting[] = [];
  #bytes = 0;

  get length(): number {
    return this.#appends.length;
  }

  /**
   * @returns how many bytes these are
   * @throws PushError `unavailable` when they would have to wait behind too much
   */
  weigh(drafts: readonly Draft[]): number {
    const bytes = drafts.reduce((sum, draft) => sum + toSize(draft), 0);
    if (this.length > 0 && this.#bytes + bytes > queueBytes)
      throw new PushError(
        "unavailable",
        `${this.#bytes} bytes wait to be written to disk, the limit is ${queueBytes}`,
      );
    return bytes;
  }

  push(append: Waiting): void {
    this.#appends.push(append);
    this.#bytes += append.bytes;
  }

  takeGroup(): readonly Waiting[] {
    let [count, messages, bytes] = [0, 0, 0];
    for (const append of this.#appends) {
      messages += append.drafts.length;
      bytes += append.bytes;
      if (count > 0 && (messages > groupMessages || bytes > groupBytes)) break;
      this.#bytes -= append.bytes;
      count++;
    }
    return this.#appends.splice(0, count);
  }

  takeAll(): readonly Waiting[] {
    this.#bytes = 0;
    return this.#appends.splice(0);
  }
}

/** What a message is reckoned at. */
function toSize({ topic, body, event = "", key = "" }: Draft): number {
  return rowBytes + sizeOf(topic) + sizeOf(body) + sizeOf(event) + sizeOf(key);
}

/**
 * @param before where the log stands, at the time of the group
 * @returns where it stands after it
 */
export function toGroup(appends: readonly Append[], before: Group["log"]) {
  const log = { ...before };
  const topics: string[] = [];
  const bodies: Draft["body"][] = [];
  const starts: number[] = [];
  const options = new Map<number, Options>();
  const once: (Once & { first: Offset; count: number })[] = [];
  const messages: Message[] = [];
  for (const { drafts, once: own } of appends) {
    if (own !== undefined) once.push({ ...own, first: log.head + 1, count: drafts.length });
    for (const draft of drafts) {
      const { topic, body, ...rest } = draft;
      if (hasOptions(draft)) options.set(messages.length, rest);
      topics.push(topic);
      bodies.push(toWhole(body));
      starts.push(log.bytes);
      log.head += 1;
      log.bytes += toSize(draft);
      messages.push(toMessage(draft, log.head, log.time));
    }
  }
  return { log, messages, topics, bodies, starts, options, once };
}

function hasOptions({ ttl, event, key }: Draft): boolean {
  return ttl !== undefined || event !== undefined || key !== undefined;
}

/** Bytes that are a part of a larger buffer would take all of it along to the writer. */
function toWhole(body: Draft["body"]): Draft["body"] {
  return typeof body === "string" || body.byteLength === body.buffer.byteLength ? body : body.slice();
}
