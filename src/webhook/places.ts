/**
 * Which events a webhook has, and how those that it has not are read from the log.
 *
 *   has       1 2 3 · 5 6 7 8 | 9 10 …         { after: 8, except: [4] }
 *                   ^         ^
 *              except       after
 *
 * One event that is never taken would else hold its place, and all that was taken since would be sent again after a restart.
 */
import { createHash } from "node:crypto";
import type { EventType } from "../event-types.ts";
import type { Events, LoggedEvent } from "../events.ts";
import { HorizonPassed } from "../journal.ts";
import type { Offset } from "../message.ts";

export interface Place {
  /** It has everything up to there. */
  readonly after: Offset;
  /** But for these, in order: at most `mostExcept`. */
  readonly except: readonly Offset[];
}

export const mostExcept = 1000;

/** Of webhooks that share a name: what one of them does not have, neither has. */
export function merge(one: Place, other: Place): Place {
  const after = Math.min(one.after, other.after);
  const except = new Set([...one.except, ...other.except].filter((offset) => offset <= after));
  const sorted = Array.from(except).toSorted((a, b) => a - b);
  const [left, tooMany] = [sorted.slice(0, mostExcept), sorted[mostExcept]];
  return { after: tooMany === undefined ? after : tooMany - 1, except: left };
}

/** The event after which everything is kept. */
export function toOldest(events: Events): Offset {
  return events.offsetBefore(Number.POSITIVE_INFINITY);
}

/**
 * What is kept of all that came after the place, and of what it excepts: in order, up to the newest there is when the last is asked for.
 *
 * @param onMissed so many events are not kept any more
 */
export function* readFrom(
  events: Events,
  types: readonly EventType[],
  { after, except }: Place,
  onMissed: (count: number) => void,
): Generator<LoggedEvent, void> {
  const gone = except.filter((offset) => offset <= toOldest(events)).length;
  if (gone > 0) onMissed(gone);
  for (const offset of except.slice(gone)) {
    const event = readOne(events, types, offset);
    if (event !== undefined) yield event;
  }
  let position = after;
  while (position < events.head) {
    const oldest = toOldest(events);
    if (position < oldest) onMissed(oldest - position);
    position = Math.max(position, oldest);
    try {
      const pages = events.since(position, types);
      if (pages === undefined) continue;
      for (const page of pages)
        for (const event of page) {
          yield event;
          position = event.offset;
        }
      return;
    } catch (error) {
      // Retention has passed it while it was read; what is left follows.
      if (!(error instanceof HorizonPassed)) throw error;
    }
  }
}

function readOne(events: Events, types: readonly EventType[], offset: Offset): LoggedEvent | undefined {
  try {
    for (const page of events.since(offset - 1, types) ?? [])
      if (page[0] !== undefined) return page[0].offset === offset ? page[0] : undefined;
  } catch (error) {
    if (!(error instanceof HorizonPassed)) throw error;
  }
  return undefined;
}

/** A URL without what it may have of a secret: its user, its query. */
export function toShown(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** What stands for a URL in a file: a path may be a secret too, and a secret in the query may be replaced by another. */
export function toName(url: string): string {
  return createHash("sha256").update(toShown(url)).digest("hex").slice(0, 16);
}
