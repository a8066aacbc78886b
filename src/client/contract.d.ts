/**
 * The browser's side of server-push: receives what is pushed to a user and a component, comes back by itself, and misses nothing.
 *
 *   const push = ServerPush.connect({ userid: "123", compid: "inbox" });
 *   push.onmessage = (message) => console.log(message.data);
 *   push.onreset = () => location.reload();
 *
 * Runs in browsers, and in Bun and Node (22 or later) as it is.
 */

/** What a session is over. A better one, which stands before the others, is come back to when it works again. */
export type Transport = "websocket" | "sse" | "poll";

export interface ConnectOptions {
  /** The server, such as `https://push.example.com`. By default where `client.js` or `client.mjs` came from, and with the package the page's own. */
  readonly url?: string | URL | undefined;
  /** Whose page it is; `null` is nobody's. With a token that names the user it may be left out. */
  readonly userid?: string | null | undefined;
  /** Which part of the page listens. */
  readonly compid?: string | null | undefined;
  /**
   * A token, or what gives one: it is asked at every connect, and before the last token expires. What it gives after 8 seconds is
   * too late, and it is asked again.
   */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** Where to start: an id, a duration back from now such as `10m`, or `all` that is kept. By default, now. */
  readonly since?: string | undefined;
  /** `"tab"`: go on after a reload of the page where it was, by a note in `sessionStorage`. */
  readonly resume?: "tab" | undefined;
  /**
   * One connection for all tabs of this origin that name the same `url`, `userid` and `compid`: one of them has it, the others get
   * everything through it. Where tabs may be of different users they name the `userid`, as a token that names it is not looked into. It
   * takes a file of its own, `client-shared.mjs` of the server: a page that cannot have that, in four tries or one of 8 seconds, has a
   * connection of its own.
   */
  readonly shared?: boolean | undefined;
  /** What may be used, in this order. By default all. */
  readonly transports?: readonly Transport[] | undefined;
}

/** A message. Its `type` is its event name, `message` without one; `lastEventId` its id, empty for an answer of the back end. */
export type PushMessage = MessageEvent<string | Uint8Array<ArrayBuffer>>;

/** The session has begun, or begun again. */
export interface OpenEvent extends Event {
  readonly session: string;
  readonly transport: Transport;
  /** Whether it is proven that nothing was missed; `undefined` when it did not come back. */
  readonly resumed?: boolean;
}

/** The session has ended. */
export interface ClosedEvent extends Event {
  /** A WebSocket's close code; 1000 after `close()`, 1006 when the connection was lost. */
  readonly code: number;
  readonly reason: string;
  /** Whether it comes back by itself. */
  readonly willReconnect: boolean;
}

/** What the server, or the way to it, objects to. */
export interface ErrorEvent extends Event {
  /** The server's stable code, such as `unauthorized`; `unreachable` when it did not answer, or the page's policy lets it not be
   * asked; `unexpected` when something on the way answered instead; `failed` when there was no token to be had, or the browser does not
   * allow the connection. */
  readonly code: string;
  /** The same for people. */
  readonly detail: string;
  /** The status of the HTTP answer, where there was one. */
  readonly status?: number;
  /** Whether it tries again by itself. */
  readonly willReconnect: boolean;
}

interface EventMap {
  readonly open: OpenEvent;
  readonly close: ClosedEvent;
  /** It could not be proven that nothing was missed: load anew whatever the messages tell of. */
  readonly reset: Event;
  readonly error: ErrorEvent;
  readonly message: PushMessage;
}

/** Of an event of the connection, or else of messages with this event name. */
type Told<Type extends string> = Type extends keyof EventMap ? EventMap[Type] : PushMessage;

type Listener<Type extends string> =
  ((event: Told<Type>) => unknown) | { handleEvent(event: Told<Type>): unknown };

/**
 * A connection to the server, for as long as the page wants it.
 *
 * Every message is an event of its event name, `message` without one, or when it is named as one of the events here is. A listener
 * that throws is reported as any other, and holds up nothing.
 */
export interface Push extends EventTarget, AsyncIterable<PushMessage> {
  readonly state: "connecting" | "open" | "closed";
  /** What the session is over, while it is open. */
  readonly transport: Transport | undefined;
  /** The session's id, while it is open: for `except` of a push. Empty over polls, each of which is a session. */
  readonly session: string | undefined;
  /** The id up to which everything has come; before it is open, what `since` says. */
  readonly position: string | undefined;

  onopen: ((event: OpenEvent) => unknown) | null;
  onclose: ((event: ClosedEvent) => unknown) | null;
  onreset: ((event: Event) => unknown) | null;
  onerror: ((event: ErrorEvent) => unknown) | null;
  onmessage: ((message: PushMessage) => unknown) | null;

  addEventListener<Type extends string>(
    type: Type,
    listener: Listener<Type> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends string>(
    type: Type,
    listener: Listener<Type> | null,
    options?: boolean | EventListenerOptions,
  ): void;

  /**
   * Sends a text to the back end. Up to 400 wait for a connection, or for the server's answer.
   *
   * @returns whether the server has taken it: false also when nobody knows, as the connection was lost meanwhile, and when too
   *   many wait, over a transport that cannot send, or after `close()`
   */
  send(data: string): Promise<boolean>;
  /** Ends it for good. */
  close(): void;

  /**
   * All messages from the first call of `next()` on, whatever their event name, until it is closed. Who asks for the next one has
   * handled the one before. What waits when it is left, as by `break`, is gone.
   *
   * @throws RangeError when more than 10,000 wait
   */
  [Symbol.asyncIterator](): AsyncIterator<PushMessage, undefined>;
}

/**
 * Connects, and stays connected until `close()`, or until the server tells it to stay away.
 *
 * @throws TypeError when the URL or the transports are none
 */
export declare function connect(options?: ConnectOptions): Push;

/** What the script `/client.js` gives a page. */
export as namespace ServerPush;
