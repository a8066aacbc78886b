/**
 * What a page has of server-push: the events of a connection, which the page listens to. contract.d.ts says what each promises.
 */
import {
  type Connection,
  type Content,
  defaultTimes,
  type Notice,
  openConnection,
  type Times,
} from "./connection.ts";
import type { ConnectOptions, OpenEvent, Push, PushMessage, Transport } from "./contract.d.ts";
import type { openShared } from "./shared.ts";
import { type Server, transports as all } from "./transports.ts";

/** Events with a handler of their own. A message with such a name is a `message`. */
const own = ["open", "close", "reset", "error", "message"] as const;

function isOwn(type: string): type is "open" {
  return own.includes(type as "open"); // which it may be
}
/** How many messages may wait for who iterates. */
const maxBuffered = 10_000;

type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): void };

/** What is not everywhere. */
interface Surroundings {
  readonly location?: { readonly origin: string };
  readonly navigator?: { readonly locks?: object };
  /** Of a tab. A page that may keep nothing may not even look at it. */
  readonly sessionStorage: {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
  };
}

const surroundings = globalThis as unknown as Surroundings; // all of them may be absent
const { location, navigator } = surroundings;

/** Who iterates. */
interface Reader {
  readonly buffer: PushMessage[];
  wake?: () => void;
}

/** @param base where the script came from, when that is known */
export function open(options: ConnectOptions, base?: string, times: Times = defaultTimes): Push {
  const { userid, compid, token, resume, shared, since, transports } = options;
  // Where there is none of them, a URL that cannot be, which throws.
  const root = String(options.url ?? base ?? location?.origin);
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
    getToken: async () => (typeof token === "function" ? token() : token),
  };
  const name = `server-push ${server.url("", {})}`;
  const readers = new Set<Reader>();
  const sending = new Map<string, (isTaken: boolean) => void>();
  /** How many listeners have been told of the message, and how many of them have not thrown. */
  let told = 0;
  let handled = 0;
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
    position: string | undefined = keep() || since;

    constructor() {
      super();
      for (const type of own) {
        this[`on${type}`] = null;
        super.addEventListener(type, (event) => {
          const handler = this[`on${type}`];
          if (handler) wrap(handler as Listener)(event); // it is one, of this type
        });
      }
    }

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
        withConnection((one) => one.send(ref, data));
      });
    }

    close(): void {
      withConnection((one) => one.close());
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<PushMessage, undefined> {
      const reader: Reader = { buffer: [] };
      readers.add(reader);
      try {
        for (;;) {
          if (reader.buffer.length > maxBuffered) throw new RangeError("too many messages");
          // It stays there while it is handled, so that nothing later counts as handled before.
          const [next] = reader.buffer;
          if (next) {
            yield next;
            // Who asks for the next one has handled this one.
            reader.buffer.shift();
            const { lastEventId: id } = next;
            if (!id) continue;
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
  const parts = { server, order: transports ?? allTransports, position: client.position, emit: take, times };
  let connection: Connection | undefined;
  // At once, where that can be: who closes it in a handler is told nothing more.
  const withConnection = (work: (one: Connection) => void) =>
    connection ? work(connection) : void opening.then(work);
  const openOwn = () => (connection = openConnection(parts));
  // What few pages ask for is a file of its own. Where it cannot be had, or has nothing to share with, each page has its own connection.
  const opening =
    shared && navigator?.locks
      ? import(String(server.url("client-shared.mjs", {})))
          .then(
            (shares: { readonly openShared: typeof openShared }) =>
              (connection = shares.openShared(name, parts, openConnection)),
          )
          .catch(openOwn)
      : Promise.resolve(openOwn());
  return client as Push; // its `addEventListener` takes all that that of Push takes

  function take(notice: Notice): void {
    const { type } = notice;
    if (type === "sent") {
      sending.get(notice.ref)?.(notice.isTaken);
      sending.delete(notice.ref);
    } else if (client.state === "closed") return;
    else if (type === "position") move(notice.id);
    else if (type === "message") deliver(notice.message);
    else {
      const { type: _, ...said } = notice;
      if (type !== "error") {
        client.state = type === "open" ? type : notice.willReconnect ? "connecting" : "closed";
        const { session, transport } = said as Partial<OpenEvent>; // a session that is over has neither
        Object.assign(client, { session, transport });
      }
      if (type === "open") move(notice.id);
      tell(type, said);
      if (client.state === "open" && type === "open" && notice.resumed === false) tell("reset");
    }
    for (const { wake } of readers) wake?.();
  }

  function deliver(content: Content): void {
    const { id } = content;
    const message = toMessage(content);
    told = handled = 0;
    client.dispatchEvent(message);
    // Who is so far behind is told when it has handled the one that it has.
    for (const { buffer } of readers) if (buffer.length < maxBuffered + 2) buffer.push(message);
    if (!id) return;
    client.position = id;
    if (told > 0 && told === handled) acknowledge(id);
    if (readers.size === 0) keep(id);
  }

  /** Nothing was for this page since. */
  function move(id: string): void {
    client.position = id;
    for (const { buffer } of readers) if (buffer.length > 0) return;
    keep(id);
  }

  function acknowledge(id: string): void {
    withConnection((one) => one.acknowledge(id));
  }

  /** Makes a note of the position, or reads it. A page that may keep nothing goes on without. */
  function keep(id?: string): string | null | undefined | void {
    try {
      if (resume)
        return id ? surroundings.sessionStorage.setItem(name, id) : surroundings.sessionStorage.getItem(name);
    } catch {}
  }

  function toMessage({ id = "", event, data = "", base64 }: Content): PushMessage {
    const body = base64 === undefined ? data : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const type = !event || isOwn(event) ? "message" : event;
    return new MessageEvent(type, { data: body, lastEventId: id, origin: new URL(root).origin });
  }

  function tell(type: string, properties?: object): void {
    client.dispatchEvent(Object.assign(new Event(type), properties));
  }

  /** Whether a listener has handled a message, or has thrown, is not told by `dispatchEvent`, which reports what is thrown. */
  function wrap(listener: Listener): (event: Event) => void {
    const known = wrapped.get(listener);
    if (known) return known;
    const outer = (event: Event) => {
      told++;
      if (typeof listener === "function") listener.call(client, event);
      else listener.handleEvent(event);
      handled++;
    };
    wrapped.set(listener, outer);
    return outer;
  }
}

const allTransports = Object.keys(all) as Transport[]; // it has all of them, the best one first
