/**
 * Pushes to a user that nobody has got. Whether somebody will before long is known later:
 *
 *   push to a user who is not online ──► told
 *   to one who is, or may come back ───► kept ──► a session is sent it, as it has missed it: forgotten
 *                                          ├────► a while after there is any session of the user: told
 *                                          └────► the user goes: told, just before it is told that the user has gone
 *
 * Not sent it are sessions of other components, those that begin now and not where they were, as a page that does not resume; and those
 * that end before. What is kept is bounded, of a user and of all together, so that one of them leaves room for others: what comes when it
 * is full is told at once, as an e-mail too many is better than none.
 */
import { type Address, fromTopic, topicOfAll, topicsOf } from "./address.ts";
import { type Message, type Offset, toMessageId } from "./message.ts";
import type { Presence } from "./presence.ts";
import type { Session, Sessions } from "./session.ts";

/** What is told of such a push. */
export type Unclaimed = Readonly<Record<string, string | boolean | undefined>>;

export interface UnclaimedPushesParts {
  readonly presence: Pick<Presence, "find" | "isOnline" | "isAway" | "of">;
  readonly sessions: Pick<Sessions, "size" | "get">;
  /** Of the journal that the pushes are in. */
  readonly epoch: string;
  /** Whether the session is just being sent what it has missed. */
  readonly isCatchingUp: (session: Session) => boolean;
  readonly tell: (push: Unclaimed) => void;
  /** How many are kept at once: a tenth of them for each user. */
  readonly maxKept?: number;
  /** How long the others of a user's sessions may take to come back when there is one of them, in milliseconds. */
  readonly waitMs?: number;
}

interface Kept extends Pick<Message, "topic" | "offset" | "key"> {
  readonly userid: string;
  readonly push: Unclaimed;
  /** Runs when there is somebody who may be sent it. */
  timer?: Timer;
}

const none: ReadonlyMap<Offset, Kept> = new Map();

const defaultMaxKept = 1000;
/** After a restart clients are spread over five seconds, and then they connect. */
const defaultWaitMs = 10_000;
/** So many times as long it waits for a session that is being sent what it has missed: it may take nothing any more. */
const mostWaits = 6;

export class UnclaimedPushes {
  readonly #parts: Required<UnclaimedPushesParts>;
  readonly #byUser = new Map<string, Map<Offset, Kept>>();
  #size = 0;
  #isOver = false;

  constructor(parts: UnclaimedPushesParts) {
    this.#parts = { maxKept: defaultMaxKept, waitMs: defaultWaitMs, ...parts };
  }

  /**
   * A push was delivered just now.
   *
   * @param sessions to how many
   */
  note(message: Message, sessions: number): void {
    const { topic, key } = message;
    if (sessions === 0) this.#noteUnclaimed(message);
    else if (key !== undefined && this.#size > 0) this.#forgetReplaced(topic, key);
  }

  #noteUnclaimed({ topic, offset, event, key, ttl, except }: Message): void {
    const { presence, sessions, epoch, tell, maxKept } = this.#parts;
    const id = toMessageId(epoch, offset);
    if (topic === topicOfAll) {
      if (sessions.size === 0) tell({ id, all: true, event });
      return;
    }
    const address = fromTopic(topic);
    const { userid } = address;
    if (key !== undefined) this.#forgetReplaced(topic, key);
    // Who has sent it knows it; of those of a component, somebody is there all the same, in the middle of a replay.
    const sender = except === undefined ? undefined : sessions.get(except);
    if (sender !== undefined && topicsOf(sender).includes(topic)) return;
    if (userid === undefined && presence.find(address).sessions > 0) return;
    const push = { id, ...address, event };
    const isFull = this.#size >= maxKept || this.#of(address).size >= maxKept / 10;
    // With a ttl of 0 nobody is sent it later.
    const isLost = ttl === 0 || this.#isOver || isFull;
    if (userid === undefined || isLost || !presence.isOnline(userid)) return tell(push);
    const kept = { userid, push, topic, offset, ...(key !== undefined && { key }) };
    const all = this.#byUser.get(userid) ?? new Map<Offset, Kept>();
    this.#byUser.set(userid, all.set(offset, kept));
    this.#size++;
    if (!presence.isAway(userid)) this.#wait(kept);
  }

  /** What has been replaced before anybody has had it is nothing that anybody lacks. */
  #forgetReplaced(topic: string, key: string): void {
    for (const kept of this.#of(fromTopic(topic)).values())
      if (kept.key === key && kept.topic === topic) this.#forget(kept);
  }

  /** This session has come. */
  expectClaim(session: Session): void {
    for (const kept of this.#of(session).values()) this.#wait(kept);
  }

  /** This session was sent these. */
  claim(session: Session, messages: readonly Message[]): void {
    const all = this.#of(session);
    if (all.size === 0) return;
    for (const { offset } of messages) {
      const kept = all.get(offset);
      if (kept !== undefined) this.#forget(kept);
    }
  }

  /** The user has gone. */
  tellKept(userid: string): void {
    for (const kept of this.#of({ userid }).values()) this.#tell(kept);
  }

  /** The server stops, and would not know any more what it has kept: nor is anything kept from now on. */
  tellAll(): void {
    this.#isOver = true;
    for (const userid of this.#byUser.keys()) this.tellKept(userid);
  }

  #of({ userid }: Address): ReadonlyMap<Offset, Kept> {
    return (userid !== undefined && this.#byUser.get(userid)) || none;
  }

  #wait(kept: Kept, waits = mostWaits): void {
    const { presence, isCatchingUp, waitMs } = this.#parts;
    const mayGetIt = (session: Session) => isCatchingUp(session) && topicsOf(session).includes(kept.topic);
    const onDue = () => {
      if (waits === 1 || !presence.of(kept.userid).some(mayGetIt)) return this.#tell(kept);
      delete kept.timer;
      this.#wait(kept, waits - 1);
    };
    kept.timer ??= setTimeout(onDue, waitMs).unref();
  }

  #tell(kept: Kept): void {
    this.#forget(kept);
    this.#parts.tell(kept.push);
  }

  #forget(kept: Kept): void {
    const { userid, offset, timer } = kept;
    clearTimeout(timer);
    this.#size--;
    const all = this.#byUser.get(userid);
    all?.delete(offset);
    if (all?.size === 0) this.#byUser.delete(userid);
  }
}
