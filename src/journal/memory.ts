/**
 * The journal in memory: survives a client's reconnect, not the end of the process.
 *
 * The messages are in a ring that doubles while it must and never moves one of them when old ones go: the
 * message at `offset` is in slot `offset % capacity`. Trimming looks at the oldest only, so it costs the same however
 * much is kept. Bodies are held as they came; every message is reckoned at its body and `overheadBytes`.
 */
import { createEpoch, HorizonPassed, type Journal, type Retention } from "../journal.ts";
import { type Draft, type Message, type Offset, sizeOf } from "../message.ts";

/** What a message takes beside its body: its object, its slot, and its topic's and event's names. */
export const overheadBytes = 256;

const firstCapacity = 1024;
const pageMessages = 256;

export interface MemoryJournalOptions {
  readonly retention: Retention;
  /** Milliseconds since 1970, as a clock that never goes back: a step of the system's clock must not expire anything. */
  readonly now?: () => number;
}

export function openMemoryJournal({ retention, now = steadyNow }: MemoryJournalOptions): Journal {
  return new MemoryJournal(retention, now);
}

class MemoryJournal implements Journal {
  readonly epoch = createEpoch();
  head: Offset = 0;
  /** The offset of the newest message that is no longer kept: everything after it is. */
  #horizon: Offset = 0;
  #bytes = 0;
  #ring: (Message | undefined)[] = Array.from({ length: firstCapacity });
  #listener: (messages: readonly Message[]) => void = () => {};

  constructor(
    readonly retention: Retention,
    readonly now: () => number,
  ) {}

  get kept(): { count: number; bytes: number } {
    this.#trim();
    return { count: this.head - this.#horizon, bytes: this.#bytes };
  }

  async append(drafts: readonly Draft[]): Promise<readonly Offset[]> {
    const time = this.now();
    const messages = drafts.map((draft): Message => ({ ...draft, offset: ++this.head, time }));
    for (const message of messages) this.#keep(message);
    this.#trim();
    this.#listener(messages);
    return messages.map((message) => message.offset);
  }

  tail(listener: (messages: readonly Message[]) => void): void {
    this.#listener = listener;
  }

  since(offset: Offset, topics: ReadonlySet<string>): Iterable<readonly Message[]> | undefined {
    this.#trim();
    if (!Number.isSafeInteger(offset) || offset < this.#horizon || offset > this.head) return undefined;
    return this.#pages(offset, topics);
  }

  async close(): Promise<void> {
    this.#listener = () => {};
  }

  *#pages(offset: Offset, topics: ReadonlySet<string>): Generator<readonly Message[]> {
    let page: Message[] = [];
    for (let next = offset + 1; next <= this.head; next++) {
      const message = this.#ring[next % this.#ring.length];
      if (next <= this.#horizon || message === undefined) throw new HorizonPassed(`offset ${next} is gone`);
      if (!topics.has(message.topic)) continue;
      page.push(message);
      if (page.length < pageMessages) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  #keep(message: Message): void {
    const capacity = this.#ring.length;
    if (message.offset - this.#horizon > capacity) this.#grow(capacity * 2);
    this.#ring[message.offset % this.#ring.length] = message;
    this.#bytes += costOf(message);
  }

  #grow(capacity: number): void {
    const ring: (Message | undefined)[] = Array.from({ length: capacity });
    for (const message of this.#ring) if (message !== undefined) ring[message.offset % capacity] = message;
    this.#ring = ring;
  }

  #trim(): void {
    const { time, bytes, count } = this.retention;
    const oldest = this.now() - time;
    while (this.#horizon < this.head) {
      const slot = (this.#horizon + 1) % this.#ring.length;
      const message = this.#ring[slot];
      if (message === undefined) return;
      if (message.time >= oldest && this.#bytes <= bytes && this.head - this.#horizon <= count) return;
      this.#ring[slot] = undefined;
      this.#bytes -= costOf(message);
      this.#horizon++;
    }
  }
}

function steadyNow(): number {
  return performance.timeOrigin + performance.now();
}

function costOf(message: Message): number {
  return overheadBytes + sizeOf(message.body);
}
