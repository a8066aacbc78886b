/**
 * Where a client wants to start: after an id, so long back from now, or with all that is kept. Pure.
 *
 * It is asked for as `since` or `last_event_id` in the query, or in the header Last-Event-ID, which browsers send by themselves when
 * their EventSource comes back, to the URL with which it first came. So the header wins over the query.
 */
import { PushError, quote } from "./errors.ts";
import { kinds } from "./kinds.ts";
import type { Offset } from "./message.ts";

export type Since =
  | { readonly epoch: string; readonly offset: Offset }
  /** Milliseconds back from now; Infinity is all that is kept. */
  | { readonly ageMs: number };

/** The parameters of a request that say it. */
export const sinceParameters = ["since", "last_event_id"] as const;

/**
 * @throws PushError `invalid_parameter` for a `since` that is none. A `last_event_id` is not a person's choice but what a program
 * remembered, maybe from another server: then nothing can be proven, which is an answer and not an error.
 */
export function readSince(
  { since, last_event_id: lastEventId }: { readonly [name in (typeof sinceParameters)[number]]?: string },
  headers: Headers,
): Since | undefined {
  const remembered = headers.get("last-event-id") || lastEventId;
  if (remembered !== undefined) return parseSince(remembered) ?? { epoch: "", offset: 0 };
  if (since === undefined) return undefined;
  const parsed = parseSince(since);
  if (parsed !== undefined) return parsed;
  throw new PushError(
    "invalid_parameter",
    `parameter since is ${quote(since)}, expected the id of a message, ${kinds.duration.expected}, or all`,
  );
}

function parseSince(text: string): Since | undefined {
  if (text === "all") return { ageMs: Number.POSITIVE_INFINITY };
  const [, epoch, offset] = /^([0-9a-z]{8})-(\d{1,15})$/.exec(text) ?? [];
  if (epoch !== undefined) return { epoch, offset: Number(offset) };
  const ageMs = /[a-z]$/.test(text) ? kinds.duration.parse(text) : undefined;
  return ageMs === undefined ? undefined : { ageMs };
}
