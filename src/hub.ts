/**
 * The heart: everything that is pushed, and everyone who is connected, meets here. Does no I/O of its own.
 *
 *   publisher → http → hub.publish → journal.append → journal.tail → hub.deliver → topics → sockets
 *   client → receive → hub.receive
 *
 * A message is delivered from the journal's tail and from nowhere else, so nobody gets what the journal did not take, and
 * all get it in the journal's order. The life of a session: `admit` (may one more come?), `attach`, any number of
 * `receive`, and `detach`, exactly once.
 */
import { fromTopic, topicOfAll } from "./address.ts";
import { PushError } from "./errors.ts";
import type { Journal } from "./journal.ts";
import type { Logger } from "./logger.ts";
import { type Body, type Draft, type Message, type Offset, sizeOf, toMessageId } from "./message.ts";
import type { Metrics, SessionEnd } from "./metrics.ts";
import { closeCodes } from "./protocol.ts";
import type { Session, Sessions } from "./session.ts";

/** One way to receive: sends a message to all of its sessions that listen to the message's topic. */
export interface Outlet {
  /** How many sessions it was sent to: exactly, not about. Never throws. */
  deliver(message: Message): number;
}

/** What a publisher is told. */
export interface Receipt {
  readonly id: string;
  readonly sessions: number;
}

export interface HubParts {
  readonly journal: Journal;
  readonly sessions: Sessions;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly maxSessions: number;
}

export class Hub {
  readonly #parts: HubParts;
  readonly #outlets: Outlet[] = [];
  /** How many sessions each message went to, from its delivery until its publisher is told: as many as are under way here. */
  readonly #delivered = new Map<Offset, number>();
  #draining = false;

  constructor(parts: HubParts) {
    this.#parts = parts;
    parts.journal.tail((messages, here) => {
      for (const message of messages) this.#deliver(message, here);
    });
  }

  /** Adds a way to receive. */
  addOutlet(outlet: Outlet): void {
    this.#outlets.push(outlet);
  }

  /**
   * Takes a message and delivers it; gives the receipt at once where the journal does.
   *
   * @throws PushError `shutting_down` or `unavailable`, and then it was not taken
   */
  publish(draft: Draft): Receipt | Promise<Receipt> {
    this.refuseWhileDraining();
    const offsets = this.#parts.journal.append([draft]);
    if (!(offsets instanceof Promise)) return this.#toReceipt(draft, offsets);
    return offsets.then((taken) => this.#toReceipt(draft, taken));
  }

  /**
   * Whether one more session may begin.
   *
   * @throws PushError `shutting_down` or `too_many_sessions`
   */
  admit(): void {
    this.refuseWhileDraining();
    const { sessions, maxSessions } = this.#parts;
    if (sessions.size >= maxSessions)
      throw new PushError(
        "too_many_sessions",
        `the server has ${sessions.size} sessions, the limit is ${maxSessions}`,
      );
  }

  attach(session: Session): void {
    const { sessions, metrics, logger } = this.#parts;
    sessions.add(session);
    metrics.sessionsOpened++;
    if (logger.showsActivity) logger.activity("session opened", describe(session));
    // It was on its way when the server began to stop.
    if (this.#draining) session.close(closeCodes.restart, "the server restarts");
  }

  /** @param code the close code, as the transport saw it */
  detach(session: Session, end: SessionEnd, code: number): void {
    const { sessions, metrics, logger } = this.#parts;
    if (!sessions.remove(session)) return;
    const reason = this.#draining && end === "closed" ? "drained" : end;
    metrics.sessionEnded(reason);
    if (logger.showsActivity) logger.activity("session closed", { ...describe(session), reason, code });
  }

  /** Takes what a client sent. */
  receive(session: Session, body: Body): void {
    const { metrics, logger } = this.#parts;
    metrics.received++;
    if (logger.showsActivity)
      logger.activity("message received", { ...describe(session), bytes: sizeOf(body) });
    if (logger.showsDebug && typeof body === "string")
      logger.debug("message content", { id: session.id, content: body });
  }

  /**
   * Refuses what is new from now on, and closes the sessions with 1012, in batches that are spread over at most half of
   * the time, so that thousands of clients do not come back at one moment.
   *
   * @param wait resolves after so many milliseconds
   */
  async drain(timeMs: number, wait: (ms: number) => Promise<void>): Promise<void> {
    this.#draining = true;
    const { sessions } = this.#parts;
    // What was published in this turn of the event loop leaves first.
    await wait(1);
    const batch = Math.max(drainBatchAtLeast, Math.ceil(sessions.size / (timeMs / 2 / drainPauseMs)));
    let closed = 0;
    for (const session of sessions) {
      session.close(closeCodes.restart, "the server restarts");
      if (++closed % batch === 0) await wait(drainPauseMs);
    }
  }

  #toReceipt(draft: Draft, [offset]: readonly Offset[]): Receipt {
    const { journal, metrics, logger } = this.#parts;
    const sessions = offset === undefined ? undefined : this.#delivered.get(offset);
    if (offset === undefined || sessions === undefined)
      throw new TypeError("expected a journal that hands a message over before it gives the offset");
    this.#delivered.delete(offset);
    const id = toMessageId(journal.epoch, offset);
    metrics.messages++;
    if (logger.showsActivity) {
      const { topic, event, body } = draft;
      const address = topic === topicOfAll ? { to: "all" } : fromTopic(topic);
      logger.activity("push", { ...address, id, event, bytes: sizeOf(body), sessions });
    }
    return { id, sessions };
  }

  #deliver(message: Message, here: boolean): void {
    let sessions = 0;
    for (const outlet of this.#outlets) sessions += outlet.deliver(message);
    this.#parts.metrics.deliveries += sessions;
    if (here) this.#delivered.set(message.offset, sessions);
  }

  /** @throws PushError `shutting_down` */
  refuseWhileDraining(): void {
    if (this.#draining)
      throw new PushError("shutting_down", "the server is shutting down, expected back in seconds");
  }
}

const drainBatchAtLeast = 100;
const drainPauseMs = 50;

function describe({ id, userid, compid, transport }: Session) {
  return { id, userid, compid, transport };
}
