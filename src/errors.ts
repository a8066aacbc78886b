/**
 * What can go wrong that a caller can mend, as one closed list.
 *
 * A code is part of the API: programs branch on it, so it never changes its meaning. The sentence in `detail` is for
 * people; it names the thing, and the limit or what was expected. How a code becomes an HTTP status is the business of
 * http/errors.ts.
 */
export const errorCodes = [
  "unknown_parameter",
  "repeated_parameter",
  "missing_parameter",
  "empty_parameter",
  "invalid_parameter",
  "missing_address",
  "empty_message",
  "malformed_body",
  "malformed_frame",
  "too_large",
  "unsupported_media_type",
  "idempotency_key_reused",
  "unauthorized",
  "forbidden",
  "foreign_host",
  "foreign_origin",
  "not_found",
  "method_not_allowed",
  "upgrade_required",
  "rate_limited",
  "quota_exceeded",
  "too_many_sessions",
  "shutting_down",
  "unavailable",
  "internal",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** An error that the caller can mend, or wait out. Everything else that is thrown is a defect, and is let fly. */
export class PushError extends Error {
  override readonly name = "PushError";

  constructor(
    readonly code: ErrorCode,
    /** One sentence that can be shown to anyone: no secrets, and a caller's text only through `quote`. */
    readonly detail: string,
    /** Of a batch: the item that is wrong, counted from 0. */
    readonly item?: number,
  ) {
    super(detail);
  }
}

/** What is wrong with a key or a token: it is not there, it cannot be read as one, or it is none that is valid. */
export type Fault = "missing" | "malformed" | "invalid";

/** Who asks has not shown to be somebody who may. */
export class Unauthorized extends PushError {
  constructor(
    readonly fault: Fault,
    detail: string,
  ) {
    super("unauthorized", detail);
  }
}

/** The limits of how much and how often, by their settings. */
export const limits = [
  "max-sessions",
  "max-sessions-per-user",
  "max-sessions-per-address",
  "max-session-rate",
  "max-receive-rate",
  "max-push-rate",
  "max-receipt-waits",
] as const;

export type Limit = (typeof limits)[number];

/** More was asked for than may be. */
export class OverLimit extends PushError {
  constructor(
    code: "rate_limited" | "quota_exceeded" | "too_many_sessions",
    readonly limit: Limit,
    detail: string,
    /** After how long the same will be taken, in milliseconds, when nothing else is asked for meanwhile; where that is known. */
    readonly waitMs?: number,
  ) {
    super(code, detail);
  }
}

/** What names a secret: where it stands among arguments that were not understood, any of them may be one. */
const secretName = /key|secret|token|webhook/i;

/** An argument that was not understood, as `quote` has it, unless it may be a secret, or stands beside one. */
export function quoteArgument(argument: string, all: readonly string[]): string {
  return all.some((one) => secretName.test(one)) ? "an argument" : quote(argument);
}

const shownCharacters = 64;

/**
 * A caller's own text, made safe to stand in a sentence: in double quotes, with JSON's escapes for everything that is not
 * printable ASCII, and cut after 64 characters. It cannot end a line, move a cursor or reverse the direction of writing.
 */
export function quote(text: string): string {
  const shown = text.length > shownCharacters ? `${text.slice(0, shownCharacters)}…` : text;
  return JSON.stringify(shown).replace(/[^\x20-\x7e…]+/g, toEscapes);
}

/** A value of JSON, as it can stand in a sentence. An object is not made a text: it may have a `toString` that is none, or be deep. */
export function show(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** Every UTF-16 unit of the text as JSON's `\uXXXX`. */
export function toEscapes(text: string): string {
  let escapes = "";
  for (let index = 0; index < text.length; index++)
    escapes += `\\u${text.charCodeAt(index).toString(16).padStart(4, "0")}`;
  return escapes;
}
