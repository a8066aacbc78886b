/**
 * What the OpenAPI document says beyond the routes themselves. A route that lives outside this folder refers to the
 * components by name.
 */
import type { OpenAPIV3 } from "openapi-types";
import { maxIdBytes } from "../address.ts";
import { maxIdempotencyKeyBytes } from "../idempotency.ts";
import { kinds } from "../kinds.ts";
import { maxEventBytes, maxKeyBytes, maxTtl } from "../message.ts";
import { describeProblems } from "./problems.ts";
import { maxWait } from "./publish.ts";
import { schemas } from "./schemas.ts";

type Responses = OpenAPIV3.ResponsesObject;

/** A call that needs an API key where the server has any. */
export const withKey: OpenAPIV3.SecurityRequirementObject[] = [{ apiKey: [] }, {}];

const parameter = (name: string) => ({ $ref: `#/components/parameters/${name}` });
const receiptContent = (sessions: number) => ({
  "application/json": {
    schema: { $ref: "#/components/schemas/Receipt" },
    example: { id: "k3f9a0zq-1042", sessions },
  },
});

const badQuery = ["unknown_parameter", "repeated_parameter", "empty_parameter", "invalid_parameter"] as const;

/** One of the four forms of a push: to an address or to all, with the message in the query or as the body. */
export function describePush({
  form,
  toAll,
}: {
  form: "query" | "body";
  toAll: boolean;
}): OpenAPIV3.OperationObject {
  const names = [
    ...(toAll ? [] : ["userid", "compid"]),
    ...(form === "query" ? ["message"] : []),
    "event",
    "key",
    "ttl",
    "except",
    "wait",
  ];
  const inBody = form === "body";
  return {
    operationId: `${inBody ? "post" : "get"}Push${toAll ? "ToAll" : ""}`,
    tags: ["publishers"],
    security: withKey,
    summary: `Push ${inBody ? "the body" : "a text"} to ${toAll ? "every session" : "a user's component, a user, or a component"}`,
    description: toAll
      ? "Reaches every session that is connected."
      : "With `userid` and `compid`: the sessions of that user and component. With `userid` alone: all of that user's. With `compid` alone: all of that component's. Without either it is refused.",
    parameters: [...names.map((name) => (name === "wait" ? "receiptWait" : name)), "idempotencyKey"].map(
      parameter,
    ),
    ...(inBody && {
      requestBody: {
        required: true,
        description:
          "The message, byte for byte. Any text type or JSON, in UTF-8, goes out as a text frame (as does a body without a type); `application/octet-stream` as a binary frame.",
        content: {
          "text/plain": { schema: { type: "string", minLength: 1 }, example: "hello" },
          "application/json": { schema: {}, example: { order: 17, state: "paid" } },
          "application/octet-stream": { schema: { type: "string", format: "binary" } },
        },
      },
    }),
    responses: {
      200: { description: "Taken, and sent to that many sessions", content: receiptContent(2) },
      202: { description: "Taken, and nobody was there to get it", content: receiptContent(0) },
      ...describeProblems(
        [
          ...badQuery,
          ...(toAll ? [] : (["missing_address"] as const)),
          "quota_exceeded",
          ...(inBody
            ? (["empty_message", "malformed_body", "unsupported_media_type"] as const)
            : (["missing_parameter"] as const)),
          ...always,
        ],
        names,
      ),
      ...(!inBody && {
        431: { description: "Request line and headers take more than 256 KiB; without a body" },
      }),
    },
  };
}

/** A token for a page to connect with. */
export function describeTokens(): OpenAPIV3.OperationObject {
  return {
    operationId: "postToken",
    tags: ["publishers"],
    security: withKey,
    summary: "Make a token for a page to connect with",
    description:
      "A JSON Web Token for this user, signed with the server's own secret. With `compid` it is good for that component only.",
    parameters: [{ ...id("userid", "123"), required: true }, parameter("compid"), parameter("expires")],
    responses: {
      200: {
        description: "The token, and in how many seconds it expires",
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/Token" },
            example: { token: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl", expires: 3600 },
          },
        },
      },
      ...describeProblems(
        [
          ...badQuery,
          "missing_parameter",
          "unauthorized",
          "forbidden",
          "foreign_host",
          "foreign_origin",
          "method_not_allowed",
          "internal",
        ],
        ["userid", "compid", "expires"],
      ),
    },
  };
}

/** Many messages in one call. */
export function describeBatch(): OpenAPIV3.OperationObject {
  const line = { userid: "123", message: "hello" };
  return {
    operationId: "postBatch",
    tags: ["publishers"],
    security: withKey,
    summary: "Push many messages, all or none",
    description:
      "A JSON array, or a line of JSON for each message. They are delivered in this order. One item that cannot be pushed refuses the whole batch; `item` in the answer is its number, counted from 0.",
    parameters: [parameter("idempotencyKey")],
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: { type: "array", minItems: 1, items: { $ref: "#/components/schemas/Item" } },
          example: [line, { all: true, message: "to everyone" }],
        },
        "application/x-ndjson": {
          schema: { type: "string" },
          example: `${JSON.stringify(line)}\n${JSON.stringify(line)}\n`,
        },
      },
    },
    responses: {
      200: { description: "Taken, and at least one was sent to a session", content: receiptsContent },
      202: { description: "Taken, and nobody was there to get any of them", content: receiptsContent },
      ...describeProblems([
        ...badQuery,
        "missing_parameter",
        "missing_address",
        "empty_message",
        "malformed_body",
        "unsupported_media_type",
        ...always,
      ]),
    },
  };
}

const receiptsContent = {
  "application/json": {
    schema: { type: "array" as const, items: { $ref: "#/components/schemas/Receipt" } },
    example: [
      { id: "k3f9a0zq-1042", sessions: 2 },
      { id: "k3f9a0zq-1043", sessions: 0 },
    ],
  },
};

/** What every call of publishers can be refused with. */
const always = [
  "unauthorized",
  "foreign_host",
  "foreign_origin",
  "too_large",
  "idempotency_key_reused",
  "rate_limited",
  "method_not_allowed",
  "internal",
  "shutting_down",
  "unavailable",
] as const;

const id = (what: string, example: string): OpenAPIV3.ParameterObject => ({
  name: what,
  in: "query",
  description: `1 to ${maxIdBytes} bytes of UTF-8 without control characters`,
  schema: { type: "string", minLength: 1, maxLength: maxIdBytes },
  example,
});

const sessionIdSchema = { type: "string", minLength: 22, maxLength: 22, pattern: "^[\\w-]+$" } as const;

const sinceParameter = (name: string, description: string): OpenAPIV3.ParameterObject => ({
  name,
  in: "query",
  description: `${description}: the id of the last message that the client has had, ${kinds.duration.expected} back from now, or \`all\` that is kept`,
  schema: { type: "string", minLength: 1 },
  example: "k3f9a0zq-1042",
});

/** The parameters of every call to receive. */
const receiving = ["userid", "compid", "since", "last_event_id", "token"];

/** The document without its paths. */
export function describeApi(version: string) {
  return {
    info: {
      title: "server-push",
      version,
      description: [
        "Push a message to any open browser page with a single HTTP call.",
        "A parameter of a push or of a client's call that is unknown, repeated, empty or malformed is refused by name; `_` is ignored.",
        "Every error is `application/problem+json` (RFC 9457); programs branch on its `code`.",
        "A path that is not here is 404 `not_found`; a method that a path does not have is 405 `method_not_allowed`, with `Allow`.",
      ].join("\n\n"),
      license: { name: "MIT" },
    },
    tags: [
      { name: "publishers", description: "Who pushes: a back end" },
      { name: "clients", description: "Who receives: a browser tab, or any program on the receiving side" },
      { name: "operators", description: "Who runs the server" },
    ],
    components: {
      securitySchemes: {
        apiKey: {
          type: "http",
          scheme: "bearer",
          description: "One of `--api-key` or `--api-key-file`; without any the server is open",
        },
      },
      parameters: {
        userid: id("userid", "123"),
        compid: id("compid", "inbox"),
        message: {
          name: "message",
          in: "query",
          required: true,
          description: "The text to push, up to the limit of `--max-message` in bytes of UTF-8",
          schema: { type: "string", minLength: 1 },
          example: "hello",
        },
        event: {
          name: "event",
          in: "query",
          description: `A name that a client can listen for: 1 to ${maxEventBytes} bytes of UTF-8 without control characters; not \`error\` or \`open\`, which an \`EventSource\` fires by itself, nor one that begins with \`push.\`, as the server's own do`,
          schema: { type: "string", minLength: 1, maxLength: maxEventBytes },
          example: "order",
        },
        key: {
          name: "key",
          in: "query",
          description: `What the message tells the state of: a later one with the same address and key replaces it for everybody who has not had it yet. 1 to ${maxKeyBytes} bytes of UTF-8 without control characters`,
          schema: { type: "string", minLength: 1, maxLength: maxKeyBytes },
          example: "progress",
        },
        ttl: {
          name: "ttl",
          in: "query",
          description:
            "How many seconds the message is there for who comes later; 0: only who is connected gets it",
          schema: { type: "integer", minimum: 0, maximum: maxTtl },
          example: 60,
        },
        except: {
          name: "except",
          in: "query",
          description:
            "The id of a session that this push is not delivered to, such as that of the page that it comes from",
          schema: sessionIdSchema,
          example: "8Jk2mXw1Yd0q3VbTzRk5Ng",
        },
        session: {
          name: "session",
          in: "query",
          description: "The id of a session",
          schema: sessionIdSchema,
          example: "8Jk2mXw1Yd0q3VbTzRk5Ng",
        },
        receiptWait: {
          name: "wait",
          in: "query",
          description: `How many seconds to wait for the first receipt of a client of \`push.v1\`; the answer then has \`received\`, 1 or 0`,
          schema: { type: "integer", minimum: 1, maximum: maxWait },
          example: 5,
        },
        back: {
          name: "back",
          in: "query",
          description: "Whether clients are told to come back, or to stay away",
          schema: { type: "boolean", default: false },
          example: true,
        },
        limit: {
          name: "limit",
          in: "query",
          description: "How many sessions a page has at the most",
          schema: { type: "integer", minimum: 1, maximum: 1000, default: 100 },
          example: 100,
        },
        after: {
          name: "after",
          in: "query",
          description: "The `next` of the page before",
          schema: { type: "string", minLength: 1 },
          example: "1769862601000.001",
        },
        idempotencyKey: {
          name: "Idempotency-Key",
          in: "header",
          description:
            "A repeat within five minutes pushes nothing, gets the first answer, and says `Idempotency-Replayed: true`",
          schema: { type: "string", minLength: 1, maxLength: maxIdempotencyKeyBytes },
          example: "order-17-paid",
        },
        since: sinceParameter("since", "Where to start"),
        last_event_id: sinceParameter(
          "last_event_id",
          "The same, for programs that cannot send the header `Last-Event-ID`, which wins over it; wins over `since`. What is none of these is not refused, but counts as an id that is not known",
        ),
        lastEventIdHeader: {
          name: "Last-Event-ID",
          in: "header",
          description:
            "The same as `last_event_id`, and wins over it: browsers send it when an `EventSource` comes back",
          schema: { type: "string" },
          example: "k3f9a0zq-1042",
        },
        expires: {
          name: "expires",
          in: "query",
          description: "In how many seconds the token expires, up to `--max-token-time`",
          schema: { type: "integer", minimum: 1, default: 3600 },
          example: 3600,
        },
        token: {
          name: "token",
          in: "query",
          description:
            "Who the client is, where the server needs to know: a token of `/tokens`, or of the issuer that the server trusts. Instead of it `Authorization: Bearer TOKEN`, or for a WebSocket a subprotocol `bearer.TOKEN` beside `push.v1`",
          schema: { type: "string", minLength: 1 },
          example: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl",
        },
        wait: {
          name: "wait",
          in: "query",
          description: "How many seconds to wait for a message",
          schema: { type: "integer", minimum: 0, maximum: 120, default: 25 },
          example: 25,
        },
      },
      responses: {
        InvalidQuery: theOnly(describeProblems(badQuery, receiving)),
        InvalidPollQuery: theOnly(describeProblems(badQuery, [...receiving, "wait"])),
        UpgradeRequired: theOnly(describeProblems(["upgrade_required"])),
        NoNewSession: theOnly(describeProblems(["too_many_sessions", "shutting_down", "unavailable"])),
        MethodNotAllowed: theOnly(describeProblems(["method_not_allowed"])),
        TooMuch: theOnly(
          describeProblems(["rate_limited", "quota_exceeded"], [], {
            rate_limited: "203.0.113.7 begins too many sessions, the limit is 50 a second",
          }),
        ),
        NoToken: theOnly(describeProblems(["unauthorized"])),
        NotAllowed: theOnly(describeProblems(["forbidden", "foreign_host", "foreign_origin"])),
        NotFound: theOnly(describeProblems(["not_found"])),
        InternalError: theOnly(describeProblems(["internal"])),
      },
      schemas,
    },
  } satisfies Partial<OpenAPIV3.Document>;
}

/** The one answer in `responses`, which were made of errors with one status. */
function theOnly(responses: Responses): OpenAPIV3.ResponseObject | OpenAPIV3.ReferenceObject {
  const [only] = Object.values(responses);
  if (only === undefined) throw new TypeError("expected at least one error");
  return only;
}
