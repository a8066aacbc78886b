/**
 * What the OpenAPI document says of errors: an answer for each status, with an example of each error that has it.
 */
import type { OpenAPIV3 } from "openapi-types";
import type { ErrorCode } from "../errors.ts";
import { answers, problemType } from "./errors.ts";

/** What `detail` says, for example. */
const details: Readonly<Record<ErrorCode, string>> = {
  unknown_parameter: 'parameter "comp" is unknown here, expected ',
  repeated_parameter: "parameter userid is given more than once, expected it once",
  missing_parameter: "parameter message is missing, expected the text to push",
  empty_parameter: "parameter userid is empty, expected at least 1 byte",
  invalid_parameter: "parameter userid is 130 bytes, the limit is 128",
  missing_address: "no address is given, expected userid, compid or both; to reach everyone, call /pushtoall",
  empty_message: "message is empty, expected at least 1 byte",
  malformed_body:
    "the body is not UTF-8, expected UTF-8; to push bytes, send Content-Type: application/octet-stream",
  malformed_frame: "the frame is not JSON",
  too_large: "message is 70210 bytes, the limit is 65536",
  unsupported_media_type:
    'Content-Type "image/png" is not supported, expected text/plain, application/json or application/octet-stream',
  idempotency_key_reused:
    'Idempotency-Key "order-17" was used within five minutes for another push, expected a new key',
  unauthorized: 'the header Authorization is missing, expected "Authorization: Bearer KEY"',
  forbidden: 'userid is "124", expected that of the token, or none',
  foreign_host:
    'Host is "evil.example.com", expected a loopback name such as localhost; with an API key, any host may call',
  foreign_origin: 'the page at "https://evil.example.com" may not do this',
  not_found: 'nothing is at "/pish"; the API is documented at /swagger',
  method_not_allowed: "PUT is not allowed here, expected GET, POST, OPTIONS",
  upgrade_required: "this is a WebSocket endpoint, expected a WebSocket handshake; all else is well",
  rate_limited: "too many messages are pushed by this API key or user, the limit is 100 a second for each",
  quota_exceeded: 'the user "123" has 100 sessions, which is the limit for one',
  too_many_sessions: "the server has 100000 sessions, the limit is 100000",
  shutting_down: "the server is shutting down, expected back in seconds",
  unavailable: "the journal cannot take messages now",
  internal: "the server made a mistake, and has logged it",
};

/**
 * The answers that a call gives with these errors, one entry a status, with an example of each error.
 *
 * @param names the parameters that the call takes
 * @param own what `detail` says of this call, where that differs
 */
export function describeProblems(
  codes: readonly ErrorCode[],
  names: readonly string[] = [],
  own: Partial<Readonly<Record<ErrorCode, string>>> = {},
): OpenAPIV3.ResponsesObject {
  const responses: OpenAPIV3.ResponsesObject = {};
  for (const status of new Set(codes.map((code) => answers[code].status))) {
    const alike = codes.filter((code) => answers[code].status === status);
    responses[status] = {
      description: alike.map((code) => `${answers[code].title} (\`${code}\`)`).join("; "),
      ...((status === 503 || status === 429) && {
        headers: { "Retry-After": { description: "Seconds to wait", schema: { type: "integer" } } },
      }),
      ...(status === 401 && {
        headers: {
          "WWW-Authenticate": {
            description:
              "The scheme; and `error`, for what was sent: `invalid_request` when it is malformed, `invalid_token` when it is not valid, or no longer (RFC 6750)",
            schema: { type: "string" },
          },
        },
      }),
      ...(status === 405 && {
        headers: { Allow: { description: "The methods that are allowed", schema: { type: "string" } } },
      }),
      content: {
        [problemType]: {
          schema: { $ref: "#/components/schemas/Problem" },
          examples: Object.fromEntries(
            alike.map((code) => [code, { value: exampleOf(code, own[code] ?? details[code], names) }]),
          ),
        },
      },
    };
  }
  return responses;
}

function exampleOf(code: ErrorCode, detail: string, names: readonly string[]) {
  const { status, title } = answers[code];
  const more = code === "unknown_parameter" ? names.join(", ") || "none" : "";
  return { type: "about:blank", title, status, detail: detail + more, code };
}
