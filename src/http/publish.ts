/**
 * What all calls that publish have in common: the idempotency key, the ttl, and the headers of the answer.
 */
import { PushError, quote } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";
import { maxIdempotencyKeyBytes } from "../idempotency.ts";
import { maxTtl } from "../message.ts";

// An instance is copied; an object would be read and checked name by name, at every push.
const headers = new Headers({ ...unkeptHeaders, "Content-Type": "application/json" });
const repeatedHeaders = new Headers([...headers, ["Idempotency-Replayed", "true"]]);

/** @param repeated whether it was answered before, to the same Idempotency-Key */
export function headersOf(repeated: boolean): Headers {
  return repeated ? repeatedHeaders : headers;
}

/** @throws PushError `invalid_parameter` */
export function readIdempotencyKey(given: Headers): string | undefined {
  const key = given.get("idempotency-key");
  if (key === null) return undefined;
  if (key.length > 0 && key.length <= maxIdempotencyKeyBytes && /^[\x20-\x7e]+$/.test(key)) return key;
  throw new PushError(
    "invalid_parameter",
    `Idempotency-Key is ${quote(key)}, expected 1 to ${maxIdempotencyKeyBytes} characters of printable ASCII`,
  );
}

/** What an EventSource fires by itself: a message by this name would look like the end or the begin of its connection. */
const eventSourceOwn = new Set(["error", "open"]);

/** @throws PushError `invalid_parameter` for a name that the server's own events have, such as `push.welcome`, or a browser's */
export function checkEvent(event: string): string {
  if (eventSourceOwn.has(event))
    throw new PushError(
      "invalid_parameter",
      `event is ${quote(event)}, expected another name than error and open, which an EventSource fires by itself`,
    );
  if (!event.startsWith("push.")) return event;
  throw new PushError(
    "invalid_parameter",
    `event is ${quote(event)}, expected a name that does not begin with push., as the server's own do`,
  );
}

/** The longest wait for a receipt, in seconds. */
export const maxWait = 60;

/** @throws PushError `invalid_parameter` */
export function readWait(text: string): number {
  const wait = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (wait >= 1 && wait <= maxWait) return wait;
  throw new PushError(
    "invalid_parameter",
    `wait is ${quote(text)}, expected whole seconds from 1 to ${maxWait}`,
  );
}

/** @throws PushError `invalid_parameter` */
export function readTtl(text: string): number {
  const ttl = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (ttl <= maxTtl) return ttl;
  throw new PushError(
    "invalid_parameter",
    `ttl is ${quote(text)}, expected whole seconds from 0 to ${maxTtl}`,
  );
}
