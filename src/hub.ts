/**
 * The heart: everything that is pushed, and everyone who is connected, meets here. Does no I/O of its own.
 *
 *   publisher → http → hub.publish → journal.append → journal.tail → hub.deliver → topics → sockets
 *   client → receive → hub.receive
 *
 * A message is delivered from the journal's tail and from nowhere else, so nobody gets what the journal did not take, and
 * all get it in the journal's order. The life of a session: `admit` (may one more come?), `locate` (from where on?), `attach`, any
 * number of `receive`, and `detach`, exactly once.
 */
import { type Address, fromTopic, topicOfAll, topicsOf } from "./address.ts";
import { OverLimit, PushError } from "./errors.ts";
import type { Events } from "./events.ts";
import { Expiries } from "./expiries.ts";
import {
  Idempotency,
  type Outcome,
  type Receipt,
  type Taken,
  toFingerprint,
  toOwnKey,
  toReceipts,
} from "./idempotency.ts";
import type { Journal, Once } from "./journal.ts";
import type { Logger } from "./logger.ts";
import { type Body, type Draft, type Message, type Offset, sizeOf, toMessageId } from "./message.ts";
import type { Metrics, SessionEnd } from "./metrics.ts";
import type { Presence } from "./presence.ts";
import { closeCodes } from "./protocol.ts";
import type { Claimant, PushRates, Quotas } from "./quotas.ts";
import { Receipts } from "./receipts.ts";
import { type Follower, Replays } from "./replay.ts";
import type { Session, Sessions } from "./session.ts";
import type { Since } from "./since.ts";
import type { UnclaimedPushes } from "./unclaimed.ts";

/** One way to receive: sends a message to all of its sessions that listen to the message's topic. */
export interface Outlet {
  /** How many sessions it was sent to: exactly, not about. Never throws. */
  deliver(message: Message): number;
}

/** Where a session's stream begins. */
export interface Start {
  /** Everything after this follows. */
  readonly offset: Offset;
  /** Of a client that said which id it had last: whether it is proven that everything since follows. */
  readonly resumed?: boolean;
}

export interface HubParts {
  readonly journal: Journal;
  readonly sessions: Sessions;
  readonly presence: Presence;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly maxSessions: number;
  readonly quotas: Quotas;
  /** How much a publisher may push; without it, as much as it likes. */
  readonly pushRates?: PushRates | undefined;
  /** How many idempotency keys are remembered at once. */
  readonly maxIdempotencyKeys: number;
  /** How many publishers may wait for a receipt at once. */
  readonly maxReceiptWaits: number;
  /** What tells the back end what happens; without it, nothing does. */
  readonly events?: Events;
  /** What tells it which pushes found nobody. */
  readonly unclaimed?: UnclaimedPushes;
  /** Whether a message of so many bytes from a client can wait for the back end. */
  readonly hasRoom?: (bytes: number) => boolean;
  /** Whether no more connections should come. */
  readonly isCrowded?: () => boolean;
}

/** How messages are published. */
export interface Publishing {
  /** When its publisher used it before for the same, nothing is published or counted, and the answer is what it was then. */
  readonly idempotencyKey?: string | undefined;
  /** Who pushes, by a name that is its own, for the limits and the key. */
  readonly publisher?: string | undefined;
  /** Called with the first one's offset before any client can have answered to it; not for what was published before. */
  readonly onTaken?: (first: Offset) => void;
}

export class Hub {
  readonly #parts: HubParts;
  readonly #outlets: Outlet[] = [];
  /** How many sessions each message went to, from its delivery until its publisher is told: as many as are under way here. */
  readonly #delivered = new Map<Offset, number>();
  readonly replays: Replays;
  readonly idempotency: Idempotency;
  readonly expiries: Expiries;
  readonly receipts: Receipts;
  /** How many appends are under way. */
  #appending = 0;
  #draining = false;

  constructor(parts: HubParts) {
    this.#parts = parts;
    this.replays = new Replays({
      ...parts,
      // A poll is sent nothing before it is answered.
      onSent: (session, messages) => session.transport !== "poll" && this.claim(session, messages),
    });
    this.receipts = new Receipts(parts.maxReceiptWaits);
    this.idempotency = new Idempotency({ journal: parts.journal, maxKeys: parts.maxIdempotencyKeys });
    this.expiries = new Expiries({
      expire: (session) => session.close(closeCodes.tokenExpired, "the token has expired"),
    });
    parts.journal.tail((messages, here) => {
      for (const message of messages) this.#deliver(message, here);
    });
  }

  /** Adds a way to receive, and gives what takes it away again. */
  addOutlet(outlet: Outlet): () => void {
    this.#outlets.push(outlet);
    return () => this.#outlets.splice(this.#outlets.indexOf(outlet), 1);
  }

  /**
   * Takes a message and delivers it; gives the receipt at once where the journal does.
   *
   * @param publisher who pushes, by a name that is its own, for the limits
   * @throws PushError `shutting_down`, `rate_limited` or `unavailable`, and then it was not taken
   */
  publish(draft: Draft, publisher?: string): Receipt | Promise<Receipt> {
    this.refuseWhileDraining();
    this.#parts.pushRates?.take(publisher, 1);
    const offsets = this.#parts.journal.append([draft]);
    if (!(offsets instanceof Promise)) return this.#toReceipt(draft, offsets[0]);
    return this.#watch(offsets).then(([offset]) => this.#toReceipt(draft, offset));
  }

  /**
   * Takes messages, all or none, and delivers them in this order.
   *
   * @throws PushError `shutting_down`, `rate_limited`, `unavailable` or `idempotency_key_reused`, and then none was taken
   */
  async publishAll(drafts: readonly Draft[], publishing: Publishing = {}): Promise<Outcome> {
    const { idempotencyKey, publisher, onTaken } = publishing;
    this.refuseWhileDraining();
    const publish = async (once?: Once) => {
      this.#parts.pushRates?.take(publisher, drafts.length);
      const taken = await this.#append(drafts, once);
      onTaken?.(taken.first);
      return taken;
    };
    if (idempotencyKey === undefined)
      return { receipts: toReceipts(this.#parts.journal, await publish()), repeated: false };
    const once = { key: toOwnKey(idempotencyKey, publisher), fingerprint: toFingerprint(drafts) };
    return await this.idempotency.run(once, drafts.length, () => publish(once));
  }

  async #append(drafts: readonly Draft[], once?: Once): Promise<Taken> {
    const appending = this.#parts.journal.append(drafts, once);
    const offsets = appending instanceof Promise ? await this.#watch(appending) : appending;
    const [first = 0] = offsets;
    return { first, sessions: Uint32Array.from(drafts, (draft, at) => this.#settle(draft, offsets[at])) };
  }

  /** Keeps it in mind until it is over, for `drain`. */
  #watch<Result>(appending: Promise<Result>): Promise<Result> {
    this.#appending++;
    const end = () => void this.#appending--;
    appending.then(end, end);
    return appending;
  }

  /**
   * An address asks for a session.
   *
   * @throws PushError `rate_limited`
   */
  throttle(address: string): void {
    this.#parts.quotas.throttle(address);
  }

  /**
   * Whether one more session may begin.
   *
   * @throws PushError `shutting_down`, `too_many_sessions` or `quota_exceeded`
   */
  admit(claimant: Claimant): void {
    this.refuseWhileDraining();
    const { sessions, maxSessions, quotas } = this.#parts;
    quotas.check(claimant);
    if (sessions.size >= maxSessions)
      throw new OverLimit(
        "too_many_sessions",
        "max-sessions",
        `the server has ${sessions.size} sessions, the limit is ${maxSessions}`,
      );
  }

  /** The client of this session, whose stream began after `after`, has handled everything up to this id; not what there is not yet. */
  acknowledge(session: Session, after: Offset, id: string): void {
    this.#parts.metrics.acknowledged++;
    const offset = this.toOffset(id);
    if (offset !== undefined && offset <= this.head) this.receipts.acknowledge(session, after, offset);
  }

  /** Where the stream of a client with these ids begins. */
  locate(since: Since | undefined, ids: Address): Start {
    const { journal, metrics } = this.#parts;
    if (since === undefined) return { offset: journal.head };
    if ("ageMs" in since) return { offset: journal.offsetBefore(since.ageMs) };
    const resumed = since.epoch === journal.epoch && journal.since(since.offset, topicsOf(ids)) !== undefined;
    metrics.resumed(resumed);
    return { offset: resumed ? since.offset : journal.head, resumed };
  }

  /** The public name of a place in the journal. */
  toId(offset: Offset): string {
    return toMessageId(this.#parts.journal.epoch, offset);
  }

  /** The place that an id is the name of, if it is of this log. */
  toOffset(id: string): Offset | undefined {
    const { epoch } = this.#parts.journal;
    const offset = id.startsWith(`${epoch}-`) ? id.slice(epoch.length + 1) : "";
    return /^\d{1,15}$/.test(offset) ? Number(offset) : undefined;
  }

  /** Up to where everything was sent to every session that is live. */
  get head(): Offset {
    return this.#parts.journal.head;
  }

  /**
   * @param after     where its stream begins
   * @param expiresAt when it ends, in milliseconds since 1970
   */
  attach(session: Follower, after: Offset, expiresAt?: number): void {
    const { sessions, presence, metrics, logger, quotas, events, unclaimed } = this.#parts;
    sessions.add(session);
    this.receipts.began(session);
    quotas.enter(session);
    const { id, userid, compid, transport, address = "loopback" } = session;
    events?.record("session.opened", { session: id, userid, compid, transport, address });
    presence.enter(session);
    unclaimed?.expectClaim(session);
    if (expiresAt !== undefined) this.expiries.set(session, expiresAt);
    metrics.sessionsOpened++;
    if (logger.showsActivity) logger.activity("session opened", describe(session));
    // It was on its way when the server began to stop.
    if (this.#draining) session.close(closeCodes.restart, "the server restarts");
    else this.replays.start(session, after);
  }

  /** The session was sent these, which it had missed. */
  claim(session: Session, messages: readonly Message[]): void {
    this.#parts.unclaimed?.claim(session, messages);
  }

  /** @param code the close code, of a transport that has such */
  detach(session: Session, end: SessionEnd, code?: number): void {
    const { sessions, presence, metrics, logger, quotas, events } = this.#parts;
    if (!sessions.remove(session)) return;
    quotas.leave(session);
    presence.leave(session);
    this.replays.stop(session);
    this.expiries.delete(session);
    const reason = this.#draining && end === "closed" ? "drained" : end;
    metrics.sessionEnded(reason);
    const { id, userid, compid, transport } = session;
    events?.record("session.closed", { session: id, userid, compid, transport, reason, code });
    if (logger.showsActivity) logger.activity("session closed", { ...describe(session), reason, code });
  }

  /**
   * Takes what a client sent, for the back end; or says why not, which is known at once where the log of events is in memory.
   */
  receive(session: Session, body: Body): PushError | undefined | Promise<PushError | undefined> {
    const { metrics, logger, events, hasRoom } = this.#parts;
    if (hasRoom?.(sizeOf(body)) === false)
      return new PushError("unavailable", "the back end takes no messages now, expected it back before long");
    if (events?.problem !== undefined) return toUnwritable();
    metrics.received++;
    const { id, userid, compid } = session;
    const content = typeof body === "string" ? { message: body } : { base64: body.toBase64() };
    const taken = events?.record("message.received", { session: id, userid, compid, ...content });
    if (logger.showsActivity)
      logger.activity("message received", { ...describe(session), bytes: sizeOf(body) });
    if (logger.showsDebug && typeof body === "string") logger.debug("message content", { id, content: body });
    if (taken instanceof Promise) return taken.then((isTaken) => (isTaken ? undefined : toUnwritable()));
    return taken === false ? toUnwritable() : undefined;
  }

  /**
   * Refuses what is new from now on, and closes the sessions with 1012 when they have what is under way, in batches that are spread
   * over at most half of the time, so that thousands of clients do not come back at one moment.
   *
   * @param wait resolves after so many milliseconds
   */
  async drain(timeMs: number, wait: (ms: number) => Promise<void>): Promise<void> {
    this.#draining = true;
    const { sessions } = this.#parts;
    this.receipts.endAll();
    // What was published in this turn of the event loop leaves first.
    await wait(1);
    for (let waited = 0; this.#appending > 0 && waited < timeMs / 4; waited += drainPauseMs)
      await wait(drainPauseMs);
    const batch = Math.max(drainBatchAtLeast, Math.ceil(sessions.size / (timeMs / 2 / drainPauseMs)));
    let closed = 0;
    for (const session of sessions) {
      session.close(closeCodes.restart, "the server restarts");
      if (++closed % batch === 0) await wait(drainPauseMs);
    }
  }

  #toReceipt(draft: Draft, offset: Offset | undefined): Receipt {
    const sessions = this.#settle(draft, offset);
    return { id: this.toId(offset ?? 0), sessions };
  }

  /** Counts and shows a message that was taken and delivered, and gives to how many sessions it went. */
  #settle(draft: Draft, offset: Offset | undefined): number {
    const { metrics, logger } = this.#parts;
    const sessions = offset === undefined ? undefined : this.#delivered.get(offset);
    if (offset === undefined || sessions === undefined)
      throw new TypeError("expected a journal that hands a message over before it gives the offset");
    this.#delivered.delete(offset);
    metrics.messages++;
    if (logger.showsActivity) {
      const { topic, event, body } = draft;
      const address = topic === topicOfAll ? { to: "all" } : fromTopic(topic);
      logger.activity("push", {
        ...address,
        id: this.toId(offset),
        event,
        bytes: sizeOf(body),
        sessions,
      });
    }
    return sessions;
  }

  #deliver(message: Message, here: boolean): void {
    const { topic, except } = message;
    const left = except === undefined ? undefined : this.#parts.sessions.get(except);
    const isLeft = left !== undefined && topicsOf(left).includes(topic);
    if (isLeft) {
      left.mute(topic);
      this.replays.skip(left, message.offset);
    }
    let sessions = 0;
    for (const outlet of this.#outlets) sessions += outlet.deliver(message);
    if (isLeft) left.unmute(topic);
    this.#parts.metrics.deliveries += sessions;
    if (!here) return;
    this.#delivered.set(message.offset, sessions);
    this.#parts.unclaimed?.note(message, sessions);
  }

  /**
   * Whether messages can be taken and delivered now.
   *
   * @throws PushError `shutting_down` or `unavailable`
   */
  checkReady(): void {
    this.refuseWhileDraining();
    const { problem } = this.#parts.journal;
    if (problem !== undefined) throw problem;
    if (this.#parts.isCrowded?.() === true)
      throw new PushError("unavailable", "nearly all file descriptors are used, expected fewer connections");
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

function toUnwritable(): PushError {
  return new PushError(
    "unavailable",
    "the log of events cannot be written now, expected it back before long",
  );
}
