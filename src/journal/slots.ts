/**
 * Where each kept message is and what is known of it: one typed array for each such thing, as a ring. The message at `offset`
 * is in slot `offset % capacity`.
 */
import type { Offset } from "../message.ts";

/** What is true of a message, as bits. */
export const isText = 1;
export const isReplaced = 2;

export class Slots {
  readonly time: Float64Array;
  /** The ttl in seconds and 1 more; 0 without one. */
  readonly ttl: Uint32Array;
  /** The number of its topic. */
  readonly topic: Uint32Array;
  /** How far it is to the message of the same topic before it and after it; 0 when there is none. */
  readonly back: Uint32Array;
  readonly ahead: Uint32Array;
  /** The number of the slab since the first one ever, and where in it the message begins. */
  readonly slab: Uint32Array;
  readonly start: Uint32Array;
  readonly eventBytes: Uint16Array;
  readonly keyBytes: Uint16Array;
  readonly bodyBytes: Uint32Array;
  readonly flags: Uint8Array;

  constructor(readonly capacity: number) {
    this.time = new Float64Array(capacity);
    this.ttl = new Uint32Array(capacity);
    this.topic = new Uint32Array(capacity);
    this.back = new Uint32Array(capacity);
    this.ahead = new Uint32Array(capacity);
    this.slab = new Uint32Array(capacity);
    this.start = new Uint32Array(capacity);
    this.eventBytes = new Uint16Array(capacity);
    this.keyBytes = new Uint16Array(capacity);
    this.bodyBytes = new Uint32Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  /** The bytes of the message's parts. */
  sizeAt(slot: number): number {
    return (this.eventBytes[slot] ?? 0) + (this.keyBytes[slot] ?? 0) + (this.bodyBytes[slot] ?? 0);
  }

  /** Slots for twice as many, with the messages from `first` to `last` in them. */
  grown(first: Offset, last: Offset): Slots {
    const larger = new Slots(this.capacity * 2);
    for (const name of columns) {
      const [from, to] = [this[name], larger[name]];
      // The ring's place of the first one is where it was, or so much further on; whole stretches are copied, as that takes a
      // hundredth of the time.
      for (let offset = first; offset <= last;) {
        const [begin, place] = [offset % this.capacity, offset % larger.capacity];
        const count = Math.min(last - offset + 1, this.capacity - begin, larger.capacity - place);
        to.set(from.subarray(begin, begin + count), place);
        offset += count;
      }
    }
    return larger;
  }
}

const columns = [
  "time",
  "ttl",
  "topic",
  "back",
  "ahead",
  "slab",
  "start",
  "eventBytes",
  "keyBytes",
  "bodyBytes",
  "flags",
] as const satisfies readonly (keyof Slots)[];
