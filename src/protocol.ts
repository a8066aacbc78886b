/**
 * What server and clients agree on, and the browser's side shares: imports nothing.
 *
 * Close codes: a client that is told one from 4500 to 4999, or 1008, stays away; after any other it comes back, later
 * rather than sooner after 1012 and 1013. RFC 6455 section 7.4 and the IANA registry define the codes below 4000.
 */

// By names of their own, so that the script of a page has only those that it needs.
const policy = 1008;
export const restart = 1012;
export const overloaded = 1013;
export const tokenExpired = 4001;

export const closeCodes = {
  /** The server goes away: it could not wait any longer for this client. */
  goingAway: 1001,
  /** The client broke a rule that trying again does not mend. */
  policy,
  /** A message from the client was larger than the limit. */
  tooBig: 1009,
  /** The server restarts: come back, after a random pause. */
  restart,
  /** The client reads too slowly, so that what it has not had is gone, or the server is overloaded: come back later. */
  overloaded,
  /** The back end has ended the session: come back. */
  disconnectedForNow: 4000,
  /** The token has expired: come back with a new one. */
  tokenExpired,
  /** The back end has ended the session: stay away. */
  disconnected: 4500,
} as const;

/** Whether a client should connect again after it was closed with `code`, which is below 5000. */
export function mayReconnect(code = 0): boolean {
  return code !== policy && code < 4500;
}

/** The name of the WebSocket subprotocol: JSON text frames, as follow. */
export const subprotocol = "push.v1";

/** The first frame, always. */
export interface WelcomeFrame {
  readonly type: "welcome";
  /** The session's id. */
  readonly session: string;
  /** Everything after this follows. */
  readonly id: string;
  /**
   * Of a client that said which id it had last: whether it is proven that everything since follows. When it is false, the client
   * starts from now, and has to load anew whatever the messages tell of.
   */
  readonly resumed?: boolean;
  /** There is a frame at least about this often, in seconds. */
  readonly idle: number;
}

/** What a message is in every format that is JSON. */
export interface MessageContent {
  readonly id: string;
  readonly event?: string;
  /** A text. */
  readonly data?: string;
  /** Bytes. */
  readonly base64?: string;
}

export interface MessageFrame extends Omit<MessageContent, "id"> {
  readonly type: "message";
  /** Absent in the back end's answer to what this session has sent: that is not in the journal, and moves no position. */
  readonly id?: string;
}

/** Everything up to this was sent: the `since` of a client that comes back, also when nothing was for it. */
export interface PositionFrame {
  readonly type: "position";
  readonly id: string;
}

/** What was wrong with a frame of the client, which was ignored. */
export interface ErrorFrame {
  readonly type: "error";
  readonly code: string;
  readonly detail: string;
  /** As the client had it in its frame, where that has one. */
  readonly ref?: string;
}

/** What this session has pushed was taken; or, without an id, what it has sent. */
export interface ReceiptFrame {
  readonly type: "receipt";
  readonly id?: string;
  /** Of a push: how many sessions it was sent to. */
  readonly sessions?: number;
  /** As the client had it in its frame. */
  readonly ref?: string;
}

export type ServerFrame = WelcomeFrame | MessageFrame | PositionFrame | ErrorFrame | ReceiptFrame;

/** A text for the back end; or up to where the client has handled what came, of which the server keeps nothing. */
export type ClientFrame =
  | {
      readonly type: "message";
      readonly data: string;
      /** With one, it is answered with a receipt or an error, which have the same. */
      readonly ref?: string;
    }
  | { readonly type: "ack"; readonly id: string }
  /** A push, where clients may: it is answered with a receipt or an error, which have its `ref`. */
  | {
      readonly type: "push";
      readonly userid?: string;
      readonly compid?: string;
      readonly data: string;
      readonly event?: string;
      readonly key?: string;
      readonly ttl?: number;
      readonly except?: string;
      readonly ref?: string;
    }
  /** A new token in place of the one that the session began with, for the same user. */
  | { readonly type: "token"; readonly token: string };
