/**
 * Receiving over a WebSocket: `/ws`, plain. A message is one frame, exactly its body.
 *
 * The upgrade happens inside an Elysia route, so the checks of every other call hold here too; then the socket is Bun's own.
 * A message to thousands is one native publish: nothing here does work per session, but for the session's begin and end.
 */
import type { Server, ServerWebSocket, WebSocketHandler } from "bun";
import { Elysia } from "elysia";
import { type Address, topicsOf } from "../address.ts";
import { PushError, quote } from "../errors.ts";
import type { Hub, Outlet } from "../hub.ts";
import type { SessionEnd } from "../metrics.ts";
import type { Logger } from "../logger.ts";
import { readQuery } from "../query.ts";
import type { Session, Sessions } from "../session.ts";

type Socket = ServerWebSocket<WebSocketSession>;

/** Its fields are all that an idle session costs beside the socket, so there are few. */
class WebSocketSession implements Session {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  /** `asked` from a probe until something is heard of the client; `lost` when the next probe comes first; `slow` see `drop`. */
  state: "heard" | "asked" | "lost" | "slow" = "heard";
  /** The close frame that waits for the client to have read what was sent before. */
  #farewell: { readonly code: number; readonly reason: string } | undefined = undefined;
  /** There from `open` on, and the hub knows the session only from then on. */
  socket: Socket | undefined = undefined;

  constructor(id: string, { userid, compid }: Address) {
    this.id = id;
    if (userid !== undefined) this.userid = userid;
    if (compid !== undefined) this.compid = compid;
  }

  get transport() {
    return "websocket" as const;
  }

  close(code: number, reason: string): void {
    // Bun forgets a closed socket at once, even one with a queue, and the end of the process would cut the queue off.
    if (this.socket !== undefined && this.socket.getBufferedAmount() > 0) this.#farewell = { code, reason };
    else this.socket?.close(code, reason);
  }

  /** Some of what waited for the client has been read. */
  drained(): void {
    // Its answer to a ping waits behind what it has not read; that it reads is a sign of life too.
    this.state = "heard";
    if (this.#farewell !== undefined) this.close(this.#farewell.code, this.#farewell.reason);
  }

  /** Whether more waits for the client than may. */
  isSlow(topic: string, maxQueued: number): boolean {
    return this.socket?.isSubscribed(topic) === true && this.socket.getBufferedAmount() > maxQueued;
  }

  /** Ends it for reading too slowly. It comes back, and has missed what waited for it, but nothing from the middle. */
  drop(): void {
    this.state = "slow";
    this.socket?.terminate();
  }

  probe(): void {
    if (this.state === "heard") {
      this.state = "asked";
      this.socket?.ping();
      return;
    }
    this.state = "lost";
    this.socket?.terminate();
  }
}

export interface WebSocketParts {
  readonly hub: Hub;
  readonly logger: Logger;
  readonly sessions: Sessions;
  readonly createSessionId: () => string;
  /** The largest message from a client, in bytes; a larger one ends the session with 1009. */
  readonly maxMessage: number;
  /** What may wait for a session that reads slowly, in bytes; over it, the session is dropped. */
  readonly maxQueued: number;
}

export function openWebSockets({
  hub,
  logger,
  sessions,
  createSessionId,
  maxMessage,
  maxQueued,
}: WebSocketParts) {
  const routes = new Elysia().get(
    "/ws",
    ({ request, server }) => {
      const ids = readQuery(request.url, ["userid", "compid"]);
      requireVersion(request);
      hub.admit();
      const data = new WebSocketSession(createSessionId(), ids);
      // Without the empty header Bun would accept the first subprotocol that is offered, whatever it is.
      const upgraded = server?.upgrade(request, { data, headers: { "Sec-WebSocket-Protocol": "" } });
      if (!upgraded)
        throw new PushError(
          "upgrade_required",
          "this is a WebSocket endpoint, expected a WebSocket handshake; all else is well",
        );
    },
    { detail: description },
  );

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
      session.socket = socket;
      for (const topic of topicsOf(session)) socket.subscribe(topic);
      hub.attach(session);
    },
    message({ data: session }, body) {
      session.state = "heard";
      hub.receive(session, body);
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
    },
    close({ data: session }, code, reason) {
      hub.detach(session, toSessionEnd(session, code, reason), code);
    },
  };
  return { routes, websocket, createOutlet };

  function createOutlet(server: Pick<Server<unknown>, "publish" | "subscriberCount">): Outlet {
    return {
      deliver({ topic, body }) {
        const listening = server.subscriberCount(topic);
        // What is published in one turn of the event loop leaves together at its end, one system call a socket.
        if (listening === 0 || server.publish(topic, body, false) !== 0) return listening;
        return listening - dropSlow(topic);
      },
    };
  }

  /**
   * Bun refuses what is over the limit of a socket and closes it, but not at once: until then it counts. A publish says
   * only that there is one such, which is rare enough to look for it.
   */
  function dropSlow(topic: string): number {
    let dropped = 0;
    for (const session of sessions) {
      if (!(session instanceof WebSocketSession) || !session.isSlow(topic, maxQueued)) continue;
      logger.warn("a session reads too slowly and is dropped", { id: session.id, maxQueued });
      session.drop();
      dropped++;
    }
    return dropped;
  }
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

const description = {
  operationId: "connectWebSocket",
  tags: ["clients"],
  summary: "Receive over a WebSocket",
  description: [
    "A WebSocket handshake (RFC 6455). Every message is one frame, exactly its body: text as a text frame, bytes as a binary one.",
    "With `userid` and `compid` the session gets what is pushed to that user's component, to that user, to that component, and to all; with one of them, what is pushed to it and to all; with neither, what is pushed to all.",
    "A request without the handshake runs the same checks and says what is wrong, or 426 when all is well: a browser cannot see why its handshake was refused, but can fetch the same URL.",
    "Close codes: 1001 the server went away, 1009 a message from the client was larger than `--max-message`, 1012 the server restarts: come back after a random pause.",
  ].join("\n\n"),
  parameters: [{ $ref: "#/components/parameters/userid" }, { $ref: "#/components/parameters/compid" }],
  responses: {
    101: { description: "The session is open" },
    400: { $ref: "#/components/responses/InvalidQuery" },
    405: { $ref: "#/components/responses/MethodNotAllowed" },
    426: { $ref: "#/components/responses/UpgradeRequired" },
    431: { description: "Request line and headers take more than 256 KiB; without a body" },
    500: { $ref: "#/components/responses/InternalError" },
    503: { $ref: "#/components/responses/NoNewSession" },
  },
};
