/**
 * What all calls that publish have in common: the idempotency key, the ttl, and the headers of the answer.
 */
import { PushError, quote } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";
import { maxIdempotencyKeyBytes } from "../idempotency.ts";

// An instance is copied; an object would be read and checked name by name, at every push.
const plainHeaders = new Headers({
  "Content-Type": "application/json",
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
});
const headers = new Headers({ ...unkeptHeaders, "Content-Type": "application/json" });
const repeatedHeaders = new Headers([...headers, ["Idempotency-Replayed", "true"]]);
const lastHeaders = new Headers([...headers, ["Connection", "close"]]);

/**
 * What only browsers understand is told to browsers only, which say where a request comes from: it would cost each push 3 %.
 *
 * @param repeated whether it was answered before, to the same Idempotency-Key
 * @param isLast   whether its connection ends
 */
export function headersOf(request: Request, repeated: boolean, isLast: boolean): Headers {
  if (repeated) return repeatedHeaders;
  if (isLast) return lastHeaders;
  return request.headers.has("sec-fetch-site") ? headers : plainHeaders;
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
