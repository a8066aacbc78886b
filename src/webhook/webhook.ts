/**
 * Events on their way to a back end that is called: a webhook, as *Standard Webhooks* (standardwebhooks.com) has them.
 *
 *   event ──► lane of its session ──► ready ──► one of `connections` requests ──► taken
 *                     ▲                               │ not taken
 *                     └── after a pause, which grows ◄┘
 *
 * A session's events are in one lane, and the next of a lane is sent when the one before was taken: so they arrive in their order, and one
 * that is not taken holds up nobody but its own session. When nothing at all is taken any more, one request at a time finds out when
 * that is over. An event may arrive twice, as nobody knows whether a request whose answer was lost has been taken; then it has the
 * same id.
 *
 * What waits is bounded. When it is full, the oldest events of coming and going make room; when only messages wait, no more are
 * taken (`hasRoom`), and the client that sends one is told.
 */
import { createHmac } from "node:crypto";
import type { LoggedEvent } from "../events.ts";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";

export interface WebhookOptions {
  readonly url: string;
  /** What the requests are signed with, each; without any they are not. */
  readonly secrets: readonly Uint8Array[];
  /** How long an answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** For how long an event is tried, in milliseconds. */
  readonly retryMs: number;
  /** What may wait, in bytes. */
  readonly maxBytes: number;
  readonly logger: Logger;
  /** The largest answer that is a message, in bytes. */
  readonly maxReply: number;
  /** What this session has sent was taken, and answered with this text. */
  readonly onReply: (session: string, reply: string) => void;
  readonly onOutcome: (outcome: WebhookOutcome) => void;
}

const connections = 32;
const firstPauseMs = 500;
const longestPauseMs = 60_000;
/** What an event is reckoned at beside its text. */
const overheadBytes = 256;

interface Queued {
  readonly event: LoggedEvent;
  readonly bytes: number;
  readonly since: number;
  isDropped: boolean;
}

interface Lane {
  readonly key: string;
  readonly queue: Queued[];
  attempts: number;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes whose first event may be sent now, in turn. */
  readonly #ready = new Set<Lane>();
  /** All that waits, the oldest first. */
  readonly #waiting = new Map<Offset, Queued>();
  /** What of it may make room. */
  readonly #droppable = new Set<Queued>();
  readonly #requests = new Set<AbortController>();
  #bytes = 0;
  #droppableBytes = 0;
  /** Up to where it has been offered everything. */
  #offered: Offset;
  #failuresInARow = 0;
  #probe: Timer | undefined = undefined;
  readonly #pauses = new Set<Timer>();
  #isClosed = false;

  /** @param after the event up to which everything was taken before */
  constructor(options: WebhookOptions, after: Offset) {
    this.#options = options;
    this.#offered = after;
  }

  /** How many events wait, those that are being sent among them. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Up to where everything was taken, or given up: what comes after it is sent again after a restart. */
  get taken(): Offset {
    for (const oldest of this.#waiting.keys()) return oldest - 1;
    return this.#offered;
  }

  /** Whether a message of so many bytes can wait. */
  hasRoom(bytes: number): boolean {
    return this.#bytes - this.#droppableBytes + bytes + overheadBytes <= this.#options.maxBytes;
  }

  /** Sends it when its turn comes. */
  offer(event: LoggedEvent): void {
    this.#offered = event.offset;
    const bytes = event.json.length + overheadBytes;
    const queued = { event, bytes, since: Date.now(), isDropped: false };
    const isDroppable = event.type !== "message.received";
    for (const oldest of this.#droppable) {
      if (this.#bytes + bytes <= this.#options.maxBytes) break;
      this.#drop(oldest);
    }
    if (isDroppable && this.#bytes + bytes > this.#options.maxBytes)
      return this.#options.onOutcome("dropped");
    this.#bytes += bytes;
    this.#waiting.set(event.offset, queued);
    if (isDroppable) {
      this.#droppable.add(queued);
      this.#droppableBytes += bytes;
    }
    const key = toLane(event);
    const lane = this.#lanes.get(key);
    if (lane !== undefined) {
      lane.queue.push(queued);
      return;
    }
    const own = { key, queue: [queued], attempts: 0 };
    this.#lanes.set(key, own);
    this.#ready.add(own);
    this.#pump();
  }

  /** Resolves when nothing waits any more, or after so many milliseconds. */
  async flush(timeMs: number): Promise<void> {
    const deadline = performance.now() + timeMs;
    while (this.#waiting.size > 0 && performance.now() < deadline) await Bun.sleep(flushPollMs);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#probe);
    for (const pause of this.#pauses) clearTimeout(pause);
    for (const request of this.#requests) request.abort();
  }

  /** When nothing is taken any more: so many failures in a row are not those of one session. */
  get #isBroken(): boolean {
    return this.#failuresInARow >= connections;
  }

  #pump(): void {
    if (this.#isClosed || this.#probe !== undefined) return;
    for (const lane of this.#ready) {
      if (this.#requests.size >= (this.#isBroken ? 1 : connections)) return;
      this.#ready.delete(lane);
      const queued = this.#first(lane);
      if (queued === undefined) this.#lanes.delete(lane.key);
      else void this.#attempt(lane, queued);
    }
  }

  /** The lane's first event that is still to be sent. */
  #first({ queue }: Lane): Queued | undefined {
    for (let first = queue[0]; first !== undefined; first = queue[0]) {
      const isOver = Date.now() - first.since > this.#options.retryMs;
      if (!first.isDropped && !isOver) return first;
      queue.shift();
      if (!first.isDropped) this.#settle(first, "expired");
    }
    return undefined;
  }

  async #attempt(lane: Lane, queued: Queued): Promise<void> {
    const controller = new AbortController();
    this.#requests.add(controller);
    const timer = setTimeout(() => controller.abort(), this.#options.timeoutMs);
    const answer = await this.#post(queued.event, controller.signal);
    clearTimeout(timer);
    this.#requests.delete(controller);
    if (this.#isClosed) return;
    if (answer.isTaken) this.#succeed(lane, queued, answer.reply);
    else this.#fail(lane, answer);
    this.#pump();
  }

  #succeed(lane: Lane, queued: Queued, reply: string | undefined): void {
    if (this.#isBroken)
      this.#options.logger.info("a webhook takes events again", {
        url: toShown(this.#options.url),
        waiting: this.size,
      });
    this.#failuresInARow = 0;
    lane.attempts = 0;
    lane.queue.shift();
    this.#settle(queued, "taken");
    if (reply !== undefined && reply !== "") this.#reply(queued.event, reply);
    if (lane.queue.length > 0) this.#ready.add(lane);
    else this.#lanes.delete(lane.key);
  }

  #reply({ type, json }: LoggedEvent, reply: string): void {
    if (type === "message.received") this.#options.onReply(readData(json).session ?? "", reply);
  }

  #fail(lane: Lane, { reason, retryAfterMs = 0 }: Refusal): void {
    const { logger, onOutcome, url } = this.#options;
    onOutcome("failed");
    this.#failuresInARow++;
    if (this.#failuresInARow === 1 || this.#failuresInARow === connections)
      logger.warn(this.#isBroken ? "a webhook takes no events" : "a webhook did not take an event", {
        url: toShown(url),
        reason,
        waiting: this.size,
      });
    if (!this.#isBroken) {
      this.#pause(toPause(lane.attempts++, retryAfterMs), () => this.#ready.add(lane));
      return;
    }
    // Nobody in particular is to blame, so nobody in particular waits.
    this.#ready.add(lane);
    this.#probe ??= setTimeout(
      () => {
        this.#probe = undefined;
        this.#pump();
      },
      Math.min(toPause(this.#failuresInARow - connections, retryAfterMs), longestProbeMs),
    );
  }

  #pause(ms: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.#pauses.delete(timer);
      then();
      this.#pump();
    }, ms);
    this.#pauses.add(timer);
  }

  async #post({ id, json }: LoggedEvent, signal: AbortSignal): Promise<Answer> {
    try {
      const response = await fetch(this.#options.url, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...this.#sign(id, json) },
        body: json,
        redirect: "manual",
        signal,
      });
      const reply = await readLimited(response, this.#options.maxReply);
      if (response.ok) return { isTaken: true, reply: response.status === 200 ? reply : undefined };
      const retryAfter = Number(response.headers.get("retry-after"));
      return {
        isTaken: false,
        reason: `it answered ${response.status}`,
        ...(retryAfter > 0 && { retryAfterMs: retryAfter * 1000 }),
      };
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      return { isTaken: false, reason: signal.aborted ? `no answer in ${this.#options.timeoutMs} ms` : what };
    }
  }

  /** The headers of Standard Webhooks: over all secrets, so that one can be replaced by another. */
  #sign(id: string, json: string): Record<string, string> {
    const timestamp = String(Math.floor(Date.now() / 1000));
    const signatures = this.#options.secrets.map(
      (secret) => `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.${json}`).digest("base64")}`,
    );
    return {
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      ...(signatures.length > 0 && { "webhook-signature": signatures.join(" ") }),
    };
  }

  #drop(queued: Queued): void {
    queued.isDropped = true;
    this.#settle(queued, "dropped");
  }

  #settle(queued: Queued, outcome: WebhookOutcome): void {
    this.#waiting.delete(queued.event.offset);
    this.#bytes -= queued.bytes;
    if (this.#droppable.delete(queued)) this.#droppableBytes -= queued.bytes;
    this.#options.onOutcome(outcome);
  }
}

interface Refusal {
  readonly isTaken: false;
  readonly reason: string;
  readonly retryAfterMs?: number;
}

type Answer = Refusal | { readonly isTaken: true; readonly reply: string | undefined };

const flushPollMs = 10;
const longestProbeMs = 15_000;

/** What has to arrive in order: what is of one session, or of one user. All else is each for itself. */
function toLane({ id, type, json }: LoggedEvent): string {
  if (type === "message.unclaimed") return id;
  const { session, userid } = readData(json);
  return session === undefined ? `user ${userid}` : `session ${session}`;
}

/** What `Events.record` has written. */
function readData(json: string): { readonly session?: string; readonly userid?: string } {
  return (JSON.parse(json) as { data: { session?: string; userid?: string } }).data;
}

/** Twice as long each time, and at random the half of it, so that many lanes do not come back at one moment. */
function toPause(attempts: number, retryAfterMs: number): number {
  const longest = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(attempts, 16));
  return Math.max(longest * (0.5 + Math.random() / 2), Math.min(retryAfterMs, longestPauseMs));
}

/** Without what a URL may have of a secret: its user, its query. */
export function toShown(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** The text of an answer, or `undefined` when it is larger. The connection can be used again only after it was read. */
async function readLimited(response: Response, limit: number): Promise<string | undefined> {
  const length = response.headers.get("content-length");
  if (length !== null && Number(length) <= limit) return await response.text();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
