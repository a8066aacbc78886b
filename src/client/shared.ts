/**
 * One connection for all tabs of an origin: one of them leads, as it holds a lock, and has the connection; it passes on to the others
 * whatever comes. When it has gone the lock is another's, who goes on from where it was itself.
 *
 *   tab ──► lock ──► leads: connection ──► channel ──► the others
 *
 * Two tabs may not be at the same place when the leader changes, and one that has just come, or comes from before a reload, is behind all.
 * So each message says what was before it. A tab that has had it lets it pass; one that has not had what was before fetches that
 * itself. An id is opaque to all but this: of one epoch, the larger number is the later.
 *
 * This is a file of its own, `/client-shared.mjs`, which the library loads when a page asks for it.
 */
import type { Connection, ConnectionOptions, Notice, openConnection } from "./connection.ts";
import type { PollAnswer, Server } from "./transports.ts";

/** What tabs say to each other. */
interface Word {
  /** From the leader. */
  readonly notice?: Notice;
  /** From the others: what it should send, with a ref; without either, that somebody is there who has heard nothing yet. */
  readonly data?: string;
  readonly ref?: string;
}

/** What waits while what was missed is fetched; over it, all of that is fetched too. */
const maxHeld = 1000;

/**
 * @param name    of what the tabs share
 * @param connect what the one that leads connects with
 */
export function openShared(
  name: string,
  options: ConnectionOptions,
  connect: typeof openConnection,
): Connection {
  const { server, emit, times } = options;
  let { position } = options;
  let connection: Connection | undefined;
  /** What it was told last of the connection. */
  let state: Notice | undefined;
  let held: Notice[] | undefined;
  /** What the leader was asked to send. */
  const asked = new Set<string>();
  const closing = new AbortController();
  const { signal } = closing;
  const channel = new BroadcastChannel(name);
  const say = (word: Word) => channel.postMessage(word);

  channel.onmessage = ({ data }: { readonly data: Word }) => {
    const { notice, ref, data: text } = data;
    if (!connection) {
      if (notice) follow(notice);
    } else if (ref) connection.send(ref, text ?? "");
    // Whether it has come back is of no account to who has just come.
    else if (!notice && state?.type === "open" && position !== undefined) {
      const { resumed: _, ...rest } = state;
      say({ notice: { ...rest, id: position } });
    } else if (!notice && state && isOver()) say({ notice: state });
  };
  // It is held until this is closed, or the tab is.
  navigator.locks.request(name, { signal }, () => new Promise<void>(lead)).catch(() => {});
  say({});
  return {
    send(ref, data) {
      if (connection) return connection.send(ref, data);
      asked.add(ref);
      say({ ref, data });
    },
    acknowledge: (id) => connection?.acknowledge(id),
    close() {
      if (signal.aborted) return;
      closing.abort();
      channel.close();
      if (connection) connection.close();
      else if (!isOver()) emit({ type: "close", code: 1000, reason: "", willReconnect: false });
    },
  };

  function isOver(): boolean {
    return state?.type === "close" && !state.willReconnect;
  }

  function lead(release: () => void): void {
    signal.onabort = release;
    forgetAsked();
    // Who was told to stay away does, and keeps the lock, so that nobody else comes instead.
    if (isOver()) return;
    connection = connect({
      ...options,
      position,
      emit(notice) {
        if (!signal.aborted) say({ notice });
        const { type } = notice;
        if (type === "open" || type === "close") state = notice;
        if (type === "open" || type === "position") position = notice.id;
        if (type === "message") position = notice.message.id ?? position;
        emit(notice);
      },
    });
  }

  function follow(notice: Notice): void {
    if (held) {
      if (held.push(notice) > maxHeld) held = [];
      return;
    }
    const { type } = notice;
    if (type === "open") {
      const { session, transport, id, resumed } = notice;
      if (state?.type === "open" && session === state.session && transport === state.transport) return;
      forgetAsked();
      if (position === undefined || resumed === false) position = id;
    }
    if (type === "open" || type === "close") state = notice;
    if (type === "sent") asked.delete(notice.ref);
    const id = type === "position" ? notice.id : type === "message" ? notice.message.id : undefined;
    if (id) {
      // Before it knows where it begins, nothing is for it.
      if (position === undefined || has(id)) return;
      if (type === "message" && !has(notice.after)) return void catchUp();
      position = id;
    }
    emit(notice);
    if (type === "open" && !has(notice.id)) void catchUp();
  }

  /** Who was to send it has gone, maybe before. */
  function forgetAsked(): void {
    for (const ref of asked) emit({ type: "sent", ref, isTaken: false });
    asked.clear();
  }

  function has(id = ""): boolean {
    const [, epoch, offset] = split(id);
    const [, ownEpoch, ownOffset] = split(position);
    return id === "" || id === position || (epoch === ownEpoch && Number(offset) <= Number(ownOffset));
  }

  /** Fetches what this tab has not had; what the leader passes on meanwhile waits. */
  async function catchUp(): Promise<void> {
    held = [];
    for (let isBehind = true; isBehind;) {
      const answer = await fetchMissed(server, position ?? "", signal);
      // Who leads meanwhile is sent it anyway.
      if (signal.aborted || connection) return;
      if (!answer) {
        await new Promise((resolve) => setTimeout(resolve, times.first * (1 + Math.random())));
        continue;
      }
      const { id, resumed, messages } = answer;
      if (resumed === false && state?.type === "open") emit({ ...state, resumed, id });
      for (const message of messages) {
        emit({ type: "message", message, after: position });
        position = message.id;
      }
      position = id;
      emit({ type: "position", id });
      isBehind = messages.length > 0;
    }
    const rest = held;
    held = undefined;
    for (const notice of rest) follow(notice);
  }
}

/** What came after this id; or nothing, when it cannot be had now. */
async function fetchMissed(
  { url, getToken }: Server,
  since: string,
  signal: AbortSignal,
): Promise<PollAnswer | undefined> {
  try {
    const token = await getToken();
    const answer = await fetch(url("poll", { since, wait: "0" }), {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal,
    });
    return answer.ok ? ((await answer.json()) as PollAnswer) : undefined; // it is our own server's
  } catch {
    return undefined;
  }
}

function split(id = ""): readonly string[] {
  return /^(.*)-(\d+)$/.exec(id) ?? [];
}
