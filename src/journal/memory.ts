/**
 * The journal in memory: survives a client's reconnect, not the end of the process.
 *
 * A hundred thousand messages as objects would be half a million cells that the garbage collector walks again and again,
 * which costs a push more than all the rest of the journal. So they are kept as bytes:
 *
 *   slabs   [ topic event body │ topic event body │ …        ] [ … ] [ … ]     a message never straddles two
 *   slots   where each one is, how long its parts are, and when it came: the message at `offset` is in slot
 *           `offset % capacity` of a few typed arrays, which double while they must
 *
 * Trimming looks at the oldest only, so it costs the same however much is kept, and a slab goes when its last
 * message has gone. Every message is reckoned at its bytes and its slot; beyond that, memory holds a slab or two that are partly used,
 * and slots for up to twice as many messages.
 */
import { PushError } from "../errors.ts";
import { createEpoch, HorizonPassed, type Journal, type Retention, type TailListener } from "../journal.ts";
import { type Draft, type Message, type Offset, sizeOf } from "../message.ts";

/** What a message is reckoned at beside its topic, event and body. */
export const slotBytes = 64;

const firstCapacity = 1024;
const pageMessages = 256;
/** A page ends after this many messages of other topics too: a reader of few among many must not hold up the rest. */
const pageSteps = 4096;
const slabBytes = 1024 * 1024;

export interface MemoryJournalOptions {
  readonly retention: Retention;
  /** Milliseconds since 1970, as a clock that never goes back: a step of the system's clock must not expire anything. */
  readonly now?: () => number;
}

export function openMemoryJournal({ retention, now = steadyNow }: MemoryJournalOptions): Journal {
  return new MemoryJournal(retention, now);
}

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** The newest message in it. */
  last: Offset;
}

/** The slots: one array for each thing that is known of a message. */
class Slots {
  readonly time: Float64Array;
  /** The number of the slab since the first one ever, and where in it the message begins. */
  readonly slab: Float64Array;
  readonly start: Uint32Array;
  readonly topicBytes: Uint16Array;
  readonly eventBytes: Uint16Array;
  readonly bodyBytes: Uint32Array;
  readonly isText: Uint8Array;

  constructor(readonly capacity: number) {
    this.time = new Float64Array(capacity);
    this.slab = new Float64Array(capacity);
    this.start = new Uint32Array(capacity);
    this.topicBytes = new Uint16Array(capacity);
    this.eventBytes = new Uint16Array(capacity);
    this.bodyBytes = new Uint32Array(capacity);
    this.isText = new Uint8Array(capacity);
  }

  /** The bytes of the message's parts. */
  sizeAt(slot: number): number {
    return (this.topicBytes[slot] ?? 0) + (this.eventBytes[slot] ?? 0) + (this.bodyBytes[slot] ?? 0);
  }

  copy(from: Slots, offset: Offset): void {
    const [to, of] = [offset % this.capacity, offset % from.capacity];
    for (const name of ["time", "slab", "start", "topicBytes", "eventBytes", "bodyBytes", "isText"] as const)
      this[name][to] = from[name][of] ?? 0;
  }
}

class MemoryJournal implements Journal {
  readonly epoch = createEpoch();
  head: Offset = 0;
  /** The offset of the newest message that is no longer kept: everything after it is. */
  #horizon: Offset = 0;
  #bytes = 0;
  #slots = new Slots(firstCapacity);
  #slabs: Slab[] = [];
  /** How many slabs have gone: the number of the first one that is left. */
  #slabsGone = 0;
  #closed = false;
  #listener: TailListener = () => {};

  constructor(
    readonly retention: Retention,
    readonly now: () => number,
  ) {}

  get kept(): { count: number; bytes: number } {
    this.#trim();
    return { count: this.head - this.#horizon, bytes: this.#bytes };
  }

  append(drafts: readonly Draft[]): readonly Offset[] {
    if (this.#closed) throw new PushError("unavailable", "the journal is closed");
    const time = this.now();
    const messages: Message[] = [];
    const offsets: Offset[] = [];
    for (const { topic, body, event } of drafts) {
      const offset = this.head + 1;
      const message =
        event === undefined ? { topic, body, offset, time } : { topic, body, event, offset, time };
      this.#keep(message);
      this.head = offset;
      this.#trim(time);
      messages.push(message);
      offsets.push(offset);
    }
    this.#listener(messages, true);
    return offsets;
  }

  tail(listener: TailListener): void {
    this.#listener = listener;
  }

  since(offset: Offset, topics: ReadonlySet<string>): Iterable<readonly Message[]> | undefined {
    this.#trim();
    if (!Number.isSafeInteger(offset) || offset < this.#horizon || offset > this.head) return undefined;
    return this.#pages(offset, topics);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#slabs = [];
    this.#horizon = this.head;
    this.#bytes = 0;
  }

  *#pages(offset: Offset, topics: ReadonlySet<string>): Generator<readonly Message[]> {
    let page: Message[] = [];
    let steps = 0;
    for (let next = offset + 1; next <= this.head; next++) {
      const message = this.#read(next, topics);
      if (message !== undefined) page.push(message);
      if (page.length < pageMessages && ++steps < pageSteps) continue;
      yield page;
      page = [];
      steps = 0;
    }
    if (page.length > 0) yield page;
  }

  #keep(message: Message): void {
    if (message.offset - this.#horizon > this.#slots.capacity) this.#grow(message.offset);
    const { topic, body, event = "", offset, time } = message;
    const slab = this.#slabFor(message);
    const { bytes, used: start } = slab;
    const afterTopic = start + bytes.write(topic, start);
    const afterEvent = event === "" ? afterTopic : afterTopic + bytes.write(event, afterTopic);
    if (typeof body === "string") slab.used = afterEvent + bytes.write(body, afterEvent);
    else {
      bytes.set(body, afterEvent);
      slab.used = afterEvent + body.length;
    }
    slab.last = offset;

    const slots = this.#slots;
    const slot = offset % slots.capacity;
    slots.time[slot] = time;
    slots.slab[slot] = this.#slabsGone + this.#slabs.length - 1;
    slots.start[slot] = start;
    slots.topicBytes[slot] = afterTopic - start;
    slots.eventBytes[slot] = afterEvent - afterTopic;
    slots.bodyBytes[slot] = slab.used - afterEvent;
    slots.isText[slot] = typeof body === "string" ? 1 : 0;
    this.#bytes += slotBytes + slab.used - start;
  }

  /** The newest slab when the message fits into it, else a new one. */
  #slabFor({ topic, event = "", body }: Message): Slab {
    const newest = this.#slabs.at(-1);
    const room = newest === undefined ? 0 : newest.bytes.length - newest.used;
    // A UTF-16 unit is at most three bytes of UTF-8, so mostly nothing needs to be counted.
    if (newest !== undefined && 3 * (topic.length + event.length + body.length) <= room) return newest;
    const size = sizeOf(topic) + sizeOf(event) + sizeOf(body);
    if (newest !== undefined && size <= room) return newest;
    const slab = { bytes: Buffer.allocUnsafeSlow(Math.max(slabBytes, size)), used: 0, last: 0 };
    this.#slabs.push(slab);
    return slab;
  }

  /** The message at this offset if it is for one of the topics. */
  #read(offset: Offset, topics: ReadonlySet<string>): Message | undefined {
    const slots = this.#slots;
    const slot = offset % slots.capacity;
    const slab = this.#slabs[(slots.slab[slot] ?? 0) - this.#slabsGone];
    if (offset <= this.#horizon || slab === undefined) throw new HorizonPassed(`offset ${offset} is gone`);
    const { bytes } = slab;
    const start = slots.start[slot] ?? 0;
    const afterTopic = start + (slots.topicBytes[slot] ?? 0);
    const topic = bytes.toString("utf8", start, afterTopic);
    if (!topics.has(topic)) return undefined;
    const afterEvent = afterTopic + (slots.eventBytes[slot] ?? 0);
    const end = afterEvent + (slots.bodyBytes[slot] ?? 0);
    // A slab is written once, so what is in it can be shared.
    const body =
      slots.isText[slot] === 1
        ? bytes.toString("utf8", afterEvent, end)
        : new Uint8Array(bytes.buffer, bytes.byteOffset + afterEvent, end - afterEvent);
    const event = afterEvent > afterTopic ? { event: bytes.toString("utf8", afterTopic, afterEvent) } : {};
    return { topic, body, ...event, offset, time: slots.time[slot] ?? 0 };
  }

  /** Makes room for the message at `next`. */
  #grow(next: Offset): void {
    const slots = new Slots(this.#slots.capacity * 2);
    for (let offset = this.#horizon + 1; offset < next; offset++) slots.copy(this.#slots, offset);
    this.#slots = slots;
  }

  #trim(now = this.now()): void {
    const { time, bytes, count } = this.retention;
    const oldest = now - time;
    const slots = this.#slots;
    while (this.#horizon < this.head) {
      const slot = (this.#horizon + 1) % slots.capacity;
      if ((slots.time[slot] ?? 0) >= oldest && this.#bytes <= bytes && this.head - this.#horizon <= count)
        break;
      this.#bytes -= slotBytes + slots.sizeAt(slot);
      this.#horizon++;
    }
    // The newest is written on, even when nothing in it is kept any more.
    for (let [first] = this.#slabs; this.#slabs.length > 1 && first !== undefined; [first] = this.#slabs) {
      if (first.last > this.#horizon) break;
      this.#slabs.shift();
      this.#slabsGone++;
    }
  }
}

/** In whole milliseconds. */
function steadyNow(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
