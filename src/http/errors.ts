/**
 * How an error becomes an answer: `application/problem+json`, as RFC 9457 has it, with `code` as the member to branch on.
 */
import { type ErrorCode, type Fault, OverLimit, type PushError, Unauthorized } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";

interface Answer {
  readonly status: number;
  /** The same for every error of this code. */
  readonly title: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const retrySoon = { "Retry-After": "5" };

export const answers: Readonly<Record<ErrorCode, Answer>> = {
  unknown_parameter: { status: 400, title: "Unknown parameter" },
  repeated_parameter: { status: 400, title: "Repeated parameter" },
  missing_parameter: { status: 400, title: "Missing parameter" },
  empty_parameter: { status: 400, title: "Empty parameter" },
  invalid_parameter: { status: 400, title: "Invalid parameter" },
  missing_address: { status: 400, title: "Missing address" },
  empty_message: { status: 400, title: "Empty message" },
  malformed_body: { status: 400, title: "Malformed body" },
  // Only ever in a frame of push.v1.
  malformed_frame: { status: 400, title: "Malformed frame" },
  unauthorized: { status: 401, title: "Unauthorized" },
  forbidden: { status: 403, title: "Forbidden" },
  foreign_host: { status: 403, title: "Foreign host" },
  foreign_origin: { status: 403, title: "Foreign origin" },
  not_found: { status: 404, title: "Not found" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  // The rest of the message is not worth reading.
  too_large: { status: 413, title: "Message too large", headers: { Connection: "close" } },
  unsupported_media_type: { status: 415, title: "Unsupported media type" },
  idempotency_key_reused: { status: 422, title: "Idempotency key reused" },
  upgrade_required: {
    status: 426,
    title: "Upgrade required",
    headers: { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13" },
  },
  rate_limited: { status: 429, title: "Rate limited", headers: { "Retry-After": "1" } },
  quota_exceeded: { status: 429, title: "Quota exceeded", headers: retrySoon },
  internal: { status: 500, title: "Internal error" },
  too_many_sessions: {
    status: 503,
    title: "Too many sessions",
    headers: { ...retrySoon, Connection: "close" },
  },
  shutting_down: { status: 503, title: "Shutting down", headers: { ...retrySoon, Connection: "close" } },
  unavailable: { status: 503, title: "Unavailable", headers: retrySoon },
};

export const problemType = "application/problem+json";

export function toResponse(error: PushError, headers: Readonly<Record<string, string>> = {}): Response {
  const { code, detail, item } = error;
  const { status, title, headers: ofCode } = answers[code];
  return new Response(JSON.stringify({ type: "about:blank", title, status, detail, code, item }), {
    status,
    headers: { ...unkeptHeaders, "Content-Type": problemType, ...ofCode, ...toOwnHeaders(error), ...headers },
  });
}

function toOwnHeaders(error: PushError): Record<string, string> {
  // A second too many is a little late; a second too few would be one more refusal.
  if (error instanceof OverLimit && error.waitMs !== undefined)
    return { "Retry-After": String(Math.ceil(error.waitMs / 1000)) };
  if (error instanceof Unauthorized) return { "WWW-Authenticate": toChallenge(error) };
  return {};
}

/** As RFC 6750 (section 3) has it: who has shown nothing is told the scheme, and everybody else what was wrong. */
function toChallenge({ fault, detail }: Unauthorized): string {
  const challenge = 'Bearer realm="server-push"';
  const error = errorsOfChallenge[fault];
  if (error === undefined) return challenge;
  // Quotes and backslashes are not among what a description may have, nor is what is not ASCII.
  const description = detail.replaceAll("…", "...").replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, "'");
  return `${challenge}, error="${error}", error_description="${description}"`;
}

const errorsOfChallenge: Readonly<Record<Fault, string | undefined>> = {
  missing: undefined,
  malformed: "invalid_request",
  invalid: "invalid_token",
};
