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

/** What a publisher is told of an append, and whether it was told so before. */
export interface Outcome {
  readonly receipts: readonly Receipt[];
  readonly repeated: boolean;
}

/** For how long a repeat is recognised, in milliseconds. */
export const rememberedMs = 5 * 60_000;

/** The longest key, in bytes. */
export const maxIdempotencyKeyBytes = 255;

interface Entry {
  readonly fingerprint: string;
  /** When it was used, by `now`. */
  readonly at: number;
  readonly receipts: Promise<readonly Receipt[]>;
}

export interface IdempotencyParts {
  readonly journal: Journal;
  /** How many keys are remembered; over it, the oldest are forgotten before their time. */
  readonly maxKeys: number;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

export class Idempotency {
  readonly #parts: Required<IdempotencyParts>;
  /** In the order of their use. */
  readonly #entries = new Map<string, Entry>();

  constructor({ journal, maxKeys, now = () => performance.now() }: IdempotencyParts) {
    this.#parts = { journal, maxKeys, now };
    for (const { key, fingerprint, first, count, sessions, ageMs } of journal.remembered(rememberedMs))
      this.#remember(key, {
        fingerprint,
        at: now() - ageMs,
        // Nobody was told how many got it when the process ended before it was known; now nobody is left of them.
        receipts: Promise.resolve(
          toReceipts(journal, first, sessions ?? Array.from({ length: count }, () => 0)),
        ),
      });
  }

  get size(): number {
    this.#forget();
    return this.#entries.size;
  }

  /**
   * Publishes, or gives what was answered to the same before.
   *
   * @param publish appends with `once`
   * @throws PushError `idempotency_key_reused` when the key was used for something else
   */
  async run(once: Once, publish: () => Promise<readonly Receipt[]>): Promise<Outcome> {
    this.#forget();
    const { key, fingerprint } = once;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint)
        throw new PushError(
          "idempotency_key_reused",
          `Idempotency-Key ${quote(key)} was used within five minutes for another push, expected a new key`,
        );
      return { receipts: await known.receipts, repeated: true };
    }
    const receipts = this.#publish(key, publish);
    this.#remember(key, { fingerprint, at: this.#parts.now(), receipts });
    return { receipts: await receipts, repeated: false };
  }

  async #publish(key: string, publish: () => Promise<readonly Receipt[]>): Promise<readonly Receipt[]> {
    const receipts = await publish();
    await this.#parts.journal.settle(
      key,
      receipts.map(({ sessions }) => sessions),
    );
    return receipts;
  }

  #remember(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    // Whoever waits for it is told; when nobody does, its failure is nobody's. It was not taken, so trying again with the same key is
    // what the publisher should do: maybe that is under way already, as the oldest are forgotten while they are.
    entry.receipts.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
  }

  #forget(): void {
    const { now, maxKeys } = this.#parts;
    for (const [key, { at }] of this.#entries) {
      if (at >= now() - rememberedMs && this.#entries.size <= maxKeys) return;
      this.#entries.delete(key);
    }
  }
}

/** What tells whether two pushes are the same: everything of them, in 64 bits. */
export function toFingerprint(drafts: readonly Draft[]): string {
  let hash = 0n;
  for (const { topic, body, event, key, ttl } of drafts) {
    const about = JSON.stringify([topic, typeof body, event ?? null, key ?? null, ttl ?? null]);
    hash = Bun.hash.wyhash(body, Bun.hash.wyhash(about, hash));
  }
  return hash.toString(16);
}

export function toReceipts({ epoch }: Journal, first: Offset, sessions: readonly number[]): Receipt[] {
  return sessions.map((count, index) => ({ id: toMessageId(epoch, first + index), sessions: count }));
}
