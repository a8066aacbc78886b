/**
 * All webhooks of a server: each gets the events from where it was on.
 */
import type { Logger } from "../logger.ts";
import { Courier, type CourierParts } from "./courier.ts";
import { Cursors, type Places, readPlaces } from "./cursors.ts";

export interface WebhooksParts extends Omit<CourierParts, "places"> {
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

export async function openWebhooks({ cursorsPath, ...parts }: WebhooksParts): Promise<Webhooks> {
  if (parts.urls.length === 0) return none;
  const { events, logger } = parts;
  const places = cursorsPath === undefined ? nowhere : await readPlaces(cursorsPath, events);
  const courier = new Courier({ ...parts, places });
  if (cursorsPath === undefined) return courier;
  const read = () => courier.readCursors();
  const cursors = new Cursors({ path: cursorsPath, epoch: events.epoch, logger, read });
  // Else a crash in the first second would leave nothing to go on from.
  await cursors.save();
  return {
    get size() {
      return courier.size;
    },
    hasRoom: (bytes) => courier.hasRoom(bytes),
    flush: (timeMs) => courier.flush(timeMs),
    async close() {
      await courier.close();
      await cursors.close();
    },
  };
}

const nowhere: Places = { cursors: new Map() };

const none: Webhooks = {
  size: 0,
  hasRoom: () => true,
  flush: async () => {},
  close: async () => {},
};
