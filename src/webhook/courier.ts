/**
 * What stands between the events and the webhooks, which run in a thread of their own.
 *
 *   events ──► all of a turn ──► worker: queues, requests
 *                                   │
 *   sessions ◄── replies ◄──────────┤
 *   cursors, room ◄── what is taken ┘
 *
 * When the worker ends although nobody told it to, another one is started, and gets from the log what was not taken.
 */
import type { EventType } from "../event-types.ts";
import type { Events, LoggedEvent } from "../events.ts";
import { HorizonPassed } from "../journal.ts";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
import { type Places, toName, toShown } from "./cursors.ts";
import { Notices } from "./notices.ts";
import type { Report, ToWorker } from "./post-worker.ts";
import type { Target } from "./request.ts";
import { weigh, type WebhookOptions } from "./webhook.ts";

export interface CourierParts
  extends Omit<Target, "url">, Pick<WebhookOptions, "retryMs" | "maxBytes" | "onReply" | "pauses"> {
  readonly urls: readonly string[];
  readonly events: Events;
  /** The types that are sent. */
  readonly types: readonly EventType[];
  /** Where each was when the server ran the last time. */
  readonly places: Places;
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly onOutcome: (outcome: WebhookOutcome, count: number) => void;
  /** For a test that wants to end it. */
  readonly startWorker?: () => Worker;
}

/** A webhook as this side knows it. */
interface Known {
  readonly url: string;
  /** As it is shown. */
  readonly name: string;
  /** How many events wait, and up to where all were taken, by the last report. */
  size: number;
  taken: Offset;
  /** Of messages: what it was offered since the worker began, and what of it waits no more. */
  offeredBytes: number;
  settledBytes: number;
}

const flushPollMs = 10;
const restartMs = 1000;
/** So many events at once, and the worker has them in memory no more than twice. */
const mostAtOnce = 1024;

export class Courier {
  readonly #parts: CourierParts;
  readonly #webhooks: readonly Known[];
  readonly #wanted: ReadonlySet<EventType>;
  readonly #notices: Notices;
  readonly #stopListening: () => void;
  #worker: Worker | undefined = undefined;
  #restart: Timer | undefined = undefined;
  /** What the worker is sent at the end of this turn. */
  #offsets: Offset[] = [];
  #events: string[] = [];
  /** The newest event that is sent or will be, and the newest that has arrived. */
  #sent: Offset = 0;
  #arrived: Offset = 0;
  /** The newest event there is. */
  #newest: Offset;
  #isClosed = false;
  #whenEnded = () => {};

  constructor(parts: CourierParts) {
    const { urls, events, logger, types } = parts;
    this.#parts = parts;
    this.#wanted = new Set(types);
    this.#notices = new Notices(logger, {});
    this.#webhooks = Array.from(new Set(urls), (url) => {
      const taken = locate(url, parts);
      return { url, name: toShown(url), size: 0, taken, offeredBytes: 0, settledBytes: 0 };
    });
    this.#newest = events.head;
    this.#start();
    this.#stopListening = events.listen((event) => this.#take(event));
  }

  get size(): number {
    return this.#webhooks.reduce((sum, { size }) => sum + size, 0);
  }

  hasRoom(bytes: number): boolean {
    const { maxBytes } = this.#parts;
    for (const { name, size, offeredBytes, settledBytes } of this.#webhooks) {
      if (offeredBytes - settledBytes + bytes <= maxBytes) continue;
      this.#notices.warn("a webhook's queue is full: messages of clients are refused", {
        url: name,
        waiting: size,
        limit: maxBytes,
      });
      return false;
    }
    return true;
  }

  async flush(timeMs: number): Promise<void> {
    const deadline = performance.now() + timeMs;
    while (!this.#webhooks.every((webhook) => this.#hasAll(webhook)) && performance.now() < deadline)
      await Bun.sleep(flushPollMs);
  }

  /** Where each is now. One that is left out for a while goes on where it was; those that differ only in a secret share a place. */
  readCursors(): ReadonlyMap<string, Offset> {
    const cursors = new Map<string, Offset>();
    for (const webhook of this.#webhooks) {
      const name = toName(webhook.url);
      const place = this.#toPlace(webhook);
      cursors.set(name, Math.min(place, cursors.get(name) ?? place));
    }
    return new Map([...this.#parts.places.cursors, ...cursors]);
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

  #hasAll({ size }: Known): boolean {
    return this.#worker !== undefined && this.#arrived === this.#sent && size === 0;
  }

  /** The newest event up to which everything was taken, given up, or is not for it. */
  #toPlace(webhook: Known): Offset {
    return this.#hasAll(webhook) ? this.#newest : webhook.taken;
  }

  #start(): void {
    const { startWorker = startPosting, events, types, secrets, timeoutMs, maxReply } = this.#parts;
    const { logger, retryMs, maxBytes, pauses } = this.#parts;
    const oldest = toOldest(events);
    for (const webhook of this.#webhooks) {
      webhook.offeredBytes = webhook.settledBytes = 0;
      if (webhook.taken >= oldest) continue;
      const missed = oldest - webhook.taken;
      logger.warn("a webhook misses events that are not kept any more", { url: webhook.name, missed });
      webhook.taken = oldest;
    }
    const worker = startWorker();
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Report>) => this.#takeReport(data);
    worker.onerror = ({ message }) => this.#end(worker, message);
    worker.addEventListener("close", () => this.#end(worker, "it stopped"));
    this.#post({
      kind: "open",
      epoch: events.epoch,
      retryMs,
      maxBytes,
      ...(pauses !== undefined && { pauses }),
      webhooks: this.#webhooks.map(({ url, name, taken }) => {
        return { url, name, after: taken, secrets, timeoutMs, maxReply };
      }),
    });
    const after = Math.min(...this.#webhooks.map(({ taken }) => taken));
    this.#sent = this.#arrived = after;
    for (const event of readAll(events, types, after)) this.#send(event);
  }

  #take(event: LoggedEvent): void {
    this.#newest = event.offset;
    // What comes while there is no worker, the next one gets from the log.
    if (this.#worker !== undefined && this.#wanted.has(event.type)) this.#send(event);
  }

  #send({ offset, type, json }: LoggedEvent): void {
    if (this.#offsets.length === 0) setImmediate(() => this.#sendAll());
    this.#offsets.push(offset);
    this.#events.push(json);
    this.#sent = offset;
    if (type === "message.received") {
      const bytes = weigh(json);
      for (const webhook of this.#webhooks) if (offset > webhook.taken) webhook.offeredBytes += bytes;
    }
    if (this.#offsets.length >= mostAtOnce) this.#sendAll();
  }

  #sendAll(): void {
    if (this.#offsets.length === 0) return;
    this.#post({ kind: "events", offsets: this.#offsets, events: this.#events });
    [this.#offsets, this.#events] = [[], []];
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #takeReport({ states, arrived, outcomes, replies, lines, isLast }: Report): void {
    const { logger, onOutcome, onReply } = this.#parts;
    this.#arrived = Math.max(this.#arrived, arrived);
    for (const [index, state] of states.entries()) Object.assign(this.#webhooks[index] ?? {}, state);
    for (const [outcome, count] of outcomes) onOutcome(outcome, count);
    for (const { session, text } of replies) onReply(session, text);
    for (const { level, event, fields } of lines) logger[level](event, fields);
    if (isLast) this.#whenEnded();
  }

  #end(worker: Worker, reason: string): void {
    if (this.#worker !== worker) return;
    for (const webhook of this.#webhooks) webhook.taken = this.#toPlace(webhook);
    this.#worker = undefined;
    [this.#offsets, this.#events] = [[], []];
    this.#whenEnded();
    if (this.#isClosed) return;
    this.#notices.warn("what posts to webhooks has ended, and is started again", { reason });
    this.#restart = setTimeout(() => this.#start(), restartMs);
  }
}

function startPosting(): Worker {
  return new Worker(new URL("./post-worker.ts", import.meta.url).href);
}

/** After which event a webhook begins. One that is new begins now. */
function locate(url: string, { events, logger, places }: CourierParts): Offset {
  const { cursors, problem } = places;
  if (problem === undefined) return cursors.get(toName(url)) ?? events.head;
  const oldest = toOldest(events);
  if (oldest < events.head)
    logger.warn("it is not known which events a webhook has: all that are kept are sent again", {
      url: toShown(url),
      reason: problem,
    });
  return oldest;
}

/** The event after which everything is kept. */
function toOldest(events: Events): Offset {
  return events.offsetBefore(Number.POSITIVE_INFINITY);
}

/** All that came after it and is kept. */
function* readAll(events: Events, types: readonly EventType[], start: Offset): Generator<LoggedEvent, void> {
  const { head } = events;
  for (let after = start; after < head; after = Math.max(after, toOldest(events)))
    try {
      const pages = events.since(after, types);
      if (pages === undefined) continue;
      for (const page of pages)
        for (const event of page) {
          yield event;
          after = event.offset;
        }
      return;
    } catch (error) {
      // Retention has passed it meanwhile; what is left follows.
      if (!(error instanceof HorizonPassed)) throw error;
    }
}
