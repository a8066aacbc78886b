/**
 * All webhooks of a server: each is offered the events from where it was on.
 */
import { createHash } from "node:crypto";
import type { EventType } from "../event-types.ts";
import type { Events } from "../events.ts";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";
import { Cursors, readCursors } from "./cursors.ts";
import { toShown, Webhook, type WebhookOptions } from "./webhook.ts";

export interface WebhooksParts extends Omit<WebhookOptions, "url"> {
  readonly urls: readonly string[];
  readonly events: Events;
  /** The types that are sent. */
  readonly types: readonly EventType[];
  /** Where it is kept up to where each of them is; without it, they begin with what comes from now on. */
  readonly cursorsPath: string | undefined;
  readonly logger: Logger;
}

export interface Webhooks {
  /** How many events wait. */
  readonly size: number;
  /** Whether a message of so many bytes can wait for each of them. */
  hasRoom(bytes: number): boolean;
  /** Resolves when nothing waits any more, or after so many milliseconds. */
  flush(timeMs: number): Promise<void>;
  close(): Promise<void>;
}

export async function openWebhooks(parts: WebhooksParts): Promise<Webhooks> {
  const { urls, events, types, cursorsPath, logger, ...options } = parts;
  const known = cursorsPath === undefined ? new Map() : await readCursors(cursorsPath, events.epoch);
  const webhooks = urls.map((url) => {
    const webhook = new Webhook({ ...options, logger, url }, known.get(toName(url)) ?? events.head);
    return { url, webhook };
  });
  for (const { url, webhook } of webhooks) catchUp(url, webhook, events, types, logger);
  const wanted = new Set(types);
  const stopListening = events.listen((event) => {
    if (wanted.has(event.type)) for (const { webhook } of webhooks) webhook.offer(event);
  });
  const cursors =
    cursorsPath === undefined || urls.length === 0
      ? undefined
      : new Cursors({
          path: cursorsPath,
          epoch: events.epoch,
          logger,
          read: () => Object.fromEntries(webhooks.map(({ url, webhook }) => [toName(url), webhook.taken])),
        });
  return {
    get size() {
      return webhooks.reduce((sum, { webhook }) => sum + webhook.size, 0);
    },
    hasRoom: (bytes) => webhooks.every(({ webhook }) => webhook.hasRoom(bytes)),
    flush: async (timeMs) => {
      await Promise.all(webhooks.map(({ webhook }) => webhook.flush(timeMs)));
    },
    async close() {
      stopListening();
      await cursors?.close();
      for (const { webhook } of webhooks) webhook.close();
    },
  };
}

/** Offers what came since the webhook was last there. */
function catchUp(
  url: string,
  webhook: Webhook,
  events: Events,
  types: readonly EventType[],
  logger: Logger,
): void {
  const after: Offset = webhook.taken;
  const pages = events.since(after, types);
  if (pages === undefined)
    return logger.warn("a webhook misses events that are not kept any more", { url: toShown(url) });
  for (const page of pages) for (const event of page) webhook.offer(event);
}

/** What stands for a URL in the file: it may have a secret in it. */
function toName(url: string): string {
  return createHash("sha256").update(url).digest("hex").slice(0, 16);
}
