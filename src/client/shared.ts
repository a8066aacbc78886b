/**
 * One connection for all tabs of an origin: one of them leads, as it holds a lock, and has the connection; it passes on to the others
 * whatever comes. When it has gone the lock is another's, who goes on from where it was itself.
 *
 *   tab ──► lock ──► leads: connection ──► channel ──► the others
 *
 * Two tabs may not be at the same place when the leader changes, and one that has just come, or comes from before a reload, is behind all.
 * So each message says what was before it. A tab that has had it lets it pass; one that has not had what was before fetches that
 * itself.
 *
 * A tab may be frozen, as nobody looks at it. Where browsers tell it before, it leaves the lock to others until it runs again. Who leads
 * says when it goes, as the one that has the lock next may sleep. Who hears that asks, or hears nothing, and takes the lock away from who
 * does not answer; that one follows when it runs again, and what it says until it knows that is told by its term, which is earlier.
 *
 * This is a file of its own, `/client-shared.mjs`, which the library loads when a page asks for it. The two may be of different ages: a
 * library that does not find `share` in it has its own connection, so that name changes with what an older one would not bear.
 */
import { mayReconnect } from "../protocol.ts";
import { createAck } from "./ack.ts";
import {
  type Connection,
  type ConnectionOptions,
  isForGood,
  type Notice,
  type openConnection,
} from "./connection.ts";
import { openElection } from "./election.ts";
import { fetchMissed, isOfNobody, isUpTo, letWait } from "./missed.ts";
import { watchPolicy } from "./policy.ts";
import { surroundings } from "./surroundings.ts";
import { unreachable } from "./transports.ts";
import type { Word } from "./word.ts";

type Opened = Extract<Notice, { readonly type: "open" }>;
type Closed = Extract<Notice, { readonly type: "close" }>;
type Failed = Extract<Notice, { readonly type: "error" }>;
type Timer = ReturnType<typeof setTimeout>;

/**
 * How many messages of a tab the leader may have been asked to send, and has not said what became of them; and how many of all tabs the
 * leader may have. More at once than a server refuses, it ends the session for, and for good.
 */
const maxAsked = 400;
/**
 * So often a tab that leads may have failed where another one may not, as it has no good token or its page may not connect, before it lets
 * another one lead: at first, and at the most.
 */
const [fewFailed, manyFailed] = [3, 24];
/** So often what a tab has missed may not have come before it leads itself. One that may not connect finds that out then, and lets go. */
const mostUnfetched = 5;
/** What was missed is asked for at least so often, whatever who is on the way asks for: until then what comes waits, too. */
const longestPauseMs = 60_000;
/** Who leads says something at least about every half minute, in milliseconds. */
const longestQuietMs = 60_000;

const lost: Closed = { type: "close", code: 1006, reason: "", willReconnect: true };

/**
 * @param name    of what the tabs share
 * @param connect what the one that leads connects with
 */
export function share(name: string, options: ConnectionOptions, connect: typeof openConnection): Connection {
  const { server, order, emit, times } = options;
  let { position } = options;
  /** Of who leads. */
  let connection: Connection | undefined;
  /** Of who leads, or has led last; 0 before anybody was heard. */
  let term = 0;
  let isFrozen = false;
  /** What it was told last of the connection. */
  let state: Opened | Closed = lost;
  let held: Notice[] | undefined;
  let patience: Timer | undefined;
  /** What was missed is asked for again without a pause, should it not come now. */
  let goOn: (() => void) | undefined;
  /** What the leader was asked to send, or is to be when there is one. */
  const asked = new Map<string, string>();
  /** Of who leads: what its connection was given, and has not said what became of. */
  const given = new Set<string>();
  /** How often it led and failed since there was a connection, and how often it may before another one leads. */
  let [failed, mostFailed] = [0, fewFailed];
  const closing = new AbortController();
  const { signal } = closing;
  const scheme = order.includes("websocket") ? "ws" : "http";
  const isBarred = watchPolicy(scheme, server.url("", {}).host, signal);
  const channel = new BroadcastChannel(name);
  const say = (word: Word) => {
    if (!signal.aborted) channel.postMessage(word);
  };

  const tellHandled = createAck((ack) => say({ ack }));

  channel.onmessage = ({ data: word }: { readonly data: Word }) => {
    const { notice, ref, data = "", ack, isAwake, isFree, term: other = 0 } = word;
    // Somebody new may try again: who was told to stay away is not in the way.
    if (isOver()) return void (notice || ref || ack || leave());
    if (notice) hear(notice, other);
    else if (isFree) ask();
    else if (!connection) return;
    // Before it is open nobody hears of it, and who comes later is to be told.
    else if (ack) {
      if (state.type === "open") connection.ack(ack);
    } else if (ref && other === term) give(connection, ref, data);
    else if (!ref) {
      // Who leads may be a tab that nobody looks at, whose pause is long.
      if (isAwake) connection.wake();
      say({ notice: now(), term });
    }
  };
  const election = openElection(name, {
    onElected() {
      if (signal.aborted || isFrozen) election.leave();
      else if (!connection && !isOver()) lead();
    },
    onRobbed() {
      stepDown();
      if (!isFrozen) wake();
    },
    // Nor has it a channel: it has its own connection.
    onNone() {
      channel.onmessage = null;
      if (!signal.aborted) lead();
    },
  });
  signal.onabort = election.leave;
  const wakers = { online: wake, pageshow: wake, visibilitychange: wake, resume: wake };
  const reactions = { ...wakers, pagehide: tellFree, freeze };
  for (const target of [surroundings, surroundings.document])
    for (const [type, react] of Object.entries(reactions))
      target?.addEventListener?.(type, react, { signal });
  wake();
  return {
    send(ref, data) {
      if (connection) return give(connection, ref, data);
      if (signal.aborted || isOver() || asked.size >= maxAsked) return tellNotTaken(ref);
      asked.set(ref, data);
      if (term > 0) say({ ref, data, term });
    },
    wake,
    ack(id) {
      if (connection) connection.ack(id);
      else tellHandled(id);
    },
    close() {
      if (signal.aborted) return;
      tellFree();
      leave();
      if (connection) connection.close();
      else emit({ ...lost, code: 1000, willReconnect: false });
    },
  };

  /** Who was told to stay away does, and keeps the lock where it has it, so that nobody who does not know yet comes instead. */
  function isOver(): boolean {
    return state.type === "close" && !state.willReconnect;
  }

  function leave(): void {
    closing.abort();
    channel.close();
    clearTimeout(patience);
    forgetAsked();
  }

  function wake(): void {
    isFrozen = false;
    if (connection || signal.aborted || isOver()) return;
    election.stand();
    ask();
    goOn?.();
    if (surroundings.document?.visibilityState === "visible") say({ isAwake: true });
  }

  /** Nor may it wait to lead, as it would not know when it does. */
  function freeze(): void {
    isFrozen = true;
    // One that is not open yet the browser ends only when the page runs again: it is nobody's until then.
    resign();
  }

  function lead(): void {
    held = undefined;
    clearTimeout(patience);
    const isFirst = term === 0;
    term = Math.max(Date.now(), term + 1);
    say({ notice: lost, term });
    if (state.type === "open") emit(lost);
    state = lost;
    // A page may close it when it is told of that, and when it is asked for its token.
    if (signal.aborted) return;
    const own: Connection = connect({
      ...options,
      position,
      emit(notice) {
        const { type } = notice;
        if (type === "sent") given.delete(notice.ref);
        if (own !== connection && type !== "sent") return;
        // What the server has against one tab, such as its token, need not be so of the next one.
        const isOwn =
          (type === "error" || (type === "close" && mayReconnect(notice.code))) && !notice.willReconnect;
        say({ notice: isOwn ? { ...notice, willReconnect: true } : notice, term });
        if (type === "open" || type === "close") state = notice;
        if (type === "open" || type === "position") position = notice.id;
        if (type === "message") position = notice.message.id ?? position;
        emit(notice);
        if (isOwn && type === "close" && !signal.aborted) leave();
        if (type === "open") [failed, mostFailed] = [0, fewFailed];
        if (type === "error" && isOfPage(notice) && ++failed >= mostFailed) void giveWay();
      },
    });
    connection = own;
    if (signal.aborted) return own.close();
    if (isFirst) for (const [ref, data] of asked) give(own, ref, data);
    else forgetAsked();
    asked.clear();
  }

  function give(own: Connection, ref: string, data: string): void {
    if (given.size >= maxAsked) {
      say({ notice: { type: "sent", ref, isTaken: false }, term });
      return tellNotTaken(ref);
    }
    given.add(ref);
    own.send(ref, data);
  }

  /** Leads no more, if it did. */
  function stepDown(): void {
    const own = connection;
    connection = undefined;
    own?.close();
  }

  function tellFree(): void {
    if (connection) say({ isFree: true });
  }

  function resign(): void {
    tellFree();
    stepDown();
    election.leave();
  }

  /** Whether another page might fare better. */
  function isOfPage({ code, status }: Failed): boolean {
    return code === "failed" || status === 401 || isBarred();
  }

  /** Lets another one lead, if one waits for that; the next time that is later. */
  async function giveWay(): Promise<void> {
    const own = connection;
    failed = 0;
    if (!(await election.isContested()) || own !== connection || signal.aborted) return;
    mostFailed = Math.min(mostFailed * 2, manyFailed);
    resign();
    wake();
  }

  /** Of the connection of who leads, as it is for somebody who has just come: whether it has come back is of no account to that one. */
  function now(): Notice {
    if (state.type === "close") return state;
    const { resumed: _, ...rest } = state;
    return { ...rest, id: position ?? rest.id };
  }

  /** Who leads, but sleeps or hangs, does not answer. */
  function ask(): void {
    if (connection || isFrozen || signal.aborted || isOver()) return;
    say({});
    const ms = times.first * (2 + 2 * Math.random());
    const due = Date.now() + ms;
    clearTimeout(patience);
    patience = setTimeout(() => {
      // It may be that this one has slept.
      if (Date.now() > due + times.first) ask();
      else if (!isFrozen) election.steal();
    }, ms);
  }

  function hear(notice: Notice, other: number): void {
    if (other < term || (connection && other === term)) return;
    stepDown();
    if (other > term) {
      if (term > 0) forgetAsked();
      term = other;
      for (const [ref, data] of asked) say({ ref, data, term });
    }
    clearTimeout(patience);
    patience = setTimeout(ask, longestQuietMs);
    follow(notice);
  }

  function follow(notice: Notice): void {
    const { type } = notice;
    if (type === "sent") {
      if (asked.delete(notice.ref)) emit(notice);
      return;
    }
    const isLast = type === "close" && !notice.willReconnect;
    if (held && !isLast) return letWait(held, notice);
    held = undefined;
    if (type === "error") return emit(notice);
    if (type === "close") {
      const wasOpen = state.type === "open";
      state = notice;
      if (!notice.willReconnect) forgetAsked();
      if (wasOpen || !notice.willReconnect) emit(notice);
      return;
    }
    if (type === "open") return followOpen(notice);
    const id = type === "message" ? notice.message.id : notice.id;
    if (id) {
      // Before it is open nothing is for it: then it is told where the leader is, and fetches what it lacks.
      if (state.type === "close" || has(id)) return;
      if (type === "message" && !has(notice.after)) return void catchUp();
      position = id;
    }
    emit(notice);
  }

  function followOpen(notice: Opened): void {
    const { id, resumed, ...rest } = notice;
    const { session, transport } = rest;
    const isKnown = state.type === "open" && session === state.session && transport === state.transport;
    if (!isKnown) {
      state = notice;
      const isNew = position === undefined;
      if (isNew || resumed === false) position = id;
      // It is where this one is, which may be behind or ahead of the leader.
      emit({ ...rest, id: position ?? id, ...(!isNew && resumed !== undefined && { resumed }) });
    }
    if (!has(id)) void catchUp();
  }

  function tellNotTaken(ref: string): void {
    emit({ type: "sent", ref, isTaken: false });
  }

  /** Who was to send it has gone, maybe before. */
  function forgetAsked(): void {
    for (const ref of asked.keys()) tellNotTaken(ref);
    asked.clear();
  }

  function has(id: string | undefined): boolean {
    return isUpTo(position, id);
  }

  /** Fetches what this tab has not had; what the leader passes on meanwhile waits. */
  async function catchUp(): Promise<void> {
    const own: Notice[] = (held = []);
    for (let [isBehind, attempts] = [true, 0]; isBehind;) {
      // A page may have closed it when it was told of the last one.
      if (signal.aborted) return;
      const woken = new Promise<void>((resolve) => (goOn = resolve));
      const { problem, answer } = await fetchMissed(server, () => position, times.open, signal);
      // Who leads meanwhile is sent it anyway.
      if (signal.aborted || held !== own) return;
      if (!answer) {
        const isFinal = problem && isForGood(problem, server);
        if (problem && problem.code !== unreachable.code)
          emit({ type: "error", ...problem, willReconnect: !isFinal });
        if (isFinal) {
          emit({ ...lost, reason: problem.detail, willReconnect: false });
          return leave();
        }
        // Whatever is on the way may let no polls through: then it goes on from there with a connection of its own, which is for all.
        if (attempts >= mostUnfetched && state.type === "open" && isOfNobody(problem) && !isBarred()) {
          held = undefined;
          return election.steal();
        }
        const window = Math.min(times.cap, times.first * 2 ** attempts++);
        const pause = (problem?.retryAfter || 0) * 1000 + Math.random() * window;
        const over = new Promise((resolve) => setTimeout(resolve, Math.min(pause, longestPauseMs)));
        await Promise.race([woken, over]);
        if (signal.aborted || held !== own) return;
        continue;
      }
      const { id, resumed, messages } = answer;
      if (resumed === false && state.type === "open") emit({ ...state, resumed, id });
      for (const message of messages) {
        emit({ type: "message", message, after: position });
        position = message.id;
      }
      position = id;
      emit({ type: "position", id });
      // Where messages never cease, it is enough to have had what was before those that wait.
      const next = own.find((notice) => notice.type === "message");
      isBehind = messages.length > 0 && !(next && has(next.after));
    }
    held = undefined;
    for (const notice of own) follow(notice);
  }
}
