/**
 * What the API's document says of the three ways to receive. It refers to the components in http/openapi.ts by name.
 */
const toParameters = (...names: readonly string[]) =>
  ["userid", "compid", ...names].map((name) => ({ $ref: `#/components/parameters/${name}` }));

/** What every way to receive takes. */
const common = ["since", "last_event_id", "token", "lastEventIdHeader"] as const;

const whoGetsWhat =
  "With `userid` and `compid` the session gets what is pushed to that user's component, to that user, to that component, and to all; with one of them, what is pushed to it and to all; with neither, what is pushed to all.";

const fromWhere =
  "`since` says where to start; without it, now. It is told in the headers `Last-Event-ID` (everything after this follows) and, where an id was given, `Server-Push-Resumed`: `true` when it is proven that nothing since was lost, else `false`, and then the stream starts from now.";

const startHeaders = {
  "Last-Event-ID": { description: "Everything after this id follows", schema: { type: "string" as const } },
  "Server-Push-Resumed": {
    description: "Where an id was given: whether it is proven that nothing since was lost",
    schema: { type: "string" as const, enum: ["true", "false"] },
  },
};

const errors = {
  400: { $ref: "#/components/responses/InvalidQuery" },
  401: { $ref: "#/components/responses/NoToken" },
  403: { $ref: "#/components/responses/NotAllowed" },
  405: { $ref: "#/components/responses/MethodNotAllowed" },
  429: { $ref: "#/components/responses/TooMuch" },
  431: { description: "Request line and headers take more than 256 KiB; without a body" },
  500: { $ref: "#/components/responses/InternalError" },
  503: { $ref: "#/components/responses/NoNewSession" },
};

export const webSocketDescription = {
  operationId: "connectWebSocket",
  tags: ["clients"],
  summary: "Receive over a WebSocket",
  description: [
    "A WebSocket handshake (RFC 6455). Every message is one frame, exactly its body: text as a text frame, bytes as a binary one. With the subprotocol `push.v1`, every frame is JSON and has the message's id: see the section on the wire in the README.",
    whoGetsWhat,
    fromWhere,
    "A request without the handshake runs the same checks and says what is wrong, or 426 when all is well: a browser cannot see why its handshake was refused, but can fetch the same URL.",
    "Close codes: 1001 the server went away, 1008 the client went on sending more than `--max-receive-rate`, 1009 a message from the client was larger than `--max-message`, 1012 the server restarts: come back after a random pause, 1013 what is missing was dropped from the journal meanwhile, 4001 the token has expired: come back with a new one.",
  ].join("\n\n"),
  parameters: toParameters(...common),
  responses: {
    101: { description: "The session is open", headers: startHeaders },
    ...errors,
    426: { $ref: "#/components/responses/UpgradeRequired" },
  },
};

export const eventStreamDescription = {
  operationId: "connectEventStream",
  tags: ["clients"],
  summary: "Receive over Server-Sent Events",
  description: [
    "A stream of events as the HTML standard has them, for a browser's `EventSource` and its like: `id`, `event` when the message has one, and `data`. Line breaks of a text arrive as `\\n`, bytes in base64.",
    whoGetsWhat,
    fromWhere,
    "An `EventSource` resumes by itself. The first event is `push.welcome`, with `{session, id, resumed, idle}` as `data`. When nothing else was sent, an `id` without an event comes about every `idle` seconds. A stream that the server ends says why in its last event, `push.close`, with `{code, reason}` as `data`: the close codes of a WebSocket.",
    "To a request with `Accept: text/event-stream` that cannot be taken now the answer is not 503 but a stream that ends with its `retry`: an `EventSource` would give up for good.",
  ].join("\n\n"),
  parameters: toParameters(...common),
  responses: {
    200: {
      description: "The stream",
      headers: startHeaders,
      content: {
        "text/event-stream": {
          schema: { type: "string" as const },
          example: 'id: k3f9a0zq-1043\nevent: order\ndata: {"order":17}\n\n',
        },
      },
    },
    ...errors,
  },
};

export const pollDescription = {
  operationId: "poll",
  tags: ["clients"],
  summary: "Receive by long poll",
  description: [
    "Answers at once with what came since, else with the first that comes within `wait` seconds, else with no messages. The answer's `id` is the `since` of the next poll: what arrives between two is in the next one.",
    whoGetsWhat,
    "`resumed` is there when an id was given: `true` when it is proven that nothing since was lost, else `false`, and then the next poll starts from now.",
  ].join("\n\n"),
  parameters: toParameters(...common, "wait"),
  responses: {
    200: {
      description: "What came",
      content: {
        "application/json": {
          schema: { $ref: "#/components/schemas/PollAnswer" },
          example: {
            id: "k3f9a0zq-1043",
            resumed: true,
            messages: [{ id: "k3f9a0zq-1043", event: "order", data: '{"order":17}' }],
          },
        },
      },
    },
    ...errors,
    400: { $ref: "#/components/responses/InvalidPollQuery" },
  },
};
