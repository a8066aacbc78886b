/**
 * All webhooks of a server: each gets the events from where it was on.
 */
import type { Logger } from "../logger.ts";
import { Courier, type CourierParts } from "./courier.ts";
import { Cursors, type Known, readPlaces } from "./cursors.ts";
import { merge, type Place, toName, toOldest, toShown } from "./places.ts";

export interface WebhooksParts extends Omit<CourierParts, "url" | "place"> {
  readonly urls: readonly string[];
  /** Where it is kept which events each of them has; without it, they begin with what comes from now on. */
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
  const { events, logger } = parts;
  const urls = [...new Set(parts.urls)];
  const path = urls.length === 0 ? undefined : parts.cursorsPath;
  const known = path === undefined ? { places: new Map() } : await readPlaces(path, events);
  const couriers = urls.map((url) => new Courier({ ...parts, url, place: locate(url, parts, known) }));
  const cursors =
    path === undefined ? undefined : new Cursors({ path, epoch: events.epoch, logger, read: readAll });
  // Else a crash in the first second would leave nothing to go on from.
  await cursors?.save();
  return {
    get size() {
      return couriers.reduce((sum, { size }) => sum + size, 0);
    },
    hasRoom: (bytes) => couriers.every((courier) => courier.hasRoom(bytes)),
    async flush(timeMs) {
      await Promise.all(couriers.map((courier) => courier.flush(timeMs)));
    },
    async close() {
      await Promise.all(couriers.map((courier) => courier.close()));
      await cursors?.close();
    },
  };

  /** One that is left out for a while goes on where it was; those that differ only in a secret share a place. */
  function readAll(): ReadonlyMap<string, Place> {
    const own = new Map<string, Place>();
    for (const [index, url] of urls.entries()) {
      const [name, place] = [toName(url), couriers[index]?.place];
      const other = own.get(name);
      if (place !== undefined) own.set(name, other === undefined ? place : merge(place, other));
    }
    return new Map([...known.places, ...own]);
  }
}

/** Where a webhook begins: one that is new, now. */
function locate(url: string, { events, logger }: WebhooksParts, { places, problem }: Known): Place {
  if (problem === undefined) return places.get(toName(url)) ?? { after: events.head, except: [] };
  const after = toOldest(events);
  if (after < events.head)
    logger.warn("it is not known which events a webhook has: all that are kept are sent again", {
      url: toShown(url),
      reason: problem,
    });
  return { after, except: [] };
}
