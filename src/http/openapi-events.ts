/**
 * What the OpenAPI document says of /events.
 */
import type { OpenAPIV3 } from "openapi-types";
import { withKey } from "./openapi.ts";
import { describeProblems } from "./problems.ts";

const event =
  '{"type":"message.received","timestamp":"2026-01-31T12:30:01.000Z","data":{"session":"8Jk2mXw1Yd0q3VbTzRk5Ng","userid":"123","message":"hello"}}';

export function describeEvents(): OpenAPIV3.OperationObject {
  const names = ["types", "since", "last_event_id"];
  return {
    operationId: "getEvents",
    tags: ["publishers"],
    security: withKey,
    summary: "What happens here, as a stream that can be resumed",
    description:
      "Who comes and goes, what clients send, and what found nobody. As Server-Sent Events, or with `Accept: application/x-ndjson` as a line of JSON for each, which has the event's `id` too. First comes `events.welcome`: where the stream begins, whether it is proven that nothing since the id that was given is missing (`resumed`), and every how many seconds (`idle`) at least something comes. When nothing else does, that is the position: as SSE an `id` alone, as a line `events.position`.",
    parameters: [...names, "lastEventIdHeader"].map((name) => ({ $ref: `#/components/parameters/${name}` })),
    responses: {
      200: {
        description: "The events, without end",
        content: {
          "text/event-stream": {
            schema: { type: "string" },
            example: `event: events.welcome\nid: k3f9a0zq-17\ndata: {"id":"k3f9a0zq-17","resumed":true,"idle":25}\n\nid: k3f9a0zq-18\nevent: message.received\ndata: ${event}\n\n`,
          },
          "application/x-ndjson": {
            schema: { type: "string" },
            example: `{"type":"events.welcome","id":"k3f9a0zq-17","resumed":true,"idle":25}\n{"id":"k3f9a0zq-18",${event.slice(1)}\n`,
          },
        },
      },
      ...describeProblems(
        [
          "unknown_parameter",
          "repeated_parameter",
          "empty_parameter",
          "invalid_parameter",
          "unauthorized",
          "foreign_host",
          "foreign_origin",
          "method_not_allowed",
          "internal",
        ],
        names,
      ),
    },
  };
}
