/**
 * What stands between the events and a webhook, which runs in a thread of its own.
 *
 *   events ──► all of a turn ──► worker: queue, requests
 *                                   │
 *   sessions ◄── replies ◄──────────┤
 *   cursors, room ◄── what is taken ┘
 *
 * A webhook that is behind, as the server has just begun, is sent what it has not from the log, as much at a time as it has room for; only
 * then what comes. When the worker ends although nobody told it to, another one is started, and is behind.
 */
import type { EventType } from "../event-types.ts";
import type { Events, LoggedEvent } from "../events.ts";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
import { Notices } from "./notices.ts";
import { mostExcept, type Place, readFrom, toShown } from "./places.ts";
import type { Report, ToWorker } from "./post-worker.ts";
import type { Target } from "./request.ts";
import { weigh, type WebhookOptions } from "./webhook.ts";

export interface CourierParts
  extends Target, Pick<WebhookOptions, "retryMs" | "maxBytes" | "onReply" | "pauses"> {
  readonly events: Events;
  /** The types that are sent. */
  readonly types: readonly EventType[];
  /** Which events it has. */
  readonly place: Place;
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly onOutcome: (outcome: WebhookOutcome, count: number) => void;
  /** For a test that wants to end it. */
  readonly startWorker?: () => Worker;
}

const flushPollMs = 10;
const restartMs = 1000;
/** So many events are under way to the worker when it is behind. All that its place excepts is: the worker must know of it from the beginning. */
const mostUnderWay = mostExcept + 100;

export class Courier {
  readonly #parts: CourierParts;
  readonly #wanted: ReadonlySet<EventType>;
  readonly #notices: Notices;
  readonly #stopListening: () => void;
  #worker: Worker | undefined = undefined;
  #restart: Timer | undefined = undefined;
  /** What is left to be read from the log, while the webhook is behind. */
  #backlog: Iterator<LoggedEvent, void> | undefined = undefined;
  /** What the worker is sent at the end of this turn. */
  #offsets: Offset[] = [];
  #texts: string[] = [];
  /** How many events the worker was or will be sent, what they weigh, and what the messages among them do. */
  #sent = 0;
  #sentBytes = 0;
  #sentMessageBytes = 0;
  /** How many of them, the first, its place excepts. */
  #excepted = 0;
  /** What the messages weigh that are known to be in the log only, as the webhook is behind. */
  #behindBytes = 0;
  /** The newest event when it began: of what is left of earlier runs, nobody knows the weight before it is read. */
  readonly #headAtBegin: Offset;
  /** What it has told last. */
  #state: Report["state"];
  #place: Place;
  /** The newest event there is. */
  #newest: Offset;
  #isClosed = false;
  #whenEnded = () => {};

  constructor(parts: CourierParts) {
    const { url, events, logger, types, place } = parts;
    this.#parts = parts;
    this.#wanted = new Set(types);
    this.#notices = new Notices(logger, { url: toShown(url) });
    this.#place = place;
    this.#newest = events.head;
    this.#headAtBegin = events.head;
    this.#state = unused;
    this.#start();
    this.#stopListening = events.listen((event) => this.#take(event));
  }

  /** How many events wait for the webhook, but for those that it is behind. */
  get size(): number {
    return this.#sent - this.#state.settled;
  }

  /** Which events it has. */
  get place(): Place {
    return this.#hasAll ? { after: this.#newest, except: [] } : this.#place;
  }

  /**
   * Whether a message of so many bytes can wait. Only messages count: of what else waits, the oldest makes room for them, or is in the log
   * until there is room.
   */
  hasRoom(bytes: number): boolean {
    if (!this.#wanted.has("message.received")) return true;
    const { maxBytes, events } = this.#parts;
    const waiting = this.#messageBytes + this.#behindBytes + events.underWay;
    // What it is behind fills its queue to the half.
    const isFull = waiting + bytes > maxBytes || (this.#backlog !== undefined && waiting > maxBytes / 2);
    if (isFull)
      this.#notices.warn("a webhook's queue is full: messages of clients are refused", {
        waiting: this.size,
        limit: maxBytes,
      });
    return !isFull;
  }

  async flush(timeMs: number): Promise<void> {
    const deadline = performance.now() + timeMs;
    while (!this.#hasAll && performance.now() < deadline) await Bun.sleep(flushPollMs);
  }

  async close(): Promise<void> {
    this.#stopListening();
    this.#isClosed = true;
    clearTimeout(this.#restart);
    if (this.#worker === undefined) return;
    const ended = new Promise<void>((resolve) => (this.#whenEnded = resolve));
    this.#post({ kind: "close" });
    await ended;
    this.#worker?.unref();
  }

  get #hasAll(): boolean {
    return this.#worker !== undefined && this.#backlog === undefined && this.size === 0;
  }

  get #hasRoomForBacklog(): boolean {
    const underWay = this.#sentBytes - this.#state.arrivedBytes;
    return this.#state.bytes + underWay <= this.#parts.maxBytes / 2;
  }

  /** What the messages weigh that the worker was sent and that wait. */
  get #messageBytes(): number {
    return this.#sentMessageBytes - this.#state.settledBytes;
  }

  #start(): void {
    const { startWorker = startPosting, events, types, place: _, ...parts } = this.#parts;
    const { url, secrets, timeoutMs, maxReply, retryMs, maxBytes, pauses } = parts;
    const worker = startWorker();
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Report>) => this.#takeReport(worker, data);
    worker.onerror = ({ message }) => this.#end(worker, message);
    worker.addEventListener("close", () => this.#end(worker, "it stopped"));
    this.#post({
      kind: "open",
      target: { url, secrets, timeoutMs, maxReply },
      options: { name: toShown(url), retryMs, maxBytes, ...(pauses !== undefined && { pauses }) },
      epoch: events.epoch,
      after: this.#place.after,
    });
    // What one before it had and has not settled is read from the log again.
    this.#behindBytes += this.#messageBytes;
    [this.#sent, this.#sentBytes, this.#sentMessageBytes, this.#state] = [0, 0, 0, unused];
    this.#excepted = this.#place.except.length;
    this.#backlog = readFrom(events, types, this.#place, (missed) =>
      this.#notices.warn("a webhook misses events that are not kept any more", { missed }),
    );
    this.#catchUp();
  }

  #catchUp(): void {
    while (this.#backlog !== undefined && (this.#sent < this.#excepted || this.#hasRoomForBacklog)) {
      if (this.#sent - this.#state.arrived >= mostUnderWay) return;
      const { value, done } = this.#backlog.next();
      // It has read everything in this very turn, so nothing came after it that it has not seen.
      if (done === true) [this.#backlog, this.#behindBytes] = [undefined, 0];
      else this.#sendLate(value);
    }
  }

  #take(event: LoggedEvent): void {
    this.#newest = event.offset;
    if (!this.#wanted.has(event.type)) return;
    // What comes while it is behind is read from the log.
    if (this.#worker === undefined || this.#backlog !== undefined) this.#behindBytes += weighMessage(event);
    else this.#send(event);
  }

  #sendLate(event: LoggedEvent): void {
    if (event.offset > this.#headAtBegin)
      this.#behindBytes = Math.max(0, this.#behindBytes - weighMessage(event));
    this.#send(event);
  }

  #send(event: LoggedEvent): void {
    if (this.#offsets.length === 0) setImmediate(() => this.#sendAll());
    this.#offsets.push(event.offset);
    this.#texts.push(event.json);
    this.#sent++;
    this.#sentBytes += weigh(event.json);
    this.#sentMessageBytes += weighMessage(event);
  }

  #sendAll(): void {
    if (this.#offsets.length > 0) this.#post({ kind: "events", offsets: this.#offsets, texts: this.#texts });
    [this.#offsets, this.#texts] = [[], []];
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #takeReport(worker: Worker, { state, place, outcomes, replies, lines, isLast }: Report): void {
    if (this.#worker !== worker) return;
    const { logger, onOutcome, onReply } = this.#parts;
    this.#state = state;
    this.#place = place ?? this.#place;
    for (const [outcome, count] of outcomes) onOutcome(outcome, count);
    for (const { session, text } of replies) onReply(session, text);
    for (const { level, event, fields } of lines) logger[level](event, fields);
    if (isLast) this.#whenEnded();
    else this.#catchUp();
  }

  #end(worker: Worker, reason: string): void {
    if (this.#worker !== worker) return;
    this.#place = this.place;
    this.#worker = undefined;
    [this.#offsets, this.#texts] = [[], []];
    this.#whenEnded();
    if (this.#isClosed) return;
    this.#notices.warn("what posts to a webhook has ended, and is started again", { reason });
    this.#restart = setTimeout(() => this.#start(), restartMs);
  }
}

const unused: Report["state"] = { arrived: 0, arrivedBytes: 0, settled: 0, settledBytes: 0, bytes: 0 };

function weighMessage({ type, json }: LoggedEvent): number {
  return type === "message.received" ? weigh(json) : 0;
}

function startPosting(): Worker {
  return new Worker(new URL("./post-worker.ts", import.meta.url).href);
}
