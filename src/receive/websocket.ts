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
import { PushError, quote } from "../errors.ts";
import type { Hub, Outlet } from "../hub.ts";
import type { Body } from "../message.ts";
import type { Metrics, SessionEnd } from "../metrics.ts";
import type { Logger } from "../logger.ts";
import { closeCodes, subprotocol } from "../protocol.ts";
import { readQuery } from "../query.ts";
import type { Sessions } from "../session.ts";
import { readSince } from "../since.ts";
import { webSocketDescription } from "./describe.ts";
import { readClientFrame, toMessageFrame } from "./frames.ts";
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
}: WebSocketParts) {
  const replayedAtOnce = toReplayedAtOnce(maxQueued);
  const plain: Format = {
    prefix: "",
    replayedAtOnce,
    encode: ({ body }) => body,
    encodeFrame: () => undefined,
  };
  const pushV1: Format = {
    prefix: "v1 ",
    replayedAtOnce,
    encode: (message) => toMessageFrame(hub.toId(message.offset), message),
    encodeFrame: (frame) => JSON.stringify(frame),
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
    { ids, expiresAt }: Admitted,
  ): void {
    const since = readSince(query, request.headers);
    requireVersion(request);
    hub.admit(ids);
    requireUpgrade(request.headers.get("upgrade")?.toLowerCase() === "websocket");
    const start = hub.locate(since, ids);
    const offered = request.headers.get("sec-websocket-protocol");
    const isPushV1 = offered?.split(",").some((name) => name.trim() === subprotocol) === true;
    const data = new WebSocketSession(createSessionId(), ids, isPushV1 ? pushV1 : plain, {
      ...start,
      ...(expiresAt !== undefined && { expiresAt }),
    });
    const headers = {
      ...toStartHeaders(hub.toId(start.offset), start.resumed),
      // Without the empty header Bun would accept the first subprotocol that is offered, whatever it is.
      "Sec-WebSocket-Protocol": isPushV1 ? subprotocol : "",
    };
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
      const { offset, expiresAt, ...resumed } = session.start;
      session.socket = socket;
      if (session.format === pushV1) pushV1Sessions++;
      session.tell({
        type: "welcome",
        session: session.id,
        id: hub.toId(offset),
        ...resumed,
        idle: ping / 1000,
      });
      hub.attach(session, offset, expiresAt);
    },
    message({ data: session }, body) {
      session.state = "heard";
      session.inflow ??= new Inflow(receiveRate);
      const verdict = session.inflow.judge(performance.now());
      if (verdict !== "taken") return refuseMessage(session, verdict);
      if (session.format === plain) return hub.receive(session, body);
      const frame = readClientFrame(body);
      if (frame instanceof PushError) session.tell({ type: "error", code: frame.code, detail: frame.detail });
      else if (frame.type === "message") hub.receive(session, frame.data);
      else if (frame.type === "ack") hub.acknowledge(session, session.start.offset, frame.id);
      else renew(session, frame.token);
    },
    ping({ data: session }) {
      session.state = "heard";
    },
    pong({ data: session }) {
      session.state = "heard";
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
  function refuseMessage(session: WebSocketSession, verdict: "refused" | "ended"): void {
    const detail = `the session sends too many messages, the limit is ${receiveRate} a second`;
    metrics.rejected("rate_limited");
    if (verdict === "ended" || session.format === plain) session.close(closeCodes.policy, detail);
    else session.tell({ type: "error", code: "rate_limited", detail });
  }

  function renew(session: WebSocketSession, token: string): void {
    access.renew(session, token).then(
      (expiresAt) => {
        if (hub.expiries.has(session)) hub.expiries.set(session, expiresAt);
      },
      (error: unknown) => {
        if (error instanceof PushError) {
          metrics.rejected(error.code);
          return session.tell({ type: "error", code: error.code, detail: error.detail });
        }
        logger.error("a token could not be verified", { error: String(error) });
      },
    );
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
      const { id, userid, compid, transport } = session;
      logger.warn("a session reads too slowly and is dropped", { id, userid, compid, transport, maxQueued });
      session.drop();
      dropped++;
    }
    return dropped;
  }
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
  if (code !== 1006) return "closed";
  return reason === "" ? "dropped" : "violation";
}
