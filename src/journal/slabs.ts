/**
 * The bytes of kept messages, one after the other in buffers that are written once: the event, the key and the body of each, never
 * over two buffers. A buffer goes when its last message has gone.
 */
import { HorizonPassed } from "../journal.ts";
import { type Message, type Offset, sizeOf } from "../message.ts";

const slabBytes = 1024 * 1024;

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** The newest message in it. */
  last: Offset;
}

/** Where a message is, and how long each of its parts. */
export interface Written {
  /** The number of the slab since the first one ever. */
  readonly slab: number;
  readonly start: number;
  readonly eventBytes: number;
  readonly keyBytes: number;
  readonly bodyBytes: number;
}

export class Slabs {
  readonly #slabs: Slab[] = [];
  /** How many have gone: the number of the first one that is left. */
  #gone = 0;

  write(message: Message): Written {
    const { body, event = "", key = "", offset } = message;
    const slab = this.#slabFor(message);
    const { bytes, used: start } = slab;
    const eventBytes = event === "" ? 0 : bytes.write(event, start);
    const keyBytes = key === "" ? 0 : bytes.write(key, start + eventBytes);
    const bodyStart = start + eventBytes + keyBytes;
    const bodyBytes = typeof body === "string" ? bytes.write(body, bodyStart) : body.length;
    if (typeof body !== "string") bytes.set(body, bodyStart);
    slab.used = bodyStart + bodyBytes;
    slab.last = offset;
    return { slab: this.#gone + this.#slabs.length - 1, start, eventBytes, keyBytes, bodyBytes };
  }

  /** @throws HorizonPassed when it has gone */
  bytesOf(slab: number): Buffer {
    const found = this.#slabs[slab - this.#gone];
    if (found === undefined) throw new HorizonPassed("the message is gone");
    return found.bytes;
  }

  /** Lets go what has no message after the offset. The newest slab is written on, even when nothing in it is kept any more. */
  clean(offset: Offset): void {
    const slabs = this.#slabs;
    while (slabs.length > 1 && (slabs[0]?.last ?? 0) <= offset) {
      slabs.shift();
      this.#gone++;
    }
  }

  /** The newest slab when the message fits into it, else a new one. */
  #slabFor({ event = "", key = "", body }: Message): Slab {
    const newest = this.#slabs.at(-1);
    const room = newest === undefined ? 0 : newest.bytes.length - newest.used;
    // A UTF-16 unit is at most three bytes of UTF-8, so mostly nothing needs to be counted.
    if (newest !== undefined && 3 * (event.length + key.length + body.length) <= room) return newest;
    const size = sizeOf(event) + sizeOf(key) + sizeOf(body);
    if (newest !== undefined && size <= room) return newest;
    const slab = { bytes: Buffer.allocUnsafeSlow(Math.max(slabBytes, size)), used: 0, last: 0 };
    this.#slabs.push(slab);
    return slab;
  }
}
