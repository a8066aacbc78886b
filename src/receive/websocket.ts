/**
 * Receiving over a WebSocket: `/ws`, plain. A message is one frame, exactly its body.
 *
 * The upgrade happens inside an Elysia route, so the checks of every other call hold here too; then the socket is Bun's own.
 * A message to thousands is one native publish: nothing here does work per session, but for the session's begin and end.
 */
import type { Server, ServerWebSocket, WebSocketHandler } from "bun";
import { Elysia } from "elysia";
import { type Address, topicsOf } from "../address.ts";
import { PushError } from "../errors.ts";
import type { Hub, Outlet } from "../hub.ts";
import type { SessionEnd } from "../metrics.ts";
import type { Logger } from "../logger.ts";
import { readQuery } from "../query.ts";
import type { Session } from "../session.ts";

type Socket = ServerWebSocket<WebSocketSession>;

/** Its fields are all that an idle session costs beside the socket, so there are few. */
class WebSocketSession implements Session {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly since = Date.now();
  /** `asked` from a probe until something is heard of the client; `lost` when the next probe comes first. */
  state: "heard" | "asked" | "lost" = "heard";
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
    // Bun forgets a socket that it has closed, also one with a queue, and then the end of the process would cut that.
    if (this.socket !== undefined && this.socket.getBufferedAmount() > 0) this.#farewell = { code, reason };
    else this.socket?.close(code, reason);
  }

  /** Some of what waited for the client has been read. */
  drained(): void {
    // Its answer to a ping waits behind what it has not read; that it reads is a sign of life too.
    this.state = "heard";
    if (this.#farewell !== undefined) this.close(this.#farewell.code, this.#farewell.reason);
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
  readonly createSessionId: () => string;
  /** The largest message from a client, in bytes; a larger one ends the session with 1009. */
  readonly maxMessage: number;
  /** What may wait for a session that reads slowly, in bytes; over it, the session is dropped. */
  readonly maxQueued: number;
}

export function openWebSockets({ hub, logger, createSessionId, maxMessage, maxQueued }: WebSocketParts) {
  const routes = new Elysia().get(
    "/ws",
    ({ request, server }) => {
      const ids = readQuery(request.url, ["userid", "compid"]);
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
      deliver({ topic, body, offset }) {
        const sessions = server.subscriberCount(topic);
        // What is published in one turn of the event loop leaves together at its end, one system call a socket.
        if (sessions > 0 && server.publish(topic, body, false) === 0)
          logger.debug("a session is too slow and is dropped", { offset });
        return sessions;
      },
    };
  }
}

/** 1006 is what a side sees that got no close frame (RFC 6455 section 7.4.1); a reason beside it is Bun's, for its own close. */
function toSessionEnd(session: WebSocketSession, code: number, reason: string): SessionEnd {
  if (session.state === "lost") return "unresponsive";
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
    426: { $ref: "#/components/responses/UpgradeRequired" },
    431: { description: "Request line and headers take more than 256 KiB; without a body" },
    503: { $ref: "#/components/responses/NoNewSession" },
  },
};
