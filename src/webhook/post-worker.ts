/**
 * What runs in a thread of its own: the webhooks, with all that waits for them. Thousands of requests a second, each with its signature and
 * much to be collected as garbage, would be felt by everybody to whom something is pushed meanwhile.
 */
import type { EventType } from "../event-types.ts";
import type { LogFields } from "../logger.ts";
import { type Offset, toMessageId } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
import { post, type Target } from "./request.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";

export type ToWorker =
  | ({ readonly kind: "open" } & Opening)
  | { readonly kind: "events"; readonly offsets: readonly Offset[]; readonly events: readonly string[] }
  | { readonly kind: "close" };

export interface Opening extends Pick<WebhookOptions, "retryMs" | "maxBytes" | "pauses"> {
  /** Of the log that the events are in. */
  readonly epoch: string;
  readonly webhooks: readonly (Target & { readonly name: string; readonly after: Offset })[];
}

/** What has happened since the last one. */
export interface Report {
  /** Of each webhook, in the order of `Opening`. */
  readonly states: readonly Pick<Webhook, "size" | "taken" | "settledBytes">[];
  /** The newest event that the webhooks were offered. */
  readonly arrived: Offset;
  readonly outcomes: ReadonlyMap<WebhookOutcome, number>;
  readonly replies: readonly { readonly session: string; readonly text: string }[];
  readonly lines: readonly {
    readonly level: "warn" | "info";
    readonly event: string;
    readonly fields: LogFields;
  }[];
  /** There is no more to come. */
  readonly isLast: boolean;
}

/** How often the other side is told what was taken: it is woken no more often than that, but for an answer that somebody waits for. */
const reportMs = 20;

declare const self: Worker;

let epoch = "";
let webhooks: readonly Webhook[] = [];
let arrived: Offset = 0;
let outcomes = new Map<WebhookOutcome, number>();
let replies: Report["replies"][number][] = [];
let lines: Report["lines"][number][] = [];
let reporting: Timer | undefined;
const underWay = new Set<AbortController>();

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "open") open(data);
  if (data.kind === "events") offer(data.offsets, data.events);
  if (data.kind === "close") close();
};

function open({ webhooks: targets, epoch: own, ...options }: Opening): void {
  epoch = own;
  webhooks = targets.map(({ name, after, ...target }) => {
    const parts: WebhookOptions = {
      ...options,
      name,
      post: async (letter) => {
        const controller = new AbortController();
        underWay.add(controller);
        const answer = await post(target, letter, controller);
        underWay.delete(controller);
        return answer;
      },
      logger: {
        warn: (event, fields) => log("warn", event, fields),
        info: (event, fields) => log("info", event, fields),
      },
      onReply(session, text) {
        replies.push({ session, text });
        if (replies.length === 1) setImmediate(report);
      },
      onOutcome(outcome) {
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        reportSoon();
      },
    };
    return new Webhook(parts, after);
  });
}

function log(level: "warn" | "info", event: string, fields: LogFields = {}): void {
  lines.push({ level, event, fields });
  reportSoon();
}

function offer(offsets: readonly Offset[], events: readonly string[]): void {
  for (const [index, json] of events.entries()) {
    arrived = offsets[index] ?? arrived;
    const event = { id: toMessageId(epoch, arrived), offset: arrived, type: toType(json), json };
    for (const webhook of webhooks) webhook.offer(event);
  }
  reportSoon();
}

function toType(json: string): EventType {
  // Nothing but `Events.record` has written it, and the type stands first.
  return json.slice(9, json.indexOf('"', 9)) as EventType;
}

function reportSoon(): void {
  reporting ??= setTimeout(report, reportMs);
}

function report(): void {
  send(false);
}

function send(isLast: boolean): void {
  clearTimeout(reporting);
  reporting = undefined;
  const states = webhooks.map(({ size, taken, settledBytes }) => ({ size, taken, settledBytes }));
  self.postMessage({ states, arrived, outcomes, replies, lines, isLast } satisfies Report);
  [outcomes, replies, lines] = [new Map(), [], []];
}

/** Gives up what is under way: nobody learns what came of it. */
function close(): void {
  for (const webhook of webhooks) webhook.close();
  for (const controller of underWay) controller.abort();
  send(true);
  // A worker that nothing can reach ends by itself.
  self.onmessage = null;
}
