/**
 * How an error becomes an answer: `application/problem+json`, as RFC 9457 has it, with `code` as the member to branch on.
 */
import type { ErrorCode, PushError } from "../errors.ts";

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
  unauthorized: {
    status: 401,
    title: "Unauthorized",
    headers: { "WWW-Authenticate": 'Bearer realm="server-push"' },
  },
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
  too_many_sessions: { status: 503, title: "Too many sessions", headers: retrySoon },
  shutting_down: { status: 503, title: "Shutting down", headers: { ...retrySoon, Connection: "close" } },
  unavailable: { status: 503, title: "Unavailable", headers: retrySoon },
};

export const problemType = "application/problem+json";

export function toResponse(
  { code, detail, item }: PushError,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const { status, title, headers: own } = answers[code];
  return new Response(JSON.stringify({ type: "about:blank", title, status, detail, code, item }), {
    status,
    headers: { "Content-Type": problemType, "Cache-Control": "no-store", ...own, ...headers },
  });
}
