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
 * `since(40)` can be answered whole, `since(57)` with nothing; `since(39)` and `since(58)` cannot be proven.
 *
 * To add a journal: implement this, and run the suite in test/contracts/journal.ts on it.
 */
import type { Draft, Message, Offset } from "./message.ts";

export interface Journal {
  /** Names this log; random, of 8 letters and digits. Ids of another epoch never resume. */
  readonly epoch: string;

  /** The offset of the newest message, 0 before the first. */
  readonly head: Offset;

  /** How many messages are kept, and about how much memory or disk they take, in bytes. */
  readonly kept: { readonly count: number; readonly bytes: number };

  /**
   * Resolves when the messages are as safe as this journal makes them, with their offsets: consecutive, in the order given.
   * Rejects, or throws, a PushError `unavailable`, and then none was taken: so it is after `close`. A journal that makes them no safer than they are at once gives
   * the offsets at once: each promise on the way costs a push as much as its place in the journal.
   */
  append(drafts: readonly Draft[]): readonly Offset[] | Promise<readonly Offset[]>;

  /**
   * Hands over every message of the log from now on, once, in order, those appended elsewhere too. There is one listener;
   * it must not throw. What was appended here is handed over before its `append` resolves.
   */
  tail(listener: TailListener): void;

  /**
   * What these topics got after `offset`, in order, in pages of bounded size and cost, so that a reader can let others have their
   * turn between two of them; a page may be empty. It ends at the head of the moment when the last page is asked for. `undefined` when it cannot be proven that this is everything: the offset is older than
   * the horizon, or was never given out. An iteration that retention overtakes ends by throwing `HorizonPassed`.
   */
  since(offset: Offset, topics: ReadonlySet<string>): Iterable<readonly Message[]> | undefined;

  close(): Promise<void>;
}

/** @param here whether the messages were appended on this node, by this very object's `append` */
export type TailListener = (messages: readonly Message[], here: boolean) => void;

/** Retention passed a reader while it was reading: what it has had is not everything. */
export class HorizonPassed extends Error {
  override readonly name = "HorizonPassed";
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
