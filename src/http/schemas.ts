/**
 * What goes in and out as JSON, as the OpenAPI document has it.
 */
import type { OpenAPIV3 } from "openapi-types";
import { maxIdBytes } from "../address.ts";
import { maxEventBytes, maxKeyBytes, maxTtl } from "../message.ts";
import { answers } from "./errors.ts";

export const schemas = {
  Receipt: {
    type: "object",
    required: ["id", "sessions"],
    properties: {
      id: { type: "string", description: "Where the message stands in the journal; opaque" },
      sessions: {
        type: "integer",
        minimum: 0,
        description: "How many sessions this push was sent to: counted, never estimated",
      },
      received: {
        type: "integer",
        minimum: 0,
        maximum: 1,
        description: "With `wait`: whether a client has said that it has handled the message",
      },
    },
  },
  Problem: {
    type: "object",
    required: ["type", "title", "status", "detail", "code"],
    properties: {
      type: { type: "string" },
      title: { type: "string" },
      status: { type: "integer" },
      detail: { type: "string", description: "What was wrong, with what, and what was expected" },
      code: { type: "string", enum: Object.keys(answers).filter((code) => code !== "malformed_frame") },
      item: {
        type: "integer",
        minimum: 0,
        description: "Of a batch: the item that is wrong, counted from 0",
      },
    },
  },
  Item: {
    type: "object",
    required: ["message"],
    additionalProperties: false,
    description: "With `userid`, `compid` or both, or with `all`",
    properties: {
      userid: { type: "string", minLength: 1, maxLength: maxIdBytes },
      compid: { type: "string", minLength: 1, maxLength: maxIdBytes },
      all: { type: "boolean", enum: [true] },
      message: { type: "string", minLength: 1 },
      event: { type: "string", minLength: 1, maxLength: maxEventBytes },
      key: { type: "string", minLength: 1, maxLength: maxKeyBytes },
      ttl: { type: "integer", minimum: 0, maximum: maxTtl },
      except: { type: "string", minLength: 22, maxLength: 22 },
    },
  },
  Presence: {
    type: "object",
    required: ["sessions"],
    properties: {
      online: { type: "boolean", description: "Absent when nobody in particular was asked for" },
      sessions: { type: "integer", minimum: 0, description: "How many there are now" },
      users: { type: "integer", minimum: 0, description: "How many are online; of all only" },
      components: {
        type: "array",
        description: "Of a user: the names, sorted. Of all: those with the most sessions, with their number",
        items: {
          oneOf: [
            { type: "string" },
            {
              type: "object",
              required: ["compid", "sessions"],
              properties: { compid: { type: "string" }, sessions: { type: "integer" } },
            },
          ],
        },
      },
      since: { type: "string", format: "date-time", description: "Since when the user is online" },
    },
  },
  SessionPage: {
    type: "object",
    required: ["sessions"],
    properties: {
      sessions: {
        type: "array",
        items: {
          type: "object",
          required: ["id", "transport", "since", "address"],
          properties: {
            id: { type: "string" },
            userid: { type: "string" },
            compid: { type: "string" },
            transport: { type: "string", enum: ["websocket", "sse", "poll"] },
            since: { type: "string", format: "date-time" },
            address: {
              type: "string",
              description: "As it counts at the limits: of IPv6 the /64; `loopback` for this machine",
            },
          },
        },
      },
      next: { type: "string", description: "There are more: the `after` of the next page" },
    },
  },
  Token: {
    type: "object",
    required: ["token", "expires"],
    properties: {
      token: { type: "string", description: "A JSON Web Token: what a client gives as `token`" },
      expires: { type: "integer", minimum: 1, description: "In how many seconds it expires" },
    },
  },
  PollAnswer: {
    type: "object",
    required: ["id", "messages"],
    properties: {
      id: { type: "string", description: "The `since` of the next poll" },
      resumed: {
        type: "boolean",
        description: "Where an id was given: whether it is proven that nothing since was lost",
      },
      messages: {
        type: "array",
        items: {
          type: "object",
          required: ["id"],
          properties: {
            id: { type: "string" },
            event: { type: "string" },
            data: { type: "string", description: "A text" },
            base64: { type: "string", description: "Bytes, instead of `data`" },
          },
        },
      },
    },
  },
} satisfies OpenAPIV3.ComponentsObject["schemas"];
