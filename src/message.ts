/**
 * A message, its parts and their limits. Pure.
 */
import { PushError, quote, show } from "./errors.ts";

/** Where a message stands in the journal: 1, 2, 3, … without holes. */
export type Offset = number;

/** Text goes out as a text frame, byte for byte; bytes as a binary frame. */
export type Body = string | Uint8Array;

/** A message that the journal has not taken yet. */
export interface Draft {
  /** The address, as `toTopic` names it. */
  readonly topic: string;
  readonly body: Body;
  /** The name that a client can listen for. */
  readonly event?: string;
  /**
   * What the message tells the state of, such as `progress`: a later one with the same topic and key replaces it for
   * everybody who has not had it yet.
   */
  readonly key?: string;
  /**
   * How long it is there for who comes later, in seconds; with 0, only those who are connected get it. Without it, it is there
   * for as long as the journal keeps it.
   */
  readonly ttl?: number;
  /** The session that it is not delivered to: mostly the one that it comes from. No journal keeps it. */
  readonly except?: string;
}

/** A message that the journal has taken. */
export interface Message extends Draft {
  readonly offset: Offset;
  /** When the journal took it, in milliseconds since 1970. */
  readonly time: number;
}

/** The draft as the journal has taken it. */
export function toMessage(draft: Draft, offset: Offset, time: number): Message {
  const { topic, body, event, key, ttl, except } = draft;
  // Nearly all have none of these, and a literal is made several times as fast as a copy.
  if (event === undefined && key === undefined && ttl === undefined && except === undefined)
    return { topic, body, offset, time };
  return { ...draft, offset, time };
}

/** The longest `event`, in bytes of UTF-8. */
export const maxEventBytes = 64;

/** The longest `key`, in bytes of UTF-8. */
export const maxKeyBytes = 128;

/** The longest `ttl`, in seconds: a year. Retention ends it earlier. */
export const maxTtl = 365 * 86_400;

/** The size of a body on the wire, in bytes. */
export function sizeOf(body: Body): number {
  return typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
}

/**
 * Gives the body back if it may be a message.
 *
 * @param limit the largest message, in bytes
 * @throws PushError `empty_message` or `too_large`
 */
export function checkBody(body: Body, limit: number): Body {
  if (body.length === 0) throw new PushError("empty_message", "message is empty, expected at least 1 byte");
  // A UTF-16 unit is at most three bytes of UTF-8, so most texts need no counting.
  if (typeof body === "string" && body.length * 3 <= limit) return body;
  const size = sizeOf(body);
  if (size > limit) throw new PushError("too_large", `message is ${size} bytes, the limit is ${limit}`);
  return body;
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

/** @throws PushError `invalid_parameter` */
export function readTtl(text: string): number {
  const ttl = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (ttl <= maxTtl) return ttl;
  throw new PushError(
    "invalid_parameter",
    `ttl is ${quote(text)}, expected whole seconds from 0 to ${maxTtl}`,
  );
}

/** A ttl in JSON. @throws PushError `invalid_parameter` */
export function checkTtl(ttl: unknown): number {
  if (typeof ttl === "number") return readTtl(String(ttl));
  throw new PushError("invalid_parameter", `ttl is ${show(ttl)}, expected a number of seconds`);
}

/** The public name of the message at `offset` of the log `epoch`: opaque to clients. */
export function toMessageId(epoch: string, offset: Offset): string {
  return `${epoch}-${offset}`;
}
