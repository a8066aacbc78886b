/**
 * What the OpenAPI document says beyond the routes themselves. A route that lives outside this folder refers to the
 * components by name.
 */
import type { OpenAPIV3 } from "openapi-types";
import { describeProblems } from "./problems.ts";
import { parameters } from "./parameters.ts";
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
    parameters: [{ ...parameters.userid, required: true }, ...["compid", "expires", "push"].map(parameter)],
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
        ["userid", "compid", "expires", "push"],
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
      parameters,
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
