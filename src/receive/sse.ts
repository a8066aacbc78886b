/**
 * Receiving over Server-Sent Events: `/sse`, as the HTML standard has them (section 9.2), so a browser's own EventSource listens and
 * resumes by itself.
 *
 *   retry: 2411                        how long it waits before it comes back: each client another time
 *   event: push.welcome                the welcome, for pages that ask for it by this name
 *   id: k3f9a0zq-1042                  everything after this follows
 *   data: {"session":"8Jk…","id":"k3f9a0zq-1042","resumed":true,"idle":25}
 *
 *   id: k3f9a0zq-1043                  a message
 *   event: order
 *   data: {"order":17}
 *
 *   id: k3f9a0zq-1990                  the position, now and then: moves lastEventId, and is no event
 *
 *   event: push.close                  why the stream ends, where it is the server that ends it: as a WebSocket's close frame
 *   data: {"code":1012,"reason":"the server restarts"}
 */
import type { Server } from "bun";
import { Elysia } from "elysia";
import { type Address, topicsOf } from "../address.ts";
import type { Access } from "../auth/access.ts";
import { type ErrorCode, PushError } from "../errors.ts";
import { securityHeaders } from "../headers.ts";
import type { Hub, Outlet } from "../hub.ts";
import type { Logger } from "../logger.ts";
import type { Message } from "../message.ts";
import type { Metrics } from "../metrics.ts";
import { readQuery, refuseHead } from "../query.ts";
import type { Claimant } from "../quotas.ts";
import type { Follower } from "../replay.ts";
import { readSince } from "../since.ts";
import { eventStreamDescription } from "./describe.ts";
import {
  type ClientQuery,
  clientParameters,
  type Admit,
  type Admitted,
  toReplayedAtOnce,
  toStartHeaders,
} from "./start.ts";
import { Subscribers } from "./subscribers.ts";

export interface EventStreamParts {
  readonly metrics: Metrics;
  readonly admit: Admit;
  readonly access: Access;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly createSessionId: () => string;
  /** What may wait for a session that reads slowly, in bytes; over it, the session is ended. */
  readonly maxQueued: number;
  /** How often the client hears something, in milliseconds. */
  readonly ping: number;
}

type Controller = ReadableStreamDefaultController<Uint8Array>;

/** When clients come back, in milliseconds: at random between these. */
const retryMs = { least: 1000, most: 4000 };
/** A stream that has not taken a byte for so many pings is dead. */
const silentPings = 2;
/** In bytes. For each stream Bun reserves so much that every one would cost a page of memory more if it were over a few hundred. */
const highWaterMark = 1;
const queuingStrategy = new ByteLengthQueuingStrategy({ highWaterMark });

/**
 * A session, and its stream's source in one, which saves memory. For that it keeps no request either: with a browser's headers that
 * would be a third of all.
 */
class EventStream implements Follower {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly address?: string;
  openedAt = 0;
  readonly #streams: Streams;
  #controller: Controller | undefined = undefined;
  #isLive = false;

  constructor(id: string, { userid, compid, address }: Claimant & Address, streams: Streams) {
    this.id = id;
    if (userid !== undefined) this.userid = userid;
    if (compid !== undefined) this.compid = compid;
    if (address !== undefined) this.address = address;
    this.#streams = streams;
  }

  get transport() {
    return "sse" as const;
  }

  open(first: Uint8Array): ReadableStream<Uint8Array> {
    const stream = new ReadableStream<Uint8Array>(this, queuingStrategy);
    this.#controller?.enqueue(first);
    return stream;
  }

  start(controller: Controller): void {
    this.#controller = controller;
  }

  /** Called when nothing waits any more. */
  pull(): void {
    if (!this.#isLive) this.#streams.hub.replays.goOn(this);
  }

  /** Called when the client has gone. */
  cancel(): void {
    this.#end("closed");
  }

  replay(messages: readonly Message[]): number {
    let sent = 0;
    const frames: Uint8Array[] = [];
    for (let room = this.#streams.replayedAtOnce - this.#queued; room > 0 && sent < messages.length; sent++) {
      const message = messages[sent];
      if (message === undefined) break;
      const frame = this.#streams.encode(message);
      frames.push(frame);
      room -= frame.length;
    }
    if (sent > 0) this.#controller?.enqueue(Buffer.concat(frames));
    return sent;
  }

  goLive(): void {
    this.#isLive = true;
    for (const topic of topicsOf(this)) this.#streams.subscribers.add(topic, this);
  }

  mute(topic: string): void {
    if (this.#isLive) this.#streams.subscribers.remove(topic, this);
  }

  unmute(topic: string): void {
    if (this.#isLive) this.#streams.subscribers.add(topic, this);
  }

  /** Whether it was sent; a session that reads too slowly is ended instead, after what already waits for it. */
  send(frame: Uint8Array): boolean {
    if (this.#queued > this.#streams.maxQueued) {
      this.#streams.onSlow(this);
      this.#close("slow");
      return false;
    }
    this.#controller?.enqueue(frame);
    return true;
  }

  /** An EventSource comes back whatever is said, so it need not listen for this; our own library does. */
  close(code: number, reason: string): void {
    this.#controller?.enqueue(encoder.encode(toCloseEvent(code, reason)));
    this.#close("closed");
  }

  /** A dead one is found by Bun, which ends a stream that takes nothing for long enough. */
  probe(position: string): void {
    // Everything up to there was sent before, but to a session that is still being replayed to.
    this.send(encoder.encode(this.#isLive ? `id: ${position}\n\n` : ":\n\n"));
  }

  /** What waits to be read, in bytes. */
  get #queued(): number {
    return highWaterMark - (this.#controller?.desiredSize ?? highWaterMark);
  }

  #close(how: "closed" | "slow"): void {
    const controller = this.#controller;
    this.#end(how);
    controller?.close();
  }

  #end(how: "closed" | "slow"): void {
    if (this.#isLive) for (const topic of topicsOf(this)) this.#streams.subscribers.remove(topic, this);
    this.#isLive = false;
    this.#controller = undefined;
    this.#streams.hub.detach(this, how);
  }
}

/** What all streams share. */
interface Streams {
  readonly hub: Hub;
  readonly subscribers: Subscribers<EventStream>;
  readonly maxQueued: number;
  readonly replayedAtOnce: number;
  readonly encode: (message: Message) => Uint8Array;
  readonly onSlow: (session: EventStream) => void;
}

export function openEventStreams({
  metrics,
  admit,
  access,
  hub,
  logger,
  createSessionId,
  maxQueued,
  ping,
}: EventStreamParts) {
  const streams: Streams = {
    hub,
    subscribers: new Subscribers(),
    maxQueued,
    replayedAtOnce: toReplayedAtOnce(maxQueued),
    encode: (message) => encoder.encode(toEvent(hub.toId(message.offset), message)),
    onSlow: ({ id, userid, compid, transport }) =>
      logger.warn("a session reads too slowly and is dropped", { id, userid, compid, transport, maxQueued }),
  };
  const silentSeconds = Math.max(5, Math.ceil((silentPings * ping) / 1000));

  const routes = new Elysia().get(
    "/sse",
    ({ request, server }) => {
      refuseHead(request);
      const query = readQuery(request.url, clientParameters);
      const open = (client: Admitted) => begin(request, server, query, client);
      const tell = (error: unknown) => refuse(request, error);
      try {
        const admitted = admit(request, server, query);
        return admitted instanceof Promise ? admitted.then(open).catch(tell) : open(admitted);
      } catch (error) {
        return tell(error);
      }
    },
    { detail: eventStreamDescription },
  );

  /** An EventSource gives up for good on any other answer: where it may come back it is told so, in the only way that it understands. */
  function refuse(request: Request, error: unknown): Response {
    const mayComeBack = error instanceof PushError && passing.has(error.code);
    if (!mayComeBack || request.headers.get("accept")?.includes(streamType) !== true) throw error;
    metrics.rejected(error);
    // Where there is no room, a connection that stays open takes some.
    const headers = { ...streamHeaders, Connection: "close", ...access.toCorsHeaders(request) };
    return new Response(`retry: ${toRetry()}\n: ${error.detail}\n\n`, { headers });
  }

  function begin(
    request: Request,
    server: Server<unknown> | null,
    query: ClientQuery,
    client: Admitted,
  ): Response {
    const since = readSince(query, request.headers);
    hub.admit(client);
    const headers = { ...streamHeaders, ...access.toCorsHeaders(request) };
    const { offset, ...resumed } = hub.locate(since, client);
    const id = hub.toId(offset);
    const session = new EventStream(createSessionId(), client, streams);
    server?.timeout(request, silentSeconds);
    const welcome = JSON.stringify({ session: session.id, id, ...resumed, idle: ping / 1000 });
    const body = session.open(
      encoder.encode(`retry: ${toRetry()}\nevent: push.welcome\nid: ${id}\ndata: ${welcome}\n\n`),
    );
    hub.attach(session, offset, client.expiresAt);
    return new Response(body, { headers: { ...headers, ...toStartHeaders(id, resumed.resumed) } });
  }

  const outlet: Outlet = {
    deliver(message) {
      let sessions = 0;
      let event: Uint8Array | undefined;
      for (const session of streams.subscribers.of(message.topic))
        if (session.send((event ??= streams.encode(message)))) sessions++;
      return sessions;
    },
  };
  return { routes, outlet };
}

/** What passes by itself. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "rate_limited",
  "quota_exceeded",
  "too_many_sessions",
  "shutting_down",
  "unavailable",
]);

const encoder = new TextEncoder();
const streamType = "text/event-stream";
const streamHeaders = {
  ...securityHeaders,
  "Content-Type": streamType,
  // What stands between must neither keep, change nor collect it.
  "Cache-Control": "no-store, no-transform",
  "X-Accel-Buffering": "no",
};

/**
 * A message as an event: a line for each of its lines, as the format has no other line break than its own. What that cannot tell, a
 * comment does, for clients that read it: that it is bytes, or a text with its carriage returns.
 *
 *   : base64                         : json "one\r\ntwo"
 *   data: AAEC                       data: one
 *                                    data: two
 */
export function toEvent(id: string, { event, body }: Pick<Message, "event" | "body">): string {
  const isText = typeof body === "string";
  const data = isText ? body.replaceAll(/\r\n|\r|\n/g, "\ndata: ") : body.toBase64();
  const name = event === undefined ? "" : `event: ${event}\n`;
  const exact = isText ? (body.includes("\r") ? `: json ${JSON.stringify(body)}\n` : "") : ": base64\n";
  return `id: ${id}\n${name}${exact}data: ${data}\n\n`;
}

function toCloseEvent(code: number, reason: string): string {
  return `event: push.close\ndata: ${JSON.stringify({ code, reason })}\n\n`;
}

function toRetry(): number {
  return Math.round(retryMs.least + Math.random() * (retryMs.most - retryMs.least));
}
