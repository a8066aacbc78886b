/**
 * Stays connected: over the best transport that works, and from where it was, until it is closed.
 *
 *   ┌──► token ──► connect ──► open ──► lost ──► pause ──┐
 *   └────────────────────────────────────────────────────┘
 *
 * It is one loop, so there are never two connections at once. What comes is told as notices, which are plain data: they may go to
 * other tabs as they are.
 *
 * Every browser that loads the library pays for its size: so what has a life is in the variables of a function here, which become a
 * letter each, and not in a class.
 */
import {
  type ClientFrame,
  type MessageFrame,
  mayReconnect,
  overloaded,
  restart,
  type ServerFrame,
  tokenExpired,
} from "../protocol.ts";
import { createAck } from "./ack.ts";
import type { Transport } from "./contract.d.ts";
import { surroundings } from "./surroundings.ts";
import {
  diagnose,
  type Ending,
  isBlocked,
  type Problem,
  type Server,
  transports,
  unreachable,
} from "./transports.ts";

export type Notice =
  | {
      readonly type: "open";
      readonly session: string;
      readonly transport: Transport;
      readonly resumed?: boolean | undefined;
      /** The position now. */
      readonly id: string;
    }
  | {
      readonly type: "message";
      readonly message: Content;
      /** The position before it. */
      readonly after: string | undefined;
    }
  | { readonly type: "position"; readonly id: string }
  | {
      readonly type: "close";
      readonly code: number;
      readonly reason: string;
      readonly willReconnect: boolean;
    }
  | (Omit<Problem, "retryAfter"> & { readonly type: "error"; readonly willReconnect: boolean })
  | { readonly type: "sent"; readonly ref: string; readonly isTaken: boolean };

/** What a message says. */
export type Content = Omit<MessageFrame, "type">;

/** In milliseconds. */
export interface Times {
  /** Up to where the pause before coming back is chosen at random: this much at first, twice as much each time, but not more than `cap`. */
  readonly first: number;
  readonly cap: number;
  /** At least this much after a restart, where there were too many, and on top of what the server asks for. */
  readonly spread: number;
  /** A connection that has lasted so long counts as one that works. */
  readonly steady: number;
  /** How long a connection may take to open. */
  readonly open: number;
  /** When a better transport is tried again: at first, and twice as long each time. */
  readonly better: number;
}

export const defaultTimes: Times = {
  first: 1000,
  cap: 20_000,
  spread: 5000,
  steady: 10_000,
  open: 8000,
  better: 60_000,
};

/** What happens to a page and to its connection is told in any order, within this time, in milliseconds. */
const echoMs = 100;
/** The server is told a new token so long before the old one expires, in milliseconds; or a quarter of its time, where that is less. */
const renewMs = 30_000;
/** One that is nearly over, also by a clock that goes wrong, is not: the server ends the session when it is. */
const leastRenewMs = 1000;
/** What takes more is not worth it; twice as much more, and a timer ends at once. In milliseconds. */
const longestTimeout = 1e9;
/** A better transport is tried at least so often, in milliseconds. */
const longestBetterMs = 3_600_000;

/** A connection that works is ended from here, as there is a better one or a newer token: another one follows at once. */
const planned: Ending = {};

export interface ConnectionOptions {
  readonly server: Server;
  readonly order: readonly Transport[];
  /** Where to start. */
  readonly position: string | undefined;
  readonly emit: (notice: Notice) => void;
  readonly times: Times;
}

export interface Connection {
  /** Tells later whether it was taken. */
  send(ref: string, data: string): void;
  /** Somebody looks at it again, or the network is back: it need not wait any longer. */
  wake(): void;
  /** The page has handled everything up to this. The server is told now and then, as it counts for all before. */
  ack(id: string): void;
  /** Ends it for good. */
  close(): void;
}

export function openConnection({ server, order, position, emit, times }: ConnectionOptions): Connection {
  let isOpen = false;
  /** Whether the page takes it for open: it is not told of an end that another connection follows at once. */
  let isTold = false;
  let isClosed = false;
  /** Which of the transports it is at, and which of them has worked; and after how long it goes back to the first one the next time. */
  let level = 0;
  let proven: number | undefined;
  let betterMs = times.better;
  let attempts = 0;
  let abort = new AbortController();
  /** Until a connection that is silent counts as lost; between two connections, until the next one. */
  let patience: Timer | undefined;
  let renewal: Timer | undefined;
  let better: Timer | undefined;
  let goOn: (() => void) | undefined;
  let triedAt = 0;
  let openedAt = 0;
  let heardAt = 0;
  let silentMs = 0;
  let post: ((frame: ClientFrame) => void) | undefined;
  const waiting = new Map<string, string>();
  const sent = new Set<string>();
  const closing = new AbortController();

  const wake = () => {
    if (goOn) {
      // But not at once again after a try that has just failed. The clock may have been set back.
      clearTimeout(patience);
      patience = setTimeout(goOn, Math.min(times.first, triedAt + times.first - Date.now()));
    }
    if (isOpen && Date.now() - heardAt > silentMs) abort.abort();
  };
  const onWaker = ({ type }: Event) => {
    if (type !== "online" && surroundings.document?.visibilityState === "hidden") return;
    wake();
    // A browser may tell what happened to the connection only after that.
    if (isOpen) setTimeout(wake, echoMs);
  };
  // When one of these happens, there may be a connection again; or the one that there was may be gone.
  for (const type of ["online", "pageshow", "visibilitychange", "resume"])
    for (const target of [surroundings, surroundings.document])
      target?.addEventListener?.(type, onWaker, { signal: closing.signal });
  void run();
  return {
    send(ref, data) {
      if (isClosed) return tellSent([ref], false);
      waiting.set(ref, data);
      sendWaiting();
    },
    wake,
    ack: createAck((id) => post?.({ type: "ack", id })),
    close: () => close(1000, ""),
  };

  async function run(): Promise<void> {
    for (;;) {
      triedAt = Date.now();
      openedAt = 0;
      abort = new AbortController();
      const pause = judge(await connect(abort));
      if (isClosed) return;
      await new Promise<void>((resolve) => {
        goOn = resolve;
        patience = setTimeout(resolve, pause);
      });
      goOn = undefined;
    }
  }

  async function connect(own: AbortController): Promise<Ending> {
    const { signal } = own;
    const transport = order[level] as Transport; // `level` stays below its length
    let ending: Ending = {};
    try {
      expectWithin(times.open);
      // A page's own function may never come to an end.
      const late = new Promise<never>((_, reject) => (signal.onabort = () => reject(unreachable.detail)));
      const token = await Promise.race([server.getToken(), late]);
      if (isClosed) return ending;
      const link = {
        ...server,
        signal,
        token,
        since: () => position,
        take(frame: ServerFrame) {
          if (!signal.aborted) take(frame, transport);
        },
        onPost: (write: typeof post) => (post = write),
      };
      expectWithin(times.open);
      renewInTime(token);
      ending = await transports[transport](link);
      // A stream of which nothing comes is held back on the way; a browser is not told why a handshake came to nothing.
      if (!openedAt && signal.reason !== planned && !ending.problem && mayReconnect(ending.code)) {
        ending = isBlocked;
        if (transport === "websocket") {
          abort = new AbortController();
          expectWithin(times.open);
          ending = await diagnose({ ...link, signal: abort.signal });
        }
      }
    } catch (error) {
      ending = { problem: { code: "failed", detail: String(error) } };
    }
    clearTimeout(patience);
    clearTimeout(renewal);
    // Of a stream whose end was told, the connection may still be there.
    own.abort();
    isOpen = false;
    post = undefined;
    tellSent(sent, false);
    return signal.reason === planned ? planned : ending;
  }

  /** Tells of the end, and gives how long to pause, in milliseconds. */
  function judge(ending: Ending): number {
    if (openedAt && Date.now() - openedAt >= times.steady) attempts = 0;
    if (ending === planned || isClosed) return 0;
    let { code = 1006, problem, reason = "" } = ending;
    // What somebody on the way answers may be of this transport alone; from 502 on, its server is away. Where there is no problem, the status
    // is not below that.
    const isOnTheWay =
      ending === isBlocked || ((problem?.status as number) < 502 && problem!.code === "unexpected");
    if (level !== proven) {
      if (isOnTheWay && order[++level]) return 0;
      // Where none of them is let through, or the server is away, it is no matter of transports.
      level = proven ?? 0;
    }
    // What has worked is tried once more: its server may have been away just then.
    else if (isOnTheWay) proven = undefined;
    // That a stream has broken off is no answer of anybody: it is lost, as a WebSocket is.
    if (openedAt && !problem?.status) problem = undefined;
    const isFinal = !mayReconnect(code) || (problem && isForGood(problem, server));
    if (problem) emit({ type: "error", ...problem, willReconnect: !isFinal });
    if (isFinal) close(code, problem?.detail ?? reason);
    else if (isTold) emit({ type: "close", code, reason, willReconnect: true });
    isTold = false;
    if (code === tokenExpired && !attempts) return attempts++;
    const retryAfterMs = (problem?.retryAfter || 0) * 1000;
    const window = Math.max(
      Math.min(times.first * 2 ** attempts++, times.cap),
      retryAfterMs || code === restart || code === overloaded ? times.spread : 0,
    );
    return Math.min(retryAfterMs + Math.random() * window, longestTimeout);
  }

  function take(frame: ServerFrame, transport: Transport): void {
    const { type } = frame;
    heardAt = Date.now();
    if (type === "welcome") {
      const { idle, ...said } = frame;
      silentMs = idle * 1500 + 1000;
      openedAt = heardAt;
      proven = level;
      if (level) better ??= setTimeout(goBack, betterMs);
      else {
        better = clearTimeout(better) as undefined;
        betterMs = times.better;
      }
      position = said.id;
      isTold = isOpen = true;
      emit({ ...said, type: "open", transport });
      sendWaiting();
    } else if (type === "message") {
      const after = position;
      position = frame.id ?? after;
      emit({ type, message: frame, after });
    } else if (type === "position") {
      position = frame.id;
      emit(frame);
    } else if (frame.ref) tellSent([frame.ref], type === "receipt");
    else if (type === "error") emit({ ...frame, willReconnect: true });
    expectWithin(silentMs);
  }

  function goBack(): void {
    better = undefined;
    level = 0;
    betterMs = Math.min(longestBetterMs, betterMs * 2);
    abort.abort(planned);
  }

  function expectWithin(ms: number): void {
    const own = abort;
    clearTimeout(patience);
    if (!own.signal.aborted) patience = setTimeout(() => own.abort(), ms);
  }

  /** A session goes on with a new token; a stream of events or a poll begins anew with it. */
  function renewInTime(token: string | undefined): void {
    if (!server.renews) return;
    const own = abort;
    const left = toExpiry(token) - Date.now();
    const renew = async () => {
      // One that is not open yet is taken for one that does not open.
      if (!post) return own.abort(openedAt && planned);
      const next = await server.getToken();
      // It may have ended meanwhile, and another one begun.
      if (!next || !post || own !== abort) return;
      post({ type: "token", token: next });
      renewInTime(next);
    };
    if (left > leastRenewMs)
      // When it cannot be renewed now, that is tried again when it has expired.
      renewal = setTimeout(
        () => renew().catch(() => {}),
        Math.min(left - Math.min(renewMs, left / 4), longestTimeout),
      );
  }

  function sendWaiting(): void {
    if (!isOpen) return;
    for (const [ref, data] of waiting) {
      // Only a WebSocket can send.
      if (!post) {
        tellSent([ref], false);
        continue;
      }
      waiting.delete(ref);
      sent.add(ref);
      post({ type: "message", data, ref });
    }
  }

  function tellSent(refs: Iterable<string>, isTaken: boolean): void {
    for (const ref of refs) {
      waiting.delete(ref);
      sent.delete(ref);
      emit({ type: "sent", ref, isTaken });
    }
  }

  function close(code: number, reason: string): void {
    if (isClosed) return;
    isClosed = true;
    closing.abort();
    abort.abort(planned);
    clearTimeout(patience);
    clearTimeout(better);
    goOn = undefined;
    tellSent(waiting.keys(), false);
    emit({ type: "close", code, reason, willReconnect: false });
  }
}

type Timer = ReturnType<typeof setTimeout>;

/** Trying again does not mend what the server itself objects to, but for what passes, and a token that is not the last one. */
export function isForGood({ code, status = 0 }: Problem, { renews }: Server): boolean {
  return status > 0 && status < 500 && status !== 429 && code !== "unexpected" && (status !== 401 || !renews);
}

/** When a JSON Web Token expires, in milliseconds since 1970; 0 of any other. */
function toExpiry(token: string | undefined): number {
  try {
    // Of what is no such token something is missing, which throws.
    const claims = (token as string).split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const { exp } = JSON.parse(atob(claims)) as { exp: number }; // as RFC 7519 section 4.1.4 has it; NaN without one, which is later than nothing
    return exp * 1000;
  } catch {
    return 0;
  }
}
