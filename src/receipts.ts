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

type Awaited = Pick<Message, "topic" | "offset" | "except" | "ttl">;

interface Wait extends Pick<Message, "topic" | "offset"> {
  readonly except: string | undefined;
  /** A session that began later than this was not sent it, as its ttl had passed; by the clock of `Session.openedAt`. */
  readonly lastBegin: number;
  readonly end: (received: number) => void;
}

export class Receipts {
  readonly #limit: number;
  readonly #byTopic = new Map<string, Set<Wait>>();
  readonly #now: () => number;
  /** When the newest session began. */
  #newestBegin = 0;
  #size = 0;
  #isOver = false;

  /**
   * @param limit how many may wait at once
   * @param now   milliseconds since 1970
   */
  constructor(limit: number, now: () => number = Date.now) {
    this.#limit = limit;
    this.#now = now;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes a place, before a message is published that is to be waited for. It is given back by the end of the wait, or by `giveBack`.
   *
   * @throws PushError `quota_exceeded`
   */
  takePlace(): void {
    if (this.#size >= this.#limit)
      throw new OverLimit(
        "quota_exceeded",
        "max-receipt-waits",
        `${this.#size} pushes wait for a receipt, which is the limit; expected a push without wait`,
      );
    this.#size++;
  }

  /** Of a message that is not waited for after all. */
  giveBack(): void {
    this.#size--;
  }

  /** A session has begun. */
  began({ openedAt }: Pick<Session, "openedAt">): void {
    this.#newestBegin = openedAt;
  }

  /**
   * Resolves with 1 when the first receipt is in, or with 0 after so many milliseconds, or when the server stops. It is called in the
   * moment in which the message was taken.
   *
   * @param gone ends the wait with 0: nobody wants to know any more
   */
  async wait({ topic, offset, except, ttl }: Awaited, ms: number, gone?: AbortSignal): Promise<number> {
    const { promise, resolve: end } = Promise.withResolvers<number>();
    const wait: Wait = { topic, offset, except, lastBegin: this.#toLastBegin(ttl), end };
    const others = this.#byTopic.get(topic);
    if (others === undefined) this.#byTopic.set(topic, new Set([wait]));
    else others.add(wait);
    const giveUp = () => end(0);
    if (this.#isOver || gone?.aborted === true) giveUp();
    gone?.addEventListener("abort", giveUp);
    const timer = setTimeout(giveUp, ms);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      gone?.removeEventListener("abort", giveUp);
      this.#remove(wait);
      this.giveBack();
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
        if (wait.offset > after && wait.offset <= offset && mayHave(wait, session)) wait.end(1);
  }

  /** Lets everybody go, and whoever comes to wait from now on. */
  endAll(): void {
    this.#isOver = true;
    for (const waits of this.#byTopic.values()) for (const { end } of waits) end(0);
  }

  #toLastBegin(ttl: number | undefined): number {
    if (ttl === undefined) return Number.POSITIVE_INFINITY;
    // Only those who were there, to the last of them.
    if (ttl === 0) return this.#newestBegin;
    // The sessions' clock does not go back with the system's.
    return Math.max(this.#now(), this.#newestBegin) + ttl * 1000;
  }

  #remove(wait: Wait): void {
    const waits = this.#byTopic.get(wait.topic);
    waits?.delete(wait);
    if (waits?.size === 0) this.#byTopic.delete(wait.topic);
  }
}

function mayHave({ except, lastBegin }: Wait, { id, openedAt }: Session): boolean {
  return except !== id && openedAt <= lastBegin;
}
