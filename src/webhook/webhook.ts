/**
 * Events on their way to a back end that is called.
 *
 *   event ──► lane of its session ──► ready ──► one of `connections` requests ──► taken
 *                     ▲                               │ not taken
 *                     └── after a pause, which grows ◄┘
 *
 * A session's events are in one lane, and the next of a lane is sent when the one before was taken: so they arrive in their order, and one
 * that is not taken holds up nobody but its own session. Lanes that are tried again have no more than half of the requests, so that many
 * whose requests hang leave room for the others. When nothing is taken any more, whoever's event it is, the back end is down: a request now
 * and then finds out when that is over.
 *
 * An event may arrive twice, as nobody knows whether a request whose answer was lost has been taken; then it has the same id.
 *
 * What waits is bounded. When it is full, the oldest events of coming and going make room. Messages are never dropped: whoever offers them asks
 * before whether there is room (`settledBytes`).
 */
import type { LoggedEvent } from "../events.ts";
import { type Offset, sizeOf } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
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

interface Queued {
  readonly event: LoggedEvent;
  readonly bytes: number;
  readonly since: number;
  readonly lane: Lane;
  isSending: boolean;
}

interface Lane {
  readonly key: string;
  /** Never empty. */
  readonly queue: Queued[];
  /** How often its first event was tried, and how many the webhook had taken before that. */
  attempts: number;
  takenBefore: number;
  pause: Timer | undefined;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #pauses: Pauses;
  readonly #notices: Notices;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes whose first event may be sent now, in turn: those where it was not tried yet, and the others. */
  readonly #fresh = new Set<Lane>();
  readonly #again = new Set<Lane>();
  #newestLane: Lane | undefined = undefined;
  /** All that waits, the oldest first. */
  readonly #waiting = new Map<Offset, Queued>();
  /** What of it may make room. */
  readonly #droppable = new Set<Queued>();
  #bytes = 0;
  #sending = 0;
  #sendingAgain = 0;
  #settledBytes = 0;
  #arrived = 0;
  /** Up to where it has been offered everything. */
  #newest: Offset;
  #taken = 0;
  /** Lanes that have failed since something was taken. */
  readonly #failing = new Set<string>();
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

  /** What waits, in bytes; and how many bytes of messages wait no more, of all that it was offered. */
  get bytes(): number {
    return this.#bytes;
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
    const isDroppable = event.type !== "message.received";
    if (!this.#makeRoom(bytes) && isDroppable) return this.#options.onOutcome("dropped");
    const key = toLaneKey(event);
    const known = this.#lanes.get(key);
    const lane = known ?? { key, queue: [], attempts: 0, takenBefore: 0, pause: undefined };
    const queued = { event, bytes, since: Date.now(), lane, isSending: false };
    this.#bytes += bytes;
    this.#waiting.set(event.offset, queued);
    lane.queue.push(queued);
    if (isDroppable) this.#droppable.add(queued);
    if (known === undefined) {
      this.#lanes.set(key, lane);
      this.#fresh.add(lane);
      this.#newestLane = lane;
    }
    this.#pump();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    clearTimeout(this.#probe);
    for (const { pause } of this.#lanes.values()) clearTimeout(pause);
  }

  /** So many sessions without one event that is taken are not to blame themselves. */
  get #isDown(): boolean {
    return this.#failing.size >= connections;
  }

  /** Drops the oldest that may be dropped, as long as that is needed; tells whether there is room then. */
  #makeRoom(bytes: number): boolean {
    const { maxBytes } = this.#options;
    if (this.#bytes + bytes <= maxBytes) return true;
    this.#notices.warn("a webhook's queue is full: the oldest events of coming and going are dropped", {
      waiting: this.#waiting.size,
      limit: maxBytes,
    });
    for (const oldest of this.#droppable) {
      if (this.#bytes + bytes <= maxBytes) break;
      this.#remove(oldest, "dropped");
    }
    return this.#bytes + bytes <= maxBytes;
  }

  #remove(queued: Queued, outcome: WebhookOutcome): void {
    const { event, bytes, lane } = queued;
    this.#waiting.delete(event.offset);
    this.#bytes -= bytes;
    if (event.type === "message.received") this.#settledBytes += bytes;
    this.#droppable.delete(queued);
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
    const before = Date.now() - this.#options.retryMs;
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
      void this.#attempt(queued);
      if (this.#isDown) this.#probeLater(0);
    }
  }

  #nextLane(): Lane | undefined {
    if (!this.#isDown) {
      const again = this.#sendingAgain < connections / 2 ? first(this.#again) : undefined;
      return again ?? first(this.#fresh);
    }
    // Those that have failed may be to blame themselves after all, and the older the likelier.
    const newest = this.#newestLane !== undefined && this.#fresh.has(this.#newestLane);
    return newest ? this.#newestLane : (first(this.#fresh) ?? first(this.#again));
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
    this.#droppable.delete(queued);
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
    if (this.#isDown || lane.attempts > 1)
      this.#notices.over("a webhook takes events again", { waiting: this.#waiting.size });
    this.#failing.clear();
    this.#probes = 0;
    clearTimeout(this.#probe);
    this.#probe = undefined;
    this.#remove(queued, "taken");
    if (reply !== undefined && reply !== "") this.#options.onReply(toSession(event.json) ?? "", reply);
    if (unusable !== undefined)
      this.#notices.warn("the answer of a webhook cannot be sent to its session", { reason: unusable });
  }

  #fail(queued: Queued, { reason, retryAfterMs = 0 }: Refusal): void {
    const { event, lane } = queued;
    const { id, type } = event;
    this.#options.onOutcome("failed");
    if (type !== "message.received") this.#droppable.add(queued);
    const wasDown = this.#isDown;
    if (!wasDown) this.#failing.add(lane.key);
    if (this.#isDown && !wasDown)
      this.#notices.warn("a webhook takes no events", { reason, waiting: this.#waiting.size });
    else
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
    // Where others are taken, it is the event that is not liked.
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

function first<Item>(items: Iterable<Item>): Item | undefined {
  for (const item of items) return item;
  return undefined;
}

/** What has to arrive in order: what is of one session, or of one user. All else is each for itself. */
function toLaneKey({ id, type, json }: LoggedEvent): string {
  if (type === "message.unclaimed") return id;
  const session = toSession(json);
  if (session !== undefined) return session;
  const { data } = JSON.parse(json) as { data: { userid?: string } }; // as `Events.record` has written it
  return `user ${data.userid}`;
}

/** A message may be long, so it is not parsed for what stands before it. */
const beforeMessage = /^\{"type":"[\w.]+","timestamp":"[\w.:-]+","data":\{"session":"([\w-]+)"/;

function toSession(json: string): string | undefined {
  return beforeMessage.exec(json)?.[1];
}
