/**
 * Publishers who wait until a client has handled their message: the first `ack` of a session that the message was for ends the wait.
 *
 * A client says up to where it has handled what came, so an `ack` counts for every message up to there that is for its session. Nothing is
 * kept of it: who does not wait for it at that moment does not learn of it.
 */
import { topicsOf } from "./address.ts";
import { OverLimit } from "./errors.ts";
import type { Message, Offset } from "./message.ts";
import type { Session } from "./session.ts";

type Awaited = Pick<Message, "topic" | "offset" | "except">;

interface Wait extends Awaited {
  readonly end: (received: number) => void;
}

export class Receipts {
  readonly #limit: number;
  readonly #byTopic = new Map<string, Set<Wait>>();
  #size = 0;

  /** @param limit how many may wait at once */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Before a message is published that is to be waited for.
   *
   * @throws PushError `quota_exceeded`
   */
  checkRoom(): void {
    if (this.#size >= this.#limit)
      throw new OverLimit(
        "quota_exceeded",
        "max-receipt-waits",
        `${this.#size} pushes wait for a receipt, which is the limit; expected a push without wait`,
      );
  }

  /** Resolves with 1 when the first receipt is in, or with 0 after so many milliseconds. */
  async wait(message: Awaited, ms: number): Promise<number> {
    const { promise, resolve: end } = Promise.withResolvers<number>();
    const wait: Wait = { ...message, end };
    const others = this.#byTopic.get(message.topic);
    if (others === undefined) this.#byTopic.set(message.topic, new Set([wait]));
    else others.add(wait);
    this.#size++;
    const timer = setTimeout(() => end(0), ms);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#remove(wait);
    }
  }

  /**
   * The session's client has handled everything up to there.
   *
   * @param after where its stream began: what came before was not sent to it
   */
  acknowledge(session: Session, after: Offset, offset: Offset): void {
    if (this.#size === 0) return;
    for (const topic of topicsOf(session))
      for (const wait of this.#byTopic.get(topic) ?? [])
        if (wait.offset > after && wait.offset <= offset && wait.except !== session.id) wait.end(1);
  }

  /** Lets everybody go. */
  endAll(): void {
    for (const waits of this.#byTopic.values()) for (const { end } of waits) end(0);
  }

  #remove(wait: Wait): void {
    const waits = this.#byTopic.get(wait.topic);
    if (waits?.delete(wait) !== true) return;
    this.#size--;
    if (waits.size === 0) this.#byTopic.delete(wait.topic);
  }
}
