/**
 * Receiving over a WebSocket: `/ws`. Plain, a message is one frame, exactly its body; with the subprotocol `push.v1`, JSON frames
 * have its id beside it.
 *
 * The upgrade happens inside an Elysia route, so the checks of every other call hold here too; then the socket is Bun's own.
 * A message to thousands is one native publish: nothing here does work per session, but for the session's begin and end.
 */
import type { Server, WebSocketHandler } from "bun";
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { OverLimit, PushError, quote } from "../errors.ts";
import type { Hub, Outlet } from "../hub.ts";
import type { Body } from "../message.ts";
import type { Metrics, SessionEnd } from "../metrics.ts";
import type { Logger } from "../logger.ts";
import { closeCodes, type MessageFrame, subprotocol } from "../protocol.ts";
import { readQuery } from "../query.ts";
import type { Sessions } from "../session.ts";
import { readSince } from "../since.ts";
import { createClientPush, type PushFrame } from "./client-push.ts";
import { webSocketDescription } from "./describe.ts";
import { readClientFrame, refOf, toMessageFrame } from "./frames.ts";
import { Inflow } from "./inflow.ts";
import { type Format, WebSocketSession } from "./socket.ts";
import {
  type ClientQuery,
  clientParameters,
  type Admit,
  type Admitted,
  toReplayedAtOnce,
  toStartHeaders,
} from "./start.ts";

export interface WebSocketParts {
  readonly metrics: Metrics;
  readonly admit: Admit;
  readonly access: Access;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly sessions: Sessions;
  readonly createSessionId: () => string;
  /** The largest message from a client, in bytes; a larger one ends the session with 1009. */
  readonly maxMessage: number;
  /** What may wait for a session that reads slowly, in bytes; over it, the session is dropped. */
  readonly maxQueued: number;
  /** Whether clients may push, within what their tokens say. */
  readonly clientPush: boolean;
  /** How many messages a session may send in a second, over time. */
  readonly receiveRate: number;
  /** How often the client hears something, in milliseconds. */
  readonly ping: number;
}

export function openWebSockets({
  metrics,
  admit,
  access,
  hub,
  logger,
  sessions,
  createSessionId,
  maxMessage,
  maxQueued,
  ping,
  receiveRate,
  clientPush: isAllowed,
}: WebSocketParts) {
  const clientPush = createClientPush({ hub, isAllowed, maxMessage });
  const replayedAtOnce = toReplayedAtOnce(maxQueued);
  const plain: Format = {
    prefix: "",
    replayedAtOnce,
    encode: ({ body }) => body,
    encodeReply: (text) => text,
    encodeFrame: () => undefined,
    drop,
  };
  const pushV1: Format = {
    prefix: "v1 ",
    replayedAtOnce,
    encode: (message) => toMessageFrame(hub.toId(message.offset), message),
    encodeReply: (text) => JSON.stringify({ type: "message", data: text } satisfies MessageFrame),
    encodeFrame: (frame) => JSON.stringify(frame),
    drop,
  };
  /** How many sessions speak `push.v1`: without any, nothing is made for them. */
  let pushV1Sessions = 0;
  const routes = new Elysia().get(
    "/ws",
    ({ request, server }) => {
      const query = readQuery(request.url, clientParameters);
      const admitted = admit(request, server, query);
      const open = (client: Admitted) => upgrade(request, server, query, client);
      // An upgrade in the turn of the request costs less.
      return admitted instanceof Promise ? admitted.then(open) : open(admitted);
    },
    { detail: webSocketDescription },
  );

  function upgrade(
    request: Request,
    server: Server<unknown> | null,
    query: ClientQuery,
    client: Admitted,
  ): void {
    const { expiresAt, push } = client;
    const since = readSince(query, request.headers);
    requireVersion(request);
    hub.admit(client);
    requireUpgrade(request.headers.get("upgrade")?.toLowerCase() === "websocket");
    const start = hub.locate(since, client);
    const offered = request.headers.get("sec-websocket-protocol");
    const isPushV1 = offered?.split(",").some((name) => name.trim() === subprotocol) === true;
    const data = new WebSocketSession(
      createSessionId(),
      client,
      isPushV1 ? pushV1 : plain,
      expiresAt === undefined ? start : { ...start, expiresAt },
    );
    if (push !== undefined) data.mayPush = push;
    const headers = toStartHeaders(hub.toId(start.offset), start.resumed);
    // Without the empty header Bun would accept the first subprotocol that is offered, whatever it is.
    headers["Sec-WebSocket-Protocol"] = isPushV1 ? subprotocol : "";
    requireUpgrade(server?.upgrade(request, { data, headers }) === true);
  }

  const websocket: WebSocketHandler<WebSocketSession> = {
    maxPayloadLength: maxMessage,
    backpressureLimit: maxQueued,
    closeOnBackpressureLimit: true,
    // Dead peers are found by `probe`: Bun's own timer starts anew with everything that is sent to the peer.
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    open(socket) {
      const session = socket.data;
      const { offset, resumed, expiresAt } = session.start;
      session.socket = socket;
      if (session.format === pushV1) {
        pushV1Sessions++;
        session.tell({
          type: "welcome",
          session: session.id,
          id: hub.toId(offset),
          ...(resumed !== undefined && { resumed }),
          idle: ping / 1000,
        });
      }
      hub.attach(session, offset, expiresAt);
    },
    message({ data: session }, body) {
      // Who was told to go sends nothing any more, and does not stay by sending.
      if (session.isLeaving) return;
      session.state = "heard";
      session.inflow ??= new Inflow(receiveRate);
      const verdict = session.inflow.judge(performance.now());
      if (verdict !== "taken") return refuseMessage(session, verdict, body);
      if (session.format === plain) return take(session, body);
      const frame = readClientFrame(body);
      if (frame instanceof PushError) tellError(session, frame, refOf(body));
      else if (frame.type === "message") take(session, frame.data, frame.ref);
      else if (frame.type === "push") pushFor(session, frame);
      else if (frame.type === "ack") hub.acknowledge(session, session.start.offset, frame.id);
      else renew(session, frame.token);
    },
    ping({ data: session }) {
      if (!session.isLeaving) session.state = "heard";
      countControl(session);
    },
    pong({ data: session }) {
      const isAsked = session.state === "asked";
      if (!session.isLeaving) session.state = "heard";
      if (!isAsked) countControl(session);
    },
    // What is thrown here would end the process.
    error(error) {
      logger.error("a handler of a session failed", { error: error.stack ?? error.message });
    },
    drain({ data: session }) {
      session.drained();
      if (session.mayTakeMore()) hub.replays.goOn(session);
    },
    close({ data: session }, code, reason) {
      if (session.format === pushV1) pushV1Sessions--;
      hub.detach(session, toSessionEnd(session, code, reason), code);
    },
  };
  return { routes, websocket, createOutlet };

  /** A plain session could not be told, and would think that it was taken: it is ended at once. */
  function refuseMessage(session: WebSocketSession, verdict: "refused" | "ended", body: Body): void {
    const error = new OverLimit(
      "rate_limited",
      "max-receive-rate",
      `the session sends too many messages, the limit is ${receiveRate} a second`,
    );
    if (verdict === "refused" && session.format !== plain) return refuse(session, error, refOf(body));
    metrics.rejected(error);
    session.close(closeCodes.policy, error.detail);
  }

  /** Nobody needs more of these than of messages, and Bun answers each; who sends them may not read, so it is not told. */
  function countControl(session: WebSocketSession): void {
    session.inflow ??= new Inflow(receiveRate);
    if (session.inflow.judgeControl(performance.now()) === "taken") return;
    metrics.rejected(
      new OverLimit("rate_limited", "max-receive-rate", "the session sends too many control frames"),
    );
    session.state = "flooding";
    session.socket?.terminate();
  }

  /** Over a plain WebSocket there is no other way to say that it was not taken. */
  function take(session: WebSocketSession, body: Body, ref?: string): void {
    const taking = hub.receive(session, body);
    if (taking instanceof Promise) void taking.then((refusal) => tellTaken(session, refusal, ref));
    else tellTaken(session, taking, ref);
  }

  function tellTaken(session: WebSocketSession, refusal: PushError | undefined, ref?: string): void {
    if (refusal !== undefined) {
      if (session.format === pushV1) return refuse(session, refusal, ref);
      metrics.rejected(refusal);
      session.close(closeCodes.overloaded, refusal.detail);
    } else if (ref !== undefined) session.tell({ type: "receipt", ref });
  }

  function renew(session: WebSocketSession, token: string): void {
    access.renew(session, token).then(
      ({ expiresAt, push: mayPush }) => {
        if (!hub.expiries.has(session)) return;
        hub.expiries.set(session, expiresAt);
        session.mayPush = mayPush;
      },
      (error: unknown) => refuse(session, error),
    );
  }

  function pushFor(session: WebSocketSession, frame: PushFrame): void {
    clientPush(session, frame).then(
      (receipt) => session.tell(receipt),
      (error: unknown) => refuse(session, error, frame.ref),
    );
  }

  function refuse(session: WebSocketSession, error: unknown, ref?: string): void {
    if (!(error instanceof PushError))
      return logger.error("what a client sent could not be handled", { error: String(error) });
    metrics.rejected(error);
    tellError(session, error, ref);
  }

  function createOutlet(server: Pick<Server<unknown>, "publish" | "subscriberCount">): Outlet {
    return {
      deliver(message) {
        const sent = publish(message.topic, message.body);
        if (pushV1Sessions === 0) return sent;
        const topic = pushV1.prefix + message.topic;
        return server.subscriberCount(topic) === 0 ? sent : sent + publish(topic, pushV1.encode(message));
      },
    };

    function publish(topic: string, frame: Body): number {
      const listening = server.subscriberCount(topic);
      // What is published in one turn of the event loop leaves together at its end, one system call a socket.
      if (listening === 0 || server.publish(topic, frame, false) !== 0) return listening;
      return listening - dropSlow(topic);
    }
  }

  /**
   * Bun refuses what is over the limit of a socket and closes it, but not at once: until then it counts. A publish says
   * only that there is one such, which is rare enough to look for it.
   */
  function dropSlow(topic: string): number {
    let dropped = 0;
    for (const session of sessions) {
      if (!(session instanceof WebSocketSession) || !session.isSlow(topic, maxQueued)) continue;
      drop(session);
      dropped++;
    }
    return dropped;
  }

  function drop(session: WebSocketSession): void {
    const { id, userid, compid, transport } = session;
    logger.warn("a session reads too slowly and is dropped", { id, userid, compid, transport, maxQueued });
    session.drop();
  }
}

function tellError(session: WebSocketSession, { code, detail }: PushError, ref?: string): void {
  session.tell({ type: "error", code, detail, ...(ref !== undefined && { ref }) });
}

function requireUpgrade(isUpgrade: boolean): void {
  if (isUpgrade) return;
  throw new PushError(
    "upgrade_required",
    "this is a WebSocket endpoint, expected a WebSocket handshake; all else is well",
  );
}

/** Bun would answer an upgrade of another version by itself, and would not say what is wrong. */
function requireVersion(request: Request): void {
  const version = request.headers.get("sec-websocket-version");
  if (version === null || version === "13") return;
  throw new PushError(
    "upgrade_required",
    `Sec-WebSocket-Version ${quote(version)} is not supported, expected 13`,
  );
}

/** 1006 is what a side sees that got no close frame (RFC 6455 section 7.4.1); a reason beside it is Bun's, for its own close. */
function toSessionEnd(session: WebSocketSession, code: number, reason: string): SessionEnd {
  if (session.state === "lost") return "unresponsive";
  if (session.state === "slow") return "slow";
  if (session.state === "flooding") return "violation";
  if (code !== 1006) return "closed";
  return reason === "" ? "dropped" : "violation";
}
