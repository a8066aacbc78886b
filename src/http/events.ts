/**
 * What happens here, for back ends that listen: /events, as Server-Sent Events, or as NDJSON where that is asked for.
 *
 *   event: events.welcome                          {"type":"events.welcome","id":"k3f9a0zq-17","resumed":true,"idle":25}
 *   id: k3f9a0zq-17
 *   data: {"id":"k3f9a0zq-17","resumed":true,"idle":25}
 *
 *   id: k3f9a0zq-18                                {"id":"k3f9a0zq-18","type":"user.online","timestamp":…,"data":{…}}
 *   event: user.online
 *   data: {"type":"user.online","timestamp":…,"data":{…}}
 *
 *   id: k3f9a0zq-18                                {"type":"events.position","id":"k3f9a0zq-18"}
 *
 * The last of these comes at least every `idle` seconds: the connection is alive, and everything up to there was sent.
 */
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { PushError, quote } from "../errors.ts";
import { type EventType, eventTypes } from "../event-types.ts";
import type { Events } from "../events.ts";
import { unkeptHeaders } from "../headers.ts";
import type { Logger } from "../logger.ts";
import { readQuery, refuseHead } from "../query.ts";
import { readSince, type Since, sinceParameters } from "../since.ts";
import { EventReader, type EventReaders, type Format, type Start } from "./event-reader.ts";
import { describeEvents } from "./openapi-events.ts";

export interface EventRoutesParts {
  readonly access: Access;
  readonly events: Events;
  readonly eventReaders: EventReaders;
  readonly logger: Pick<Logger, "error">;
  /** How often a reader hears something, in milliseconds. */
  readonly ping: number;
  /** Lets the connection of a request be silent for so many seconds. */
  readonly allowSilence: (request: Request, seconds: number) => void;
}

export const eventParameters = ["types", ...sinceParameters] as const;

const lines = "application/x-ndjson";
/** A reader that has not taken a byte for so many pings is dead. */
const silentPings = 2;
const silentSecondsAtLeast = 10;

export function eventRoutes({ access, events, eventReaders, logger, ping, allowSilence }: EventRoutesParts) {
  const idle = ping / 1000;
  const [asEvents, asLines] = [toEventFormat(idle), toLineFormat(idle)];
  return new Elysia().get(
    "/events",
    ({ request }) => {
      refuseHead(request);
      access.checkPublisher(request);
      const query = readQuery(request.url, eventParameters);
      const types = readTypes(query.types);
      const start = locate(events, readSince(query, request.headers), types);
      // Names of media types have no case (RFC 9110 section 8.3.1).
      const isLines = request.headers.get("accept")?.toLowerCase().includes(lines) === true;
      allowSilence(request, Math.max(silentSecondsAtLeast, Math.ceil(silentPings * idle)));
      const format = isLines ? asLines : asEvents;
      const reader = new EventReader({ events, types, format, ping, logger, readers: eventReaders }, start);
      return new Response(reader.stream, {
        headers: {
          ...unkeptHeaders,
          "Content-Type": isLines ? lines : "text/event-stream",
          // What stands between must neither keep, change nor collect it.
          "Cache-Control": "no-store, no-transform",
          "X-Accel-Buffering": "no",
        },
      });
    },
    { detail: describeEvents() },
  );
}

/** Where a reader begins; as for a client, it is told when that is not where it wanted to. */
function locate(events: Events, since: Since | undefined, types: readonly EventType[]): Start {
  if (since === undefined) return { offset: events.head };
  if ("ageMs" in since) return { offset: events.offsetBefore(since.ageMs) };
  const resumed = since.epoch === events.epoch && events.since(since.offset, types) !== undefined;
  return { offset: resumed ? since.offset : events.head, resumed };
}

function readTypes(text: string | undefined): readonly EventType[] {
  if (text === undefined) return eventTypes;
  const wanted = new Set(text.split(","));
  const known = eventTypes.filter((type) => wanted.delete(type));
  const [unknown] = wanted;
  if (unknown === undefined) return known;
  throw new PushError(
    "invalid_parameter",
    `parameter types has ${quote(unknown)}, expected some of ${eventTypes.join(", ")} with commas between`,
  );
}

function toEventFormat(idle: number): Format {
  return {
    welcome: (id, resumed) =>
      `event: events.welcome\nid: ${id}\ndata: ${JSON.stringify({ id, resumed, idle })}\n\n`,
    event: ({ id, type, json }) => `id: ${id}\nevent: ${type}\ndata: ${json}\n\n`,
    position: (id) => `id: ${id}\n\n`,
  };
}

function toLineFormat(idle: number): Format {
  return {
    welcome: (id, resumed) => `${JSON.stringify({ type: "events.welcome", id, resumed, idle })}\n`,
    // The one member more stands first, and the rest is as it was written down.
    event: ({ id, json }) => `{"id":"${id}",${json.slice(1)}\n`,
    position: (id) => `${JSON.stringify({ type: "events.position", id })}\n`,
  };
}
