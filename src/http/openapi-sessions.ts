/**
 * What the OpenAPI document says of the calls about who is there.
 */
import type { OpenAPIV3 } from "openapi-types";
import { withKey } from "./openapi.ts";
import { describeProblems } from "./problems.ts";

const parameter = (name: string) => ({ $ref: `#/components/parameters/${name}` });
const badQuery = ["unknown_parameter", "repeated_parameter", "empty_parameter", "invalid_parameter"] as const;
const always = ["unauthorized", "foreign_host", "foreign_origin", "method_not_allowed", "internal"] as const;

const example = {
  id: "8Jk2mXw1Yd0q3VbTzRk5Ng",
  userid: "123",
  compid: "inbox",
  transport: "websocket",
  since: "2026-01-31T12:30:01.000Z",
  address: "203.0.113.7",
};

export function describePresence(): OpenAPIV3.OperationObject {
  return {
    operationId: "getPresence",
    tags: ["publishers"],
    security: withKey,
    summary: "Whether a user, a component, or a user's component is there",
    description:
      "A user is online until three seconds after the last session has ended: a reload is no departure. Without parameters: how many users and sessions there are, and the components with the most sessions.",
    parameters: ["userid", "compid"].map(parameter),
    responses: {
      200: {
        description: "Who is there",
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/Presence" },
            example: { online: true, sessions: 2, components: ["chart", "inbox"], since: example.since },
          },
        },
      },
      ...describeProblems([...badQuery, ...always], ["userid", "compid"]),
    },
  };
}

export function describeSessions(): OpenAPIV3.OperationObject {
  return {
    operationId: "getSessions",
    tags: ["publishers"],
    security: withKey,
    summary: "The sessions, page by page, in the order in which they began",
    parameters: ["userid", "compid", "limit", "after"].map(parameter),
    responses: {
      200: {
        description: "A page; with `next`, there are more: it is the `after` of the next page",
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/SessionPage" },
            example: { sessions: [example], next: "1769862601000.001" },
          },
        },
      },
      ...describeProblems([...badQuery, ...always], ["userid", "compid", "limit", "after"]),
    },
  };
}

export function describeDisconnect(): OpenAPIV3.OperationObject {
  return {
    operationId: "deleteSessions",
    tags: ["publishers"],
    security: withKey,
    summary: "End sessions",
    description:
      "Those of a user, of a component, of both, or one. A WebSocket is closed with 4500, which tells its client to stay away, or with `back=true` with 4000, which tells it to come back. An event stream ends with the event `push.close` that says the same, but a browser's `EventSource` opens it again whatever is said: take its token away too.",
    parameters: ["userid", "compid", "session", "back"].map(parameter),
    responses: {
      200: {
        description: "How many were ended",
        content: {
          "application/json": {
            schema: { type: "object", required: ["closed"], properties: { closed: { type: "integer" } } },
            example: { closed: 2 },
          },
        },
      },
      ...describeProblems(
        [...badQuery, "missing_address", ...always],
        ["userid", "compid", "session", "back"],
      ),
    },
  };
}
