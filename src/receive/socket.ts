/**
 * A session over a WebSocket: what is sent on it, and how it ends.
 */
import type { ServerWebSocket } from "bun";
import { type Address, topicsOf } from "../address.ts";
import type { Start } from "../hub.ts";
import { type Body, type Message, sizeOf } from "../message.ts";
import type { ServerFrame } from "../protocol.ts";
import type { Claimant } from "../quotas.ts";
import type { Follower } from "../replay.ts";
import type { Inflow } from "./inflow.ts";

export type Socket = ServerWebSocket<WebSocketSession>;

/** How messages look on the wire, of which there are two: the body as it is, and `push.v1`. */
export interface Format {
  /** Stands before an address's topic in the name of the native one: each format has its own. */
  readonly prefix: string;
  /** What may wait for a session before no more of a replay is sent to it, in bytes. */
  readonly replayedAtOnce: number;
  encode(message: Message): Body;
  /** A message that is an answer, and has no place in the journal. */
  encodeReply(text: string): string;
  /** A frame that is no message; the plain format has none. */
  encodeFrame(frame: ServerFrame): string | undefined;
  /** Ends a session that reads so slowly that something could not be sent to it. Here, as a field of the session would cost each of them. */
  drop(session: WebSocketSession): void;
}

export interface SocketStart extends Start {
  /** When the session ends with its token, in milliseconds since 1970. */
  readonly expiresAt?: number;
}

/** Its fields are all that an idle session costs beside the socket, so there are few. */
export class WebSocketSession implements Follower {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly address?: string;
  openedAt = 0;
  readonly format: Format;
  readonly start: SocketStart;
  /** `asked` from a probe until something is heard of the client; `lost` when the next probe comes first; `slow` see `drop`. */
  state: "heard" | "asked" | "lost" | "slow" | "flooding" = "heard";
  isLive = false;
  /** What its token lets it push to; without a token, or such a claim in it, nothing. */
  mayPush: readonly string[] | undefined = undefined;
  /** How often it sends, from its first message on. */
  inflow: Inflow | undefined = undefined;
  /** The close frame that waits for the client to have read what was sent before. */
  #farewell: { readonly code: number; readonly reason: string } | undefined = undefined;
  /** There from `open` on, and the hub knows the session only from then on. */
  socket: Socket | undefined = undefined;

  constructor(
    id: string,
    { userid, compid, address }: Claimant & Address,
    format: Format,
    start: SocketStart,
  ) {
    this.id = id;
    if (userid !== undefined) this.userid = userid;
    if (compid !== undefined) this.compid = compid;
    if (address !== undefined) this.address = address;
    this.format = format;
    this.start = start;
  }

  get transport() {
    return "websocket" as const;
  }

  replay(messages: readonly Message[]): number {
    let sent = 0;
    // Only a socket with a queue says when it can take more: while there is none, it is sent more at once.
    for (let some = this.#sendSome(messages, 0); some > 0; some = this.#sendSome(messages, sent))
      sent += some;
    return sent;
  }

  /** Sends so many that no more waits than may, but for the last of them; none to a session that is being closed. */
  #sendSome(messages: readonly Message[], from: number): number {
    const { socket, format } = this;
    if (this.#farewell !== undefined || !this.mayTakeMore()) return 0;
    let sent = 0;
    socket?.cork(() => {
      let room = format.replayedAtOnce - socket.getBufferedAmount();
      for (let message = messages[from]; message !== undefined && room > 0; message = messages[from + sent]) {
        const frame = format.encode(message);
        room -= sizeOf(frame);
        socket.send(frame);
        sent++;
      }
    });
    return sent;
  }

  /** Whether so little waits for the client that more of a replay may be sent. */
  mayTakeMore(): boolean {
    return this.socket !== undefined && this.socket.getBufferedAmount() < this.format.replayedAtOnce;
  }

  goLive(): void {
    this.isLive = true;
    for (const topic of topicsOf(this)) this.socket?.subscribe(this.format.prefix + topic);
  }

  reply(text: string): void {
    this.#send(this.format.encodeReply(text));
  }

  mute(topic: string): void {
    if (this.isLive) this.socket?.unsubscribe(this.format.prefix + topic);
  }

  unmute(topic: string): void {
    if (this.isLive) this.socket?.subscribe(this.format.prefix + topic);
  }

  /** Sends a frame that is no message, where the format has such. */
  tell(frame: ServerFrame): void {
    const text = this.format.encodeFrame(frame);
    if (text !== undefined) this.#send(text);
  }

  /** Bun refuses what is over the limit of the socket, and then closes it without a word: nobody would learn why. */
  #send(text: string): void {
    const { socket } = this;
    if (socket === undefined || socket.readyState !== WebSocket.OPEN) return;
    if (socket.send(text) === 0) this.format.drop(this);
  }

  close(code: number, reason: string): void {
    // Bun forgets a closed socket at once, even one with a queue, and the end of the process would cut the queue off.
    if (this.socket === undefined || this.socket.getBufferedAmount() === 0) {
      this.socket?.close(code, reason);
      return;
    }
    this.#farewell = { code, reason };
    // What is published from now on is no longer for it.
    this.#leaveTopics();
  }

  /** Whether it is told to go as soon as it has read what was sent before; how long it may take for that, `probe` bounds. */
  get isLeaving(): boolean {
    return this.#farewell !== undefined;
  }

  #leaveTopics(): void {
    if (!this.isLive) return;
    this.isLive = false;
    for (const topic of topicsOf(this)) this.socket?.unsubscribe(this.format.prefix + topic);
  }

  /** Some of what waited for the client has been read. */
  drained(): void {
    // Its answer to a ping waits behind what it has not read; that it reads is a sign of life too.
    if (this.#farewell === undefined) this.state = "heard";
    else this.close(this.#farewell.code, this.#farewell.reason);
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

  probe(position: string): void {
    if (this.state === "heard") {
      // Nothing that it does from here on counts for one that is told to go: at the next probe it is gone.
      this.state = "asked";
      // Everything up to there was sent before, but to a session that is still being replayed to.
      if (this.isLive) this.tell({ type: "position", id: position });
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.ping();
      return;
    }
    this.state = "lost";
    this.socket?.terminate();
  }
}
