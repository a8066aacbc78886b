/**
 * Events on their way to a back end that is called.
 *
 *   event ──► lane of its session ──► ready ──► one of `connections` requests ──► taken
 *                     ▲                               │ not taken
 *                     └── after a pause, which grows ◄┘
 *
 * A session's events are in one lane, and the next of a lane is sent when the one before was taken: so they arrive in their order, and one
 * that is not taken holds up nobody but its own session. Lanes that are tried again have no more than half of the requests, so that many
 * whose requests hang leave room for the others. When there is no more than errors, whoever's event it is, the back end is down: a request now
 * and then finds out when that is over. A back end that refuses an event as such (400, 404, 422, …) is there, and is not down, however many
 * it refuses. Messages and all else take turns, so that neither waits for what the back end does not like of the other.
 *
 * An event may arrive twice, as nobody knows whether a request whose answer was lost has been taken; then it has the same id.
 *
 * What waits is bounded. When it is full, the oldest events of coming and going make room, and when there are none left, the oldest that tell what
 * found nobody. Messages are never dropped: whoever offers them asks before whether there is room (`settledBytes`).
 */
import type { LoggedEvent } from "../events.ts";
import { type Offset, sizeOf } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
import { type Kind, type Lane, type Queued, ReadyLanes, toKind, toLaneKey, toSession } from "./lanes.ts";
import { type Lines, Notices } from "./notices.ts";
import { mostExcept, type Place } from "./places.ts";
import type { Answer, Letter, Refusal, Taken } from "./request.ts";

/** How long an event waits to be tried again: from `first` on, twice as long each time. In milliseconds. */
export interface Pauses {
  readonly first: number;
  /** While nothing at all is taken: about this long after a back end is there again, it has events. */
  readonly longestWhileDown: number;
  /** While others are taken. */
  readonly longest: number;
}

export interface WebhookOptions {
  /** As it is shown, without a secret. */
  readonly name: string;
  /** Tries it once; never rejects. */
  readonly post: (letter: Letter) => Promise<Answer>;
  /** For how long an event is tried, in milliseconds. */
  readonly retryMs: number;
  /** What may wait, in bytes. */
  readonly maxBytes: number;
  readonly logger: Lines;
  /** What this session has sent was taken, and answered with this text. */
  readonly onReply: (session: string, reply: string) => void;
  readonly onOutcome: (outcome: WebhookOutcome) => void;
  readonly pauses?: Pauses;
}

/** How many requests there are at once. */
export const connections = 32;

const defaultPauses: Pauses = { first: 500, longestWhileDown: 10_000, longest: 60_000 };
/** A back end that asks for more is asked again all the same. */
const longestRetryAfterMs = 60_000;
/** What an event is reckoned at beside its text. */
const overheadBytes = 512;
const sweepMs = 1000;

/** What an event takes of the queue, in bytes. */
export function weigh(json: string): number {
  return sizeOf(json) + overheadBytes;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #pauses: Pauses;
  readonly #notices: Notices;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes whose first event may be sent now, in turn: those where it was not tried yet, and the others. */
  readonly #fresh = new ReadyLanes();
  readonly #again = new ReadyLanes();
  readonly #newestLanes: Partial<Record<Kind, Lane>> = {};
  /** What is sent next, if there is any of it. */
  #turn: Kind = "messages";
  /** All that waits, the oldest first. */
  readonly #waiting = new Map<Offset, Queued>();
  /** What of it may make room: what comes and goes first, as on what found nobody somebody's e-mail depends. */
  readonly #comings = new Set<Queued>();
  readonly #unclaimed = new Set<Queued>();
  #bytes = 0;
  #sending = 0;
  #sendingAgain = 0;
  #settledBytes = 0;
  #arrived = 0;
  #arrivedBytes = 0;
  /** Up to where it has been offered everything. */
  #newest: Offset;
  #taken = 0;
  /** Lanes that have failed since the back end has shown that it is there. */
  readonly #failing = new Set<string>();
  /** Whether the log says that it is down. */
  #isToldDown = false;
  #probes = 0;
  #probe: Timer | undefined = undefined;
  readonly #sweep: Timer;
  #isClosed = false;

  /** @param after it has everything up to there, but for what it is offered */
  constructor(options: WebhookOptions, after: Offset) {
    this.#options = options;
    this.#pauses = options.pauses ?? defaultPauses;
    this.#notices = new Notices(options.logger, { url: options.name });
    this.#newest = after;
    this.#sweep = setInterval(() => this.#expire(), Math.min(sweepMs, options.retryMs));
    this.#sweep.unref();
  }

  /** How many events it was offered, and how many of them wait no more. */
  get arrived(): number {
    return this.#arrived;
  }

  get settled(): number {
    return this.#arrived - this.#waiting.size;
  }

  /** What waits, and what it was offered, in bytes; and how many bytes of messages wait no more, of all that it was offered. */
  get bytes(): number {
    return this.#bytes;
  }

  get arrivedBytes(): number {
    return this.#arrivedBytes;
  }

  get settledBytes(): number {
    return this.#settledBytes;
  }

  /** Which events were taken, or given up. */
  get place(): Place {
    const except: Offset[] = [];
    for (const offset of this.#waiting.keys()) {
      if (except.length === mostExcept) return { after: offset - 1, except };
      except.push(offset);
    }
    return { after: this.#newest, except };
  }

  /** Sends it when its turn comes. */
  offer(event: LoggedEvent): void {
    this.#arrived++;
    this.#newest = Math.max(this.#newest, event.offset);
    const bytes = weigh(event.json);
    this.#arrivedBytes += bytes;
    const droppable = this.#droppableLike(event);
    if (!this.#makeRoom(bytes, droppable) && droppable !== undefined)
      return this.#options.onOutcome("dropped");
    const key = toLaneKey(event);
    const known = this.#lanes.get(key);
    const lane = known ?? { key, queue: [], attempts: 0, takenBefore: 0, pause: undefined };
    const queued = { event, bytes, since: performance.now(), lane, isSending: false };
    this.#bytes += bytes;
    this.#waiting.set(event.offset, queued);
    lane.queue.push(queued);
    droppable?.add(queued);
    if (known === undefined) {
      this.#lanes.set(key, lane);
      this.#fresh.add(lane);
      this.#newestLanes[toKind(lane)] = lane;
    }
    this.#pump();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    clearTimeout(this.#probe);
    for (const { pause } of this.#lanes.values()) clearTimeout(pause);
  }

  /** So many sessions without one answer that tells of life are not to blame themselves. */
  get #isDown(): boolean {
    return this.#failing.size >= connections;
  }

  /** Those that make room as this one does; a message does not. */
  #droppableLike({ type }: LoggedEvent): Set<Queued> | undefined {
    if (type === "message.received") return undefined;
    return type === "message.unclaimed" ? this.#unclaimed : this.#comings;
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.#options.maxBytes;
  }

  /**
   * Drops the oldest that may be dropped, as long as that is needed; tells whether there is room then.
   *
   * @param own those among which it will be itself: what comes and goes does not drive out what found nobody
   */
  #makeRoom(bytes: number, own: ReadonlySet<Queued> | undefined): boolean {
    if (this.#hasRoom(bytes)) return true;
    const steps = [
      [this.#comings, "the oldest events of coming and going are dropped"],
      [this.#unclaimed, "the oldest events of what found nobody are dropped too"],
    ] as const;
    for (const [droppable, what] of steps) {
      if (this.#hasRoom(bytes)) break;
      if (droppable.size > 0 || droppable === own)
        this.#notices.warn(`a webhook's queue is full: ${what}`, {
          waiting: this.#waiting.size,
          limit: this.#options.maxBytes,
        });
      for (const oldest of droppable) {
        if (this.#hasRoom(bytes)) break;
        this.#remove(oldest, "dropped");
      }
      if (own === this.#comings) break;
    }
    return this.#hasRoom(bytes);
  }

  #remove(queued: Queued, outcome: WebhookOutcome): void {
    const { event, bytes, lane } = queued;
    this.#waiting.delete(event.offset);
    this.#bytes -= bytes;
    if (event.type === "message.received") this.#settledBytes += bytes;
    this.#droppableLike(event)?.delete(queued);
    const place = lane.queue.indexOf(queued);
    lane.queue.splice(place, 1);
    this.#options.onOutcome(outcome);
    if (place > 0) return;
    // What it waited for is over.
    clearTimeout(lane.pause);
    this.#fresh.delete(lane);
    this.#again.delete(lane);
    lane.pause = undefined;
    lane.attempts = 0;
    if (lane.queue.length > 0) this.#fresh.add(lane);
    else this.#lanes.delete(lane.key);
  }

  #expire(): void {
    const before = performance.now() - this.#options.retryMs;
    for (const queued of this.#waiting.values()) {
      if (queued.since > before) break;
      if (queued.isSending) continue;
      const { id, type } = queued.event;
      const { attempts } = queued.lane;
      this.#notices.warn("a webhook did not take an event in time, and it is given up", {
        id,
        type,
        attempts,
      });
      this.#remove(queued, "expired");
    }
    this.#pump();
  }

  #pump(): void {
    if (this.#isClosed) return;
    while (this.#sending < connections && this.#probe === undefined) {
      const lane = this.#nextLane();
      const queued = lane?.queue[0];
      if (lane === undefined || queued === undefined) return;
      this.#fresh.delete(lane);
      this.#again.delete(lane);
      this.#turn = toOther(toKind(lane));
      void this.#attempt(queued);
      if (this.#isDown) this.#probeLater(0);
    }
  }

  #nextLane(): Lane | undefined {
    const [turn, other] = [this.#turn, toOther(this.#turn)];
    if (this.#isDown) return this.#findProbe(turn) ?? this.#findProbe(other);
    const mayBeAgain = this.#sendingAgain < connections / 2;
    const again = mayBeAgain ? (this.#again.first(turn) ?? this.#again.first(other)) : undefined;
    return again ?? this.#fresh.first(turn) ?? this.#fresh.first(other);
  }

  /** Those that have failed may be to blame themselves after all, and the older the likelier. */
  #findProbe(kind: Kind): Lane | undefined {
    const newest = this.#newestLanes[kind];
    if (newest !== undefined && this.#fresh.has(newest, kind)) return newest;
    return this.#fresh.first(kind) ?? this.#again.first(kind);
  }

  /** Sends nothing for a while. */
  #probeLater(retryAfterMs: number): void {
    clearTimeout(this.#probe);
    this.#probe = setTimeout(
      () => {
        this.#probe = undefined;
        this.#pump();
      },
      this.#toPause(this.#probes++, this.#pauses.longestWhileDown, retryAfterMs),
    );
  }

  async #attempt(queued: Queued): Promise<void> {
    const { lane, event } = queued;
    const isAgain = lane.attempts > 0;
    if (!isAgain) lane.takenBefore = this.#taken;
    lane.attempts++;
    queued.isSending = true;
    this.#droppableLike(event)?.delete(queued);
    this.#sending++;
    if (isAgain) this.#sendingAgain++;
    const { id, json, type } = event;
    const answer = await this.#options.post({ id, json, wantsReply: type === "message.received" });
    this.#sending--;
    if (isAgain) this.#sendingAgain--;
    queued.isSending = false;
    if (this.#isClosed) return;
    if (answer.isTaken) this.#succeed(queued, answer);
    else this.#fail(queued, answer);
    this.#pump();
  }

  #succeed(queued: Queued, { reply, unusable }: Taken): void {
    const { event, lane } = queued;
    this.#taken++;
    if (this.#isToldDown || lane.attempts > 1)
      this.#notices.over("a webhook takes events again", { waiting: this.#waiting.size });
    this.#isToldDown = false;
    this.#endOutage();
    this.#remove(queued, "taken");
    if (reply !== undefined && reply !== "") this.#options.onReply(toSession(event.json) ?? "", reply);
    if (unusable !== undefined)
      this.#notices.warn("the answer of a webhook cannot be sent to its session", { reason: unusable });
  }

  #endOutage(): void {
    this.#failing.clear();
    this.#probes = 0;
    clearTimeout(this.#probe);
    this.#probe = undefined;
  }

  #fail(queued: Queued, { reason, isOfEvent, retryAfterMs = 0 }: Refusal): void {
    const { event, lane } = queued;
    const { id, type } = event;
    this.#options.onOutcome("failed");
    this.#droppableLike(event)?.add(queued);
    const wasDown = this.#isDown;
    if (isOfEvent) this.#endOutage();
    else if (!wasDown) this.#failing.add(lane.key);
    if (this.#isDown && !wasDown) {
      this.#turn = "messages";
      this.#isToldDown = true;
      this.#notices.warn("a webhook takes no events", { reason, waiting: this.#waiting.size });
    } else
      this.#notices.warn("a webhook did not take an event", {
        reason,
        id,
        type,
        waiting: this.#waiting.size,
      });
    if (this.#isDown) {
      // Nobody in particular is to blame, so nobody in particular waits.
      this.#again.add(lane);
      if (!wasDown || retryAfterMs > 0) this.#probeLater(retryAfterMs);
      return;
    }
    // Where others are taken, or it says so, it is the event that is not liked.
    const { longest, longestWhileDown } = this.#pauses;
    const most = this.#taken > lane.takenBefore ? longest : longestWhileDown;
    lane.pause = setTimeout(
      () => {
        lane.pause = undefined;
        this.#again.add(lane);
        this.#pump();
      },
      this.#toPause(lane.attempts - 1, most, retryAfterMs),
    );
  }

  /** Twice as long each time, and at random the half of it, so that many lanes do not come back at one moment. */
  #toPause(attempts: number, most: number, retryAfterMs: number): number {
    const pause = Math.min(most, this.#pauses.first * 2 ** Math.min(attempts, 16));
    return Math.max(pause * (0.5 + Math.random() / 2), Math.min(retryAfterMs, longestRetryAfterMs));
  }
}

function toOther(kind: Kind): Kind {
  return kind === "messages" ? "others" : "messages";
}
