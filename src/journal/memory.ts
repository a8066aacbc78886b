/**
 * The journal in memory: survives a client's reconnect, not the end of the process.
 *
 * A hundred thousand messages as objects would be half a million cells that the garbage collector walks again and again,
 * which costs a push more than all the rest of the journal. So they are kept as bytes:
 *
 *   slabs    [ event key body │ event key body │ …        ] [ … ] [ … ]     a message never straddles two
 *   slots    where each one is and what is known of it, as a ring of typed arrays that double while they must
 *   topics   the newest message of each topic; from there the slots lead back and forth through the topic's own
 *
 * So a reader who missed ten messages costs ten steps, however many others there were.
 *
 *   offset   1 2 … 30 | 31 32 … 40 | 41 42 … 57
 *              cleaned ^   horizon ^     head ^
 *
 * The horizon moves at once, whatever is beyond it is cleaned up a little with every append: when a hundred thousand
 * expire in one moment, nobody waits for that. A slab goes when its last message is cleaned up. Every message is reckoned at its
 * bytes and its slot, every topic at its name and its place in the table; beyond that, memory holds a slab or two that are
 * partly used, and slots for up to twice as many messages.
 */
import { PushError } from "../errors.ts";
import {
  createEpoch,
  HorizonPassed,
  type Journal,
  pageBytes,
  pageMessages,
  type Pages,
  type Retention,
  steadyNow,
  type TailListener,
} from "../journal.ts";
import { type Draft, type Message, type Offset, sizeOf, toMessage } from "../message.ts";
import { Slabs } from "./slabs.ts";
import { defaultTurnBytes, Slices, toWireSize } from "./slices.ts";
import { isReplaced, isText, Slots } from "./slots.ts";

/** What a message is reckoned at beside its event, key and body, what a topic is beside its name, and a key twice its bytes. */
export const slotBytes = 64;
export const topicBytes = 256;
export const keyBytes = 256;

const firstCapacity = 1024;
/** A page ends after so many messages that have expired or were replaced, too: they must not hold up the rest. */
const pageSteps = 4096;
/** How many messages beyond the horizon are cleaned up with each append. */
const cleanedAtOnce = 256;

export interface MemoryJournalOptions {
  readonly retention: Retention;
  /** Milliseconds since 1970, as a clock that never goes back: a step of the system's clock must not expire anything. */
  readonly now?: () => number;
  /** How much is handed over in one turn of the event loop, in bytes. */
  readonly turnBytes?: number;
}

export function openMemoryJournal({
  retention,
  now = steadyNow,
  turnBytes = defaultTurnBytes,
}: MemoryJournalOptions): Journal {
  return new MemoryJournal(retention, now, turnBytes);
}

interface Topic {
  readonly name: string;
  readonly number: number;
  /** Its newest message. */
  last: Offset;
  /** The newest message of each key. */
  keys?: Map<string, Offset>;
}

class MemoryJournal implements Journal {
  readonly epoch = createEpoch();
  readonly problem = undefined;
  head: Offset = 0;
  /** The offset of the newest message that is no longer kept: everything after it is. */
  #horizon: Offset = 0;
  /** Up to which offset nothing is left. */
  #cleaned: Offset = 0;
  #bytes = 0;
  #slots = new Slots(firstCapacity);
  #slabs = new Slabs();
  readonly #topics = new Map<string, Topic>();
  readonly #topicsByNumber: (Topic | undefined)[] = [];
  readonly #freeNumbers: number[] = [];
  #closed = false;
  #listener: TailListener = () => {};
  /** What could not be handed over in the turn in which it came. It is not in the log before it is. */
  readonly #slices: Slices;

  constructor(
    readonly retention: Retention,
    readonly now: () => number,
    turnBytes: number,
  ) {
    this.#slices = new Slices(turnBytes);
  }

  get kept(): { count: number; bytes: number } {
    this.#trim();
    return { count: this.head - this.#horizon, bytes: this.#bytes };
  }

  get ageMs(): number {
    const now = this.now();
    this.#trim(now);
    const oldest = this.#horizon + 1;
    return oldest > this.head ? 0 : now - (this.#slots.time[oldest % this.#slots.capacity] ?? now);
  }

  append(drafts: readonly Draft[]): readonly Offset[] | Promise<readonly Offset[]> {
    if (this.#closed) throw new PushError("unavailable", "the journal is closed");
    let bytes = 0;
    for (const draft of drafts) bytes += toWireSize(draft);
    const offsets: Offset[] = [];
    if (this.#slices.take(bytes)) {
      for (const draft of drafts) offsets.push(this.#take(draft));
      return offsets;
    }
    return new Promise((resolve) => {
      this.#slices.add({
        count: drafts.length,
        step: (index) => {
          const draft = drafts[index];
          if (draft === undefined) return 0;
          offsets.push(this.#take(draft));
          return toWireSize(draft);
        },
        done: () => resolve(offsets),
      });
    });
  }

  /** Puts it into the log, and hands it over. */
  #take(draft: Draft): Offset {
    const time = this.now();
    const offset = this.head + 1;
    const message = toMessage(draft, offset, time);
    if (this.retention.count > 0) this.#keep(message);
    this.head = offset;
    this.#trim(time);
    this.#listener([message], true);
    return offset;
  }

  tail(listener: TailListener): void {
    this.#listener = listener;
  }

  since(
    offset: Offset,
    topics: readonly string[],
    present: Offset = Number.POSITIVE_INFINITY,
  ): Pages | undefined {
    this.#trim();
    if (!Number.isSafeInteger(offset) || offset < this.#horizon || offset > this.head) return undefined;
    return this.#pages(offset, topics, present);
  }

  offsetBefore(ageMs: number): Offset {
    const now = this.now();
    this.#trim(now);
    return this.#newestBefore(now - ageMs);
  }

  /** It remembers nothing longer than the process does. */
  settle(): void {}

  remembered(): [] {
    return [];
  }

  async close(): Promise<void> {
    this.#slices.finish();
    this.#closed = true;
    this.#slabs = new Slabs();
    this.#topics.clear();
    this.#horizon = this.#cleaned = this.head;
    this.#bytes = 0;
  }

  *#pages(offset: Offset, topics: readonly string[], present: Offset): Pages {
    const readers = topics.map((topic) => ({ topic, taken: 0, next: 0 }));
    for (let position = offset; ;) {
      if (position < this.#horizon) throw new HorizonPassed(`offset ${position} is gone`);
      const now = this.now();
      const page: Message[] = [];
      const places: { readonly reader: Reader; readonly offset: Offset }[] = [];
      let bytes = 0;
      for (const reader of readers)
        if (reader.next === 0) reader.next = this.#next(reader.topic, reader.taken, position);
      let more = true;
      for (let steps = 0; steps < pageSteps && page.length < pageMessages && bytes < pageBytes; steps++) {
        const reader = findFirst(readers);
        if (reader === undefined) {
          more = false;
          break;
        }
        position = reader.taken = reader.next;
        reader.next = this.#next(reader.topic, reader.taken, position);
        if (this.#isGone(position, now, present)) continue;
        const message = this.#read(position, reader.topic);
        page.push(message);
        places.push({ reader, offset: position });
        bytes += sizeOf(message.body);
      }
      if (!more) {
        if (page.length === 0) return;
        position = this.head;
      }
      const taken = yield page;
      if (taken === undefined) continue;
      for (const { reader, offset: own } of places.slice(taken).toReversed()) {
        reader.next = own;
        position = own - 1;
      }
    }
  }

  /** The first message of the topic after `position`, of which `taken` is the one before; 0 when there is none. */
  #next(name: string, taken: Offset, position: Offset): Offset {
    const slots = this.#slots;
    if (taken > this.#cleaned) {
      const ahead = slots.ahead[taken % slots.capacity] ?? 0;
      return ahead === 0 ? 0 : taken + ahead;
    }
    let found = 0;
    for (let offset = this.#topics.get(name)?.last ?? 0; offset > position;) {
      found = offset;
      const back = slots.back[offset % slots.capacity] ?? 0;
      if (back === 0) break;
      offset -= back;
    }
    return found;
  }

  #isGone(offset: Offset, now: number, present: Offset): boolean {
    const slots = this.#slots;
    const slot = offset % slots.capacity;
    if (((slots.flags[slot] ?? 0) & isReplaced) !== 0) return true;
    const ttl = slots.ttl[slot] ?? 0;
    return ttl !== 0 && offset <= present && now >= (slots.time[slot] ?? 0) + (ttl - 1) * 1000;
  }

  #read(offset: Offset, topic: string): Message {
    const slots = this.#slots;
    const slot = offset % slots.capacity;
    const bytes = this.#slabs.bytesOf(slots.slab[slot] ?? 0);
    const start = slots.start[slot] ?? 0;
    const afterEvent = start + (slots.eventBytes[slot] ?? 0);
    const afterKey = afterEvent + (slots.keyBytes[slot] ?? 0);
    const end = afterKey + (slots.bodyBytes[slot] ?? 0);
    // A slab is written once, so what is in it can be shared.
    const body =
      ((slots.flags[slot] ?? 0) & isText) !== 0
        ? bytes.toString("utf8", afterKey, end)
        : new Uint8Array(bytes.buffer, bytes.byteOffset + afterKey, end - afterKey);
    const ttl = slots.ttl[slot] ?? 0;
    return {
      topic,
      body,
      ...(afterEvent > start && { event: bytes.toString("utf8", start, afterEvent) }),
      ...(afterKey > afterEvent && { key: bytes.toString("utf8", afterEvent, afterKey) }),
      ...(ttl > 0 && { ttl: ttl - 1 }),
      offset,
      time: slots.time[slot] ?? 0,
    };
  }

  #keep(message: Message): void {
    const { topic: name, body, key = "", ttl, offset, time } = message;
    if (offset - this.#cleaned > this.#slots.capacity)
      this.#slots = this.#slots.grown(this.#cleaned + 1, offset - 1);
    const { slab, start, eventBytes, keyBytes: keyLength, bodyBytes } = this.#slabs.write(message);

    const slots = this.#slots;
    const slot = offset % slots.capacity;
    slots.time[slot] = time;
    slots.ttl[slot] = ttl === undefined ? 0 : ttl + 1;
    slots.slab[slot] = slab;
    slots.start[slot] = start;
    slots.eventBytes[slot] = eventBytes;
    slots.keyBytes[slot] = keyLength;
    slots.bodyBytes[slot] = bodyBytes;
    slots.flags[slot] = typeof body === "string" ? isText : 0;
    this.#bytes += slotBytes + eventBytes + keyLength + bodyBytes;

    const topic = this.#topics.get(name) ?? this.#addTopic(name);
    slots.topic[slot] = topic.number;
    slots.ahead[slot] = 0;
    slots.back[slot] = topic.last === 0 ? 0 : offset - topic.last;
    if (topic.last !== 0) slots.ahead[topic.last % slots.capacity] = offset - topic.last;
    topic.last = offset;
    if (key !== "") this.#replace(topic, key, offset);
  }

  #addTopic(name: string): Topic {
    const number = this.#freeNumbers.pop() ?? this.#topicsByNumber.length;
    const topic = { name, number, last: 0 };
    this.#topics.set(name, topic);
    this.#topicsByNumber[number] = topic;
    this.#bytes += topicBytes + 2 * name.length;
    return topic;
  }

  /** What was replaced is never given again, also when what replaced it expires. */
  #replace(topic: Topic, key: string, offset: Offset): void {
    topic.keys ??= new Map();
    const replaced = topic.keys.get(key);
    if (replaced === undefined) this.#bytes += keyBytes + 2 * key.length;
    else this.#slots.flags[replaced % this.#slots.capacity]! |= isReplaced; // a key leaves the table with its message
    topic.keys.set(key, offset);
  }

  #trim(now = this.now()): void {
    const { time, bytes, count } = this.retention;
    const slots = this.#slots;
    if (this.#horizon < this.head && (slots.time[(this.#horizon + 1) % slots.capacity] ?? 0) < now - time)
      this.#horizon = this.#newestBefore(now - time);
    if (this.head - this.#horizon > count) this.#horizon = this.head - count;
    for (let cleaned = 0; this.#cleaned < this.head; cleaned++) {
      if (this.#bytes <= bytes && (this.#cleaned >= this.#horizon || cleaned >= cleanedAtOnce)) break;
      this.#clean(this.#cleaned + 1);
    }
    if (this.#horizon < this.#cleaned) this.#horizon = this.#cleaned;
    this.#slabs.clean(this.#cleaned);
  }

  /** The newest message that is older, or else the horizon. Times only ever grow. */
  #newestBefore(time: number): Offset {
    const slots = this.#slots;
    let [older, younger] = [this.#horizon, this.head + 1];
    while (younger - older > 1) {
      const middle = Math.floor((older + younger) / 2);
      if ((slots.time[middle % slots.capacity] ?? 0) < time) older = middle;
      else younger = middle;
    }
    return older;
  }

  #clean(offset: Offset): void {
    this.#cleaned = offset;
    if (this.retention.count === 0) return;
    const slots = this.#slots;
    const slot = offset % slots.capacity;
    this.#bytes -= slotBytes + slots.sizeAt(slot);
    const topic = this.#topicsByNumber[slots.topic[slot] ?? 0];
    if (topic === undefined) return;
    const length = slots.keyBytes[slot] ?? 0;
    if (length > 0) {
      const start = (slots.start[slot] ?? 0) + (slots.eventBytes[slot] ?? 0);
      const key = this.#slabs.bytesOf(slots.slab[slot] ?? 0).toString("utf8", start, start + length);
      if (topic.keys?.get(key) === offset) {
        topic.keys.delete(key);
        this.#bytes -= keyBytes + 2 * key.length;
      }
    }
    if (topic.last !== offset) return;
    this.#topics.delete(topic.name);
    this.#topicsByNumber[topic.number] = undefined;
    this.#freeNumbers.push(topic.number);
    this.#bytes -= topicBytes + 2 * topic.name.length;
  }
}

interface Reader {
  readonly topic: string;
  /** The message of the topic that was read last, and the one to be read next; 0 when there is none. */
  taken: Offset;
  next: Offset;
}

function findFirst(readers: readonly Reader[]): Reader | undefined {
  let first: Reader | undefined;
  for (const reader of readers)
    if (reader.next !== 0 && (first === undefined || reader.next < first.next)) first = reader;
  return first;
}
