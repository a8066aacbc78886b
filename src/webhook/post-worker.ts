/**
 * What runs in a thread of its own: a webhook, with all that waits for it. Thousands of requests a second, each with its signature and
 * much to be collected as garbage, would be felt by everybody to whom something is pushed meanwhile.
 */
import type { EventType } from "../event-types.ts";
import type { LogFields } from "../logger.ts";
import { type Offset, toMessageId } from "../message.ts";
import type { WebhookOutcome } from "../metrics.ts";
import type { Place } from "./places.ts";
import { isLoopback } from "../settings.ts";
import { post, type Target } from "./request.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";

export type ToWorker =
  | Opening
  | { readonly kind: "events"; readonly offsets: readonly Offset[]; readonly texts: readonly string[] }
  | { readonly kind: "close" };

interface Opening {
  readonly kind: "open";
  readonly target: Target;
  readonly options: Pick<WebhookOptions, "name" | "retryMs" | "maxBytes" | "pauses">;
  /** Of the log that the events are in. */
  readonly epoch: string;
  /** It has everything up to there, but for what it is sent. */
  readonly after: Offset;
}

/** What has happened since the last one. */
export interface Report {
  readonly state: Pick<Webhook, "arrived" | "arrivedBytes" | "settled" | "settledBytes" | "bytes">;
  /** Which events it has, when that was looked up. */
  readonly place?: Place;
  readonly outcomes: ReadonlyMap<WebhookOutcome, number>;
  readonly replies: readonly { readonly session: string; readonly text: string }[];
  readonly lines: readonly Line[];
  /** There is no more to come. */
  readonly isLast: boolean;
}

interface Line {
  readonly level: "warn" | "info";
  readonly event: string;
  readonly fields: LogFields;
}

/** How often the other side is told what was taken: it is woken no more often than that, but for an answer that somebody waits for. */
const reportMs = 20;
/** How often it is looked up which events the webhook has. */
const placeMs = 500;

declare const self: Worker;

let epoch = "";
let webhook: Webhook | undefined;
let outcomes = new Map<WebhookOutcome, number>();
let replies: Report["replies"][number][] = [];
let lines: Line[] = [];
let reporting: Timer | undefined;
let placedAt = 0;
const underWay = new Set<AbortController>();

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "open") open(data);
  if (data.kind === "events") offer(data.offsets, data.texts);
  if (data.kind === "close") close();
};

function open({ target, options, epoch: own, after }: Opening): void {
  epoch = own;
  const { hostname } = new URL(target.url);
  // A proxy that the environment names is not for a back end on this very machine. The environment is that of this thread alone.
  if (isLoopback(hostname.replace(/^\[|\]$/g, ""))) process.env["no_proxy"] = hostname;
  const parts: WebhookOptions = {
    ...options,
    post: async (letter) => {
      const controller = new AbortController();
      underWay.add(controller);
      const answer = await post(target, letter, controller);
      underWay.delete(controller);
      return answer;
    },
    logger: {
      warn: (event, fields) => log({ level: "warn", event, fields: fields ?? {} }),
      info: (event, fields) => log({ level: "info", event, fields: fields ?? {} }),
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
  webhook = new Webhook(parts, after);
}

function log(line: Line): void {
  lines.push(line);
  reportSoon();
}

function offer(offsets: readonly Offset[], texts: readonly string[]): void {
  for (const [index, json] of texts.entries()) {
    const offset = offsets[index] ?? 0;
    webhook?.offer({ id: toMessageId(epoch, offset), offset, type: toType(json), json });
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
  if (webhook === undefined) return;
  const { arrived, arrivedBytes, settled, settledBytes, bytes } = webhook;
  const looksUp = isLast || performance.now() - placedAt >= placeMs;
  if (looksUp) placedAt = performance.now();
  self.postMessage({
    state: { arrived, arrivedBytes, settled, settledBytes, bytes },
    ...(looksUp && { place: webhook.place }),
    outcomes,
    replies,
    lines,
    isLast,
  } satisfies Report);
  [outcomes, replies, lines] = [new Map(), [], []];
}

/** Gives up what is under way: nobody learns what came of it. */
function close(): void {
  webhook?.close();
  for (const controller of underWay) controller.abort();
  send(true);
  // A worker that nothing can reach ends by itself.
  self.onmessage = null;
}
