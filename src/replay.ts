/**
 * Replays: what sessions that come back have missed, on its way to them.
 *
 *   start ──► ready ──► one page ──► ready …            a session that reads as fast as it is sent to
 *               │          └──► waiting ──► ready …     one that does not, until it has read some
 *               └──► nothing is left: live
 *
 * A session is not live while it is being replayed to, so its order is the journal's; it becomes live in the very turn in which
 * the journal has nothing more for it, so nothing falls between. Everybody who is ready gets a page in turn, for a few
 * milliseconds at a time, so that neither a thousand short replays nor a long one hold up what is live.
 */
import { topicsOf } from "./address.ts";
import { HorizonPassed, type Journal, type Pages } from "./journal.ts";
import type { Logger } from "./logger.ts";
import type { Message, Offset } from "./message.ts";
import type { Metrics } from "./metrics.ts";
import { closeCodes } from "./protocol.ts";
import type { Session } from "./session.ts";

/** A session as replays see it. Nothing of this may throw. */
export interface Follower extends Session {
  /** Sends as many of them as it can take now, from the first one on, and says how many. After fewer than all it owes a call of `goOn`. */
  replay(messages: readonly Message[]): number;
  /** From now on it is reached by what is delivered. */
  goLive(): void;
}

interface Replay {
  readonly follower: Follower;
  readonly pages: Pages;
  /**
   * How many messages of the last page were sent. The others are read anew when there is room for them: while a session waits, they can
   * be replaced or expire, and would take memory.
   */
  sent: number;
  state: "ready" | "waiting";
  /** What came meanwhile and is not for this session. */
  skipped?: Set<Offset>;
}

/** For how long pages are sent before everything else has its turn. */
const turnMs = 4;

export interface ReplaysParts {
  readonly journal: Journal;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** The session was given these. */
  readonly onSent: (session: Session, messages: readonly Message[]) => void;
}

export class Replays {
  readonly #journal: Journal;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  readonly #onSent: ReplaysParts["onSent"];
  readonly #underWay = new Map<Session, Replay>();
  #ready: Replay[] = [];
  #scheduled = false;

  constructor({ journal, metrics, logger, onSent }: ReplaysParts) {
    this.#journal = journal;
    this.#metrics = metrics;
    this.#logger = logger;
    this.#onSent = onSent;
  }

  get size(): number {
    return this.#underWay.size;
  }

  /** Whether the session is just being replayed to. */
  has(session: Session): boolean {
    return this.#underWay.has(session);
  }

  /** Sends the session what came after the offset, and makes it live. */
  start(follower: Follower, after: Offset): void {
    const { head } = this.#journal;
    if (after === head) return follower.goLive();
    const pages = this.#journal.since(after, topicsOf(follower), head);
    if (pages === undefined) return endOvertaken(follower);
    const replay: Replay = { follower, pages, sent: 0, state: "ready" };
    this.#underWay.set(follower, replay);
    // Who is alone begins at once: in a busy journal that is full, retention would pass who asked for all while that waits.
    const isAlone = !this.#scheduled;
    this.#schedule();
    if (isAlone) this.#sendPage(replay);
    else this.#ready.push(replay);
  }

  /** The session can take more than it could. */
  goOn(session: Session): void {
    const replay = this.#underWay.get(session);
    if (replay?.state !== "waiting") return;
    replay.state = "ready";
    this.#ready.push(replay);
    this.#schedule();
  }

  /** A message that has come just now is not sent to the session, if it is being replayed to. */
  skip(session: Session, offset: Offset): void {
    const replay = this.#underWay.get(session);
    if (replay !== undefined) (replay.skipped ??= new Set()).add(offset);
  }

  /** The session has ended. */
  stop(session: Session): void {
    const replay = this.#underWay.get(session);
    this.#underWay.delete(session);
    replay?.pages.return();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    const until = performance.now() + turnMs;
    // Who is ready again after its page has its turn after all others.
    const ready = this.#ready;
    this.#ready = [];
    let taken = 0;
    while (taken < ready.length && performance.now() < until) {
      const replay = ready[taken++];
      if (replay !== undefined && this.#underWay.has(replay.follower)) this.#sendPage(replay);
    }
    this.#ready = [...ready.slice(taken), ...this.#ready];
    this.#scheduled = this.#ready.length > 0;
    if (this.#scheduled) setImmediate(() => this.#turn());
  }

  #sendPage(replay: Replay): void {
    const { follower, pages } = replay;
    try {
      const { done, value: page } = pages.next(replay.sent);
      if (done) {
        this.#underWay.delete(follower);
        follower.goLive();
        return;
      }
      const { skipped } = replay;
      const own = skipped === undefined ? page : page.filter(({ offset }) => !skipped.has(offset));
      const sent = follower.replay(own);
      if (sent > 0) this.#onSent(follower, own.slice(0, sent));
      const next = own[sent];
      replay.sent = next === undefined ? page.length : page.indexOf(next);
      this.#metrics.replayed += sent;
      if (replay.sent < page.length) replay.state = "waiting";
      else this.#ready.push(replay);
    } catch (error) {
      this.#underWay.delete(follower);
      if (!(error instanceof HorizonPassed))
        this.#logger.error("a replay failed", {
          error: error instanceof Error ? error.stack : String(error),
        });
      endOvertaken(follower);
    }
  }
}

/** It was promised everything, and can no longer have it. It comes back, and is told so. */
function endOvertaken(follower: Follower): void {
  follower.close(closeCodes.overloaded, "what is missing was dropped from the journal meanwhile");
}
