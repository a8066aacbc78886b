/**
 * What a page has of server-push: the events of a connection, which the page listens to. contract.d.ts says what each promises.
 */
import { type Content, defaultTimes, type Notice, openConnection, type Times } from "./connection.ts";
import type { ConnectOptions, Push, PushMessage, Transport } from "./contract.d.ts";
import type { openShared } from "./shared.ts";
import type { Server } from "./transports.ts";

/** Events with a handler of their own. A message with such a name is a `message`. */
const own = new Set(["open", "close", "reset", "error", "message"] as const);

function isOwn(type: string | undefined): type is "open" {
  return (own as Set<string | undefined>).has(type);
}
/** How many messages may wait for who iterates. */
const maxBuffered = 10_000;

type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): void };

/** What is not everywhere. */
interface Surroundings {
  readonly location?: { readonly origin: string };
  readonly navigator?: { readonly locks?: object };
  /** Of a tab. */
  readonly sessionStorage?: {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
  };
}

const { location, navigator, sessionStorage }: Surroundings = globalThis as Surroundings; // all of them may be absent

/** Who iterates. */
interface Reader {
  readonly buffer: PushMessage[];
  wake: () => void;
}

/** @param base where the script came from, when that is known */
export function open(options: ConnectOptions, base?: string, times: Times = defaultTimes): Push {
  const { userid, compid, token, resume, shared, since, transports } = options;
  const root = options.url ?? base ?? location?.origin;
  if (!root) throw new TypeError("url is missing");
  const server: Server = {
    url(path, parameters) {
      const at = new URL(root);
      // A server may be behind a path of another one.
      at.pathname = at.pathname.replace(/\/?$/, `/${path}`);
      for (const [name, value] of Object.entries({ userid, compid, ...parameters }))
        if (value !== undefined) at.searchParams.set(name, value);
      return at;
    },
    hasFreshTokens: typeof token === "function",
    getToken: async () => (typeof token === "function" ? await token() : token),
  };
  const name = `server-push ${server.url("", {})}`;
  const readers = new Set<Reader>();
  const sending = new Map<string, (isTaken: boolean) => void>();
  /** How many listeners have handled the message, and whether one of them has failed. */
  let handlers = 0;
  let hasFailed = false;
  const wrapped = new WeakMap<Listener, (event: Event) => void>();

  class Client extends EventTarget {
    declare onopen: Push["onopen"];
    declare onclose: Push["onclose"];
    declare onreset: Push["onreset"];
    declare onerror: Push["onerror"];
    declare onmessage: Push["onmessage"];
    declare transport: Transport | undefined;
    declare session: string | undefined;
    state: Push["state"] = "connecting";
    position: string | undefined = (resume === "tab" && sessionStorage?.getItem(name)) || since;

    override addEventListener(type: string, listener: Listener | null, how?: AddEventListenerOptions): void {
      if (listener) super.addEventListener(type, wrap(listener), how);
    }

    override removeEventListener(type: string, listener: Listener | null, how?: EventListenerOptions): void {
      if (listener) super.removeEventListener(type, wrap(listener), how);
    }

    send(data: string): Promise<boolean> {
      return new Promise((resolve) => {
        // Tabs that share a connection must not have the same.
        const ref = String(Math.random());
        sending.set(ref, resolve);
        void opening.then((connection) => connection.send(ref, data));
      });
    }

    close(): void {
      void opening.then((connection) => connection.close());
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<PushMessage, undefined> {
      const reader: Reader = { buffer: [], wake: () => {} };
      readers.add(reader);
      try {
        for (;;) {
          if (reader.buffer.length > maxBuffered) throw new RangeError("too many messages wait");
          const next = reader.buffer.shift();
          if (next) {
            yield next;
            // Who asks for the next one has handled this one.
            const { lastEventId: id } = next;
            if (id === "") continue;
            acknowledge(id);
            keep(id);
          } else if (this.state === "closed") return undefined;
          else await new Promise<void>((resolve) => (reader.wake = resolve));
        }
      } finally {
        readers.delete(reader);
      }
    }
  }

  const client = new Client();
  for (const type of own) client[`on${type}`] = null;
  const parts = { server, order: transports ?? allTransports, position: client.position, emit: take, times };
  const openOwn = () => openConnection(parts);
  // What few pages ask for is a file of its own. Where it cannot be had, or there are no locks, each page has its own connection.
  const opening =
    shared && navigator?.locks
      ? import(String(server.url("client-shared.mjs", {}))).then(
          (shares: { readonly openShared: typeof openShared }) =>
            shares.openShared(name, parts, openConnection),
          openOwn,
        )
      : Promise.resolve(openOwn());
  return client as Push; // its `addEventListener` takes all that that of Push takes

  function take(notice: Notice): void {
    const { type } = notice;
    if (type === "sent") {
      sending.get(notice.ref)?.(notice.isTaken);
      sending.delete(notice.ref);
    } else if (type === "position") move(notice.id);
    else if (type === "message") deliver(notice.message);
    else {
      const { type: _, ...told } = notice;
      if (type !== "error") {
        client.state = type === "open" ? type : notice.willReconnect ? "connecting" : "closed";
        const { session, transport } = { session: undefined, transport: undefined, ...told };
        Object.assign(client, { session, transport });
      }
      if (type === "open") move(notice.id);
      tell(type, told);
      if (type === "open" && notice.resumed === false) tell("reset");
      for (const { wake } of readers) wake();
    }
  }

  function deliver(content: Content): void {
    const { id } = content;
    const message = toMessage(content);
    handlers = 0;
    hasFailed = false;
    fire(message);
    for (const { buffer, wake } of readers) {
      // Who is so far behind is told when it comes to it.
      if (buffer.length <= maxBuffered) buffer.push(message);
      wake();
    }
    if (!id) return;
    client.position = id;
    if (handlers > 0 && !hasFailed) acknowledge(id);
    if (readers.size === 0) keep(id);
  }

  /** Nothing was for this page since. */
  function move(id: string): void {
    client.position = id;
    for (const { buffer } of readers) if (buffer.length > 0) return;
    keep(id);
  }

  function acknowledge(id: string): void {
    void opening.then((connection) => connection.acknowledge(id));
  }

  function keep(id: string): void {
    if (resume === "tab") sessionStorage?.setItem(name, id);
  }

  function toMessage({ id = "", event, data = "", base64 }: Content): PushMessage {
    const body = base64 === undefined ? data : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const type = !event || isOwn(event) ? "message" : event;
    return new MessageEvent(type, { data: body, lastEventId: id, origin: server.url("", {}).origin });
  }

  function tell(type: string, properties?: object): void {
    fire(Object.assign(new Event(type), properties));
  }

  function fire(event: Event): void {
    const { type } = event;
    const handler = isOwn(type) && client[`on${type}`];
    if (handler) wrap(handler as Listener)(event);
    client.dispatchEvent(event);
  }

  /** Whether a listener has handled a message, or has thrown, is not told by `dispatchEvent`. */
  function wrap(listener: Listener): (event: Event) => void {
    const known = wrapped.get(listener);
    if (known) return known;
    const outer = (event: Event) => {
      handlers++;
      try {
        if (typeof listener === "function") listener.call(client, event);
        else listener.handleEvent(event);
      } catch (error) {
        hasFailed = true;
        // As an error that nobody has caught, which is what it is.
        queueMicrotask(() => {
          throw error;
        });
      }
    };
    wrapped.set(listener, outer);
    return outer;
  }
}

const allTransports: readonly Transport[] = ["websocket", "sse", "poll"];
