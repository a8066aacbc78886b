/**
 * When sessions end whose token does: within a second or two of it, unless it is renewed before.
 *
 * Sessions that end in the same second are together, so that a tick looks at no others, whether there are ten or a million.
 */
import type { Session } from "./session.ts";

const tickMs = 1000;
/** How many are ended before everything else has its turn. */
const sliceCount = 200;

export interface ExpiriesOptions {
  /** Ends the session. */
  readonly expire: (session: Session) => void;
  /** Milliseconds since 1970. Tokens count by the same clock, so a step of it is no reason to end before or after them. */
  readonly now?: () => number;
}

export class Expiries {
  readonly #expire: (session: Session) => void;
  readonly #now: () => number;
  /** In which second each ends. */
  readonly #seconds = new Map<Session, number>();
  readonly #bySecond = new Map<number, Set<Session>>();
  #timer: Timer | undefined = undefined;

  constructor({ expire, now = Date.now }: ExpiriesOptions) {
    this.#expire = expire;
    this.#now = now;
  }

  get size(): number {
    return this.#seconds.size;
  }

  /** Whether the session ends with a token. */
  has(session: Session): boolean {
    return this.#seconds.has(session);
  }

  /**
   * The session ends then, and not when it was said before.
   *
   * @param at milliseconds since 1970
   */
  set(session: Session, at: number): void {
    this.delete(session);
    const second = Math.ceil(at / 1000);
    this.#seconds.set(session, second);
    const others = this.#bySecond.get(second);
    if (others === undefined) this.#bySecond.set(second, new Set([session]));
    else others.add(session);
    this.#timer ??= setInterval(() => void this.tick(), tickMs).unref();
  }

  /** The session has ended. */
  delete(session: Session): void {
    const second = this.#seconds.get(session);
    if (second === undefined) return;
    this.#seconds.delete(session);
    const others = this.#bySecond.get(second);
    others?.delete(session);
    if (others?.size === 0) this.#bySecond.delete(second);
    if (this.#seconds.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Ends all whose time has come. */
  async tick(): Promise<void> {
    const second = this.#now() / 1000;
    let ended = 0;
    for (const [due, sessions] of this.#bySecond) {
      if (due > second) continue;
      for (const session of sessions) {
        this.delete(session);
        this.#expire(session);
        if (++ended % sliceCount === 0) await new Promise(setImmediate);
      }
    }
  }
}
