/**
 * What was answered to pushes that carried an `Idempotency-Key`: a repeat within five minutes pushes nothing and gets the same
 * answer, also when it comes while the first is still under way. (The IETF's draft-ietf-httpapi-idempotency-key-header.)
 *
 * The journal keeps what it needs for the answer together with the messages, so a journal that survives a restart knows of a push
 * if and only if it has the push.
 */
import { PushError, quote } from "./errors.ts";
import type { Journal, Once } from "./journal.ts";
import { type Draft, type Offset, toMessageId } from "./message.ts";

/** What a publisher is told of a message. */
export interface Receipt {
  readonly id: string;
  readonly sessions: number;
}

/** What became of an append. An answer is kept as this, as a receipt for each message would take many times as much. */
export interface Taken {
  /** The offset of the first message; those of the others follow. */
  readonly first: Offset;
  /** To how many sessions each went. */
  readonly sessions: Uint32Array;
}

/** What a publisher is told of an append, and whether it was told so before. */
export interface Outcome {
  readonly receipts: readonly Receipt[];
  readonly repeated: boolean;
}

/** For how long a repeat is recognised, in milliseconds. */
export const rememberedMs = 5 * 60_000;

/** The longest key, in bytes. */
export const maxIdempotencyKeyBytes = 255;

/** A batch counts as one key for each so many of its messages: about as much is kept of them as of a key. */
export const messagesPerKey = 100;

interface Entry {
  readonly fingerprint: string;
  /** When it was used, by `now`. */
  readonly at: number;
  readonly taken: Promise<Taken>;
  /** How many keys it counts as. */
  readonly weight: number;
}

export interface IdempotencyParts {
  readonly journal: Journal;
  /** How many keys are remembered, batches by their messages; over it, the oldest are forgotten before their time. */
  readonly maxKeys: number;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

export class Idempotency {
  readonly #parts: Required<IdempotencyParts>;
  /** In the order of their use. */
  readonly #entries = new Map<string, Entry>();
  #weight = 0;

  constructor({ journal, maxKeys, now = () => performance.now() }: IdempotencyParts) {
    this.#parts = { journal, maxKeys, now };
    for (const { key, fingerprint, first, count, sessions, ageMs } of journal.remembered(rememberedMs))
      this.#remember(key, {
        fingerprint,
        at: now() - ageMs,
        // Nobody was told how many got it when the process ended before it was known; now nobody is left of them.
        taken: Promise.resolve({ first, sessions: Uint32Array.from(sessions ?? new Uint32Array(count)) }),
        weight: weigh(count),
      });
  }

  get size(): number {
    this.#forget();
    return this.#entries.size;
  }

  /**
   * Publishes, or gives what was answered to the same before.
   *
   * @param once    with the key as `toOwnKey` gives it
   * @param count   how many messages there are
   * @param publish appends them with `once`; what it rejects with is everybody's answer who asks meanwhile, and is not remembered
   * @throws PushError `idempotency_key_reused` when the key was used for something else
   */
  async run(once: Once, count: number, publish: () => Promise<Taken>): Promise<Outcome> {
    this.#forget();
    const { key, fingerprint } = once;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint)
        throw new PushError(
          "idempotency_key_reused",
          `Idempotency-Key ${quote(toGivenKey(key))} was used within five minutes for another push, expected a new key`,
        );
      return { receipts: this.#toReceipts(await known.taken), repeated: true };
    }
    const taken = this.#publish(key, publish);
    this.#remember(key, { fingerprint, at: this.#parts.now(), taken, weight: weigh(count) });
    return { receipts: this.#toReceipts(await taken), repeated: false };
  }

  async #publish(key: string, publish: () => Promise<Taken>): Promise<Taken> {
    const taken = await publish();
    await this.#parts.journal.settle(key, [...taken.sessions]);
    return taken;
  }

  #toReceipts(taken: Taken): Receipt[] {
    return toReceipts(this.#parts.journal, taken);
  }

  #remember(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#weight += entry.weight;
    // Whoever waits for it is told; when nobody does, its failure is nobody's. It was not taken, so trying again with the same key is
    // what the publisher should do: maybe that is under way already, as the oldest are forgotten while they are.
    entry.taken.catch(() => {
      if (this.#entries.get(key) === entry) this.#remove(key, entry);
    });
  }

  #forget(): void {
    const { now, maxKeys } = this.#parts;
    for (const [key, entry] of this.#entries) {
      const isWithin = this.#weight <= maxKeys || this.#entries.size === 1;
      if (isWithin && entry.at >= now() - rememberedMs) return;
      this.#remove(key, entry);
    }
  }

  #remove(key: string, { weight }: Entry): void {
    this.#entries.delete(key);
    this.#weight -= weight;
  }
}

/**
 * The key as it is remembered: publishers know nothing of each other, and may use the same. Behind a tab, which no key has, as that
 * stands on disk. Of the publisher there are 16 bits: enough for the few that there are, and too few to find out by them whether a guess
 * at an API key is right.
 *
 * @param publisher where there are several
 */
export function toOwnKey(key: string, publisher: string | undefined): string {
  if (publisher === undefined) return key;
  const tag = Bun.hash.wyhash(publisher) & 0xffffn;
  return `${tag.toString(16).padStart(4, "0")}\t${key}`;
}

/** The key as the publisher gave it. */
function toGivenKey(own: string): string {
  return own.slice(own.indexOf("\t") + 1);
}

/** What tells whether two pushes are the same: everything of them, in 64 bits. */
export function toFingerprint(drafts: readonly Draft[]): string {
  let hash = 0n;
  for (const { topic, body, event, key, ttl, except } of drafts) {
    const about = JSON.stringify([topic, typeof body, event ?? null, key ?? null, ttl ?? null, except]);
    hash = Bun.hash.wyhash(body, Bun.hash.wyhash(about, hash));
  }
  return hash.toString(16);
}

export function toReceipts({ epoch }: Journal, { first, sessions }: Taken): Receipt[] {
  return Array.from(sessions, (count, index) => ({ id: toMessageId(epoch, first + index), sessions: count }));
}

function weigh(count: number): number {
  return Math.ceil(count / messagesPerKey);
}
