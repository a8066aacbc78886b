/**
 * Webhooks on a real log of events, without the server around them: what is recorded is posted.
 */
import { Events } from "../../src/events.ts";
import { openMemoryJournal } from "../../src/journal/memory.ts";
import { openSqliteJournal } from "../../src/journal/sqlite.ts";
import type { Retention } from "../../src/journal.ts";
import { createLogger } from "../../src/logger.ts";
import type { WebhookOutcome } from "../../src/metrics.ts";
import { openWebhooks, type Webhooks, type WebhooksParts } from "../../src/webhook/webhooks.ts";
import { eventTypes } from "../../src/event-types.ts";
import { eventually } from "./eventually.ts";
import type { LogLine } from "./server.ts";

export interface WebhooksRig extends AsyncDisposable {
  readonly webhooks: Webhooks;
  readonly events: Events;
  readonly log: readonly LogLine[];
  readonly replies: readonly { readonly session: string; readonly reply: string }[];
  /** A client sends something. */
  send(session: string, message: string): void;
  /** How many events came to this. */
  count(outcome: WebhookOutcome): number;
  untilEmpty(timeoutMs?: number): Promise<void>;
  /** As at the end of the process. */
  close(): Promise<void>;
}

export interface RigOptions extends Partial<Omit<WebhooksParts, "events" | "logger">> {
  /** The log's file; without it, it is in memory. */
  readonly path?: string;
  readonly retention?: Partial<Retention>;
}

/** Short enough that a test sees an outage and its end. */
const pauses = { first: 5, longestWhileDown: 50, longest: 100 };

export async function openRig(urls: readonly string[], options: RigOptions = {}): Promise<WebhooksRig> {
  const { path, ...parts } = options;
  const retention = { time: 3_600_000, bytes: 1e9, count: 1e6, ...options.retention };
  const lines: LogLine[] = [];
  const logger = createLogger({
    level: "debug",
    format: "json",
    target: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  const log =
    path === undefined
      ? openMemoryJournal({ retention })
      : await openSqliteJournal({ path, retention, maxOnce: 1, onceMs: 1000, logger });
  const events = new Events({ log, onLost: () => {} });
  const counts = new Map<WebhookOutcome, number>();
  const replies: { session: string; reply: string }[] = [];
  const webhooks = await openWebhooks({
    types: eventTypes,
    cursorsPath: path === undefined ? undefined : `${path}-webhooks`,
    secrets: [],
    timeoutMs: 5000,
    retryMs: 60_000,
    maxBytes: 64 * 1024 * 1024,
    maxReply: 64 * 1024,
    pauses,
    onReply: (session, reply) => void replies.push({ session, reply }),
    onOutcome: (outcome, count) => void counts.set(outcome, (counts.get(outcome) ?? 0) + count),
    ...parts,
    urls,
    events,
    logger,
  });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= webhooks.close().then(() => log.close()));
  return {
    webhooks,
    events,
    log: lines,
    replies,
    send: (session, message) => events.record("message.received", { session, message }),
    count: (outcome) => counts.get(outcome) ?? 0,
    async untilEmpty(timeoutMs) {
      await events.written();
      await eventually("nothing that waits", () => webhooks.size === 0, timeoutMs);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
