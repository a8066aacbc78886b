/**
 * The parameters of all calls, as the OpenAPI document has them.
 */
import type { OpenAPIV3 } from "openapi-types";
import { maxIdBytes } from "../address.ts";
import { eventTypes } from "../event-types.ts";
import { maxIdempotencyKeyBytes } from "../idempotency.ts";
import { kinds } from "../kinds.ts";
import { maxEventBytes, maxKeyBytes, maxTtl } from "../message.ts";
import { maxWait } from "./publish.ts";

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

export const parameters = {
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
      "A repeat within five minutes with the same API key pushes nothing, gets the first answer, and says `Idempotency-Replayed: true`",
    schema: { type: "string", minLength: 1, maxLength: maxIdempotencyKeyBytes },
    example: "order-17-paid",
  },
  types: {
    name: "types",
    in: "query",
    description: `The types of events to listen for, with commas between; all without it: ${eventTypes.join(", ")}`,
    schema: { type: "string", minLength: 1 },
    example: "user.online,user.offline",
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
  push: {
    name: "push",
    in: "query",
    description:
      "What the page may push to, with `--client-push`: components with commas between, and `*` for all of its own user",
    schema: { type: "string", minLength: 1 },
    example: "chat,cursor",
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
} satisfies Record<string, OpenAPIV3.ParameterObject>;
