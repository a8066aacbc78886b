/**
 * The append-only log that everything delivered has gone through: one log for all addresses, one counter.
 *
 * A journal that may have forgotten anything MUST take a new epoch. Otherwise a tab that slept at 57 wakes, is
 * given 58, and believes that it has seen everything, although the count had started over in the night.
 *
 *            trimmed          kept             not given out yet
 *   offset   1 2 3 … 40 | 41 42 43 … 57 | 58 …
 *                     ^                ^
 *                  horizon            head
 *
 * `since(40)` can be answered whole, `since(57)` with nothing; `since(39)` and `since(58)` cannot be proven. What has expired
 * by its ttl, or was replaced by its key, is left out, and that is no gap.
 *
 * To add a journal: implement this, and run the suite in test/contracts/journal.ts on it.
 */
import type { PushError } from "./errors.ts";
import type { Draft, Message, Offset } from "./message.ts";

export interface Journal {
  /** Names this log; random, of 8 letters and digits. Ids of another epoch never resume. */
  readonly epoch: string;

  /** The offset of the newest message that was handed over, 0 before the first. */
  readonly head: Offset;

  /** How many messages are kept, and about how much memory or disk they take, in bytes. */
  readonly kept: { readonly count: number; readonly bytes: number };
  /** How old the oldest message is that is kept, in milliseconds; 0 when there is none. */
  readonly ageMs: number;

  /** Why no message can be taken now, if so: `unavailable`. It goes away by itself, as soon as one can. */
  readonly problem: PushError | undefined;

  /**
   * Resolves when the messages are as safe as this journal makes them, with their offsets: consecutive, in the order given.
   * All of them are taken, or none.
   * Rejects, or throws, a PushError `unavailable`, and then none was taken: so it is after `close`. (When it was the disk that failed to
   * sync, nobody knows what of it the disk has. The journal overwrites it before it rejects; where the disk fails at that too, and the
   * process is killed before the next append that is taken, the messages may be there after a restart.)
   * A journal that makes them no safer than they are at once gives
   * the offsets at once: each promise on the way costs a push as much as its place in the journal.
   *
   * @param once kept with the messages, as safe as they are, so that `remembered` gives it after a restart
   */
  append(drafts: readonly Draft[], once?: Once): readonly Offset[] | Promise<readonly Offset[]>;

  /**
   * Hands over every message of the log from now on, once, in order, those appended elsewhere too. There is one listener;
   * it must not throw. What was appended here is handed over before its `append` resolves.
   */
  tail(listener: TailListener): void;

  /**
   * What these topics got after `offset`, in order, in pages of bounded size and cost, so that a reader can let others have their
   * turn between two of them; a page may be empty. It ends at the head of the moment when the last page is asked for. Whoever took only the
   * first few messages of a page says so when it asks for the next, which then begins with the others, unless they have expired or were
   * replaced meanwhile. `undefined` when it cannot be proven that this is everything: the offset is older than the horizon, or was never given out. An iteration that
   * retention overtakes ends by throwing `HorizonPassed`.
   *
   * @param topics  each at most once
   * @param present the head when the reader connected: what came later is owed to it even when it has expired meanwhile.
   *                Without it nothing that has expired is given
   */
  since(offset: Offset, topics: readonly string[], present?: Offset): Pages | undefined;

  /** After which offset everything stands that came in the last so many milliseconds and is kept; all that is kept, with Infinity. */
  offsetBefore(ageMs: number): Offset;

  /**
   * Keeps to how many sessions the messages of an append with `once` went, for `remembered` to give after a restart. Never rejects: what was
   * published stays so, whether or not this can be kept.
   */
  settle(key: string, sessions: readonly number[]): void | Promise<void>;

  /** What was appended with `once` before this process began and is not older than so many milliseconds, the oldest first. */
  remembered(ageMs: number): Iterable<Remembered>;

  close(): Promise<void>;
}

/** `next` takes how many messages of the page before were taken; without that, all of them. */
export type Pages = Generator<readonly Message[], void, number | undefined>;

/** @param here whether the messages were appended on this node, by this very object's `append` */
export type TailListener = (messages: readonly Message[], here: boolean) => void;

/** What tells a repeat of an append from another one. */
export interface Once {
  /** What its publisher named it, told from what others named theirs. */
  readonly key: string;
  /** Of what was appended: the same for the same, so that a key that is used for something else is found. */
  readonly fingerprint: string;
}

export interface Remembered extends Once {
  /** Of the first message, and how many there were. */
  readonly first: Offset;
  readonly count: number;
  /** To how many sessions each went. `undefined` when the process ended before it was known. */
  readonly sessions?: readonly number[];
  /** How long ago it was, in milliseconds. */
  readonly ageMs: number;
}

/** A page of a replay ends after this many messages, or when their bodies have this many bytes: whichever comes first. */
export const pageMessages = 256;
export const pageBytes = 256 * 1024;

/** Retention passed a reader while it was reading: what it has had is not everything. */
export class HorizonPassed extends Error {
  override readonly name = "HorizonPassed";
}

/** A journal's file cannot be used: the message says which, why, and what was expected. */
export class UnusableFile extends Error {
  override readonly name = "UnusableFile";
}

/** What a journal keeps at the most; the first limit that is reached counts. */
export interface Retention {
  /** Milliseconds. */
  readonly time: number;
  readonly bytes: number;
  readonly count: number;
}

const epochAlphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A new random epoch: 41 bits, so two logs practically never share one. */
export function createEpoch(): string {
  let epoch = "";
  // 252 is the largest multiple of 36 in a byte: what is above would make some letters likelier.
  while (epoch.length < 8)
    for (const byte of crypto.getRandomValues(new Uint8Array(16)))
      if (byte < 252 && epoch.length < 8) epoch += epochAlphabet[byte % 36];
  return epoch;
}

/** Milliseconds since 1970 by a clock that never goes back: a step of the system's clock must not expire anything. */
export function steadyNow(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
