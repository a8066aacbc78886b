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
import type { share as openShared } from "./shared.ts";
import { surroundings } from "./surroundings.ts";
import { type Server, transports as all } from "./transports.ts";

/** Events with a handler of their own. A message with such a name is a `message`. */
const own = ["open", "close", "reset", "error", "message"] as const;

/** How many messages may wait for who iterates. */
const maxBuffered = 10_000;
/** How many messages may wait to be sent, or for the server's answer. */
const maxSending = 400;

type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): void };

/** Who iterates. */
interface Reader {
  readonly buffer: PushMessage[];
  wake?: () => void;
}

/** A message on its way. */
interface Sending {
  readonly data: string;
  readonly resolve: (isTaken: boolean) => void;
}

/** @param base where the script came from, when that is known */
export function open(options: ConnectOptions, base?: string, times: Times = defaultTimes): Push {
  const { userid, compid, token, resume, shared, since, transports: order = allTransports } = options;
  if (!order[0] || !order.every((transport) => allTransports.includes(transport)))
    throw new TypeError(`transports: ${order}`);
  // Where there is none of them, a URL that cannot be, which throws.
  const root = String(options.url ?? base ?? surroundings.location?.origin);
  const server: Server = {
    url(path, parameters) {
      const at = new URL(root);
      if (!/^https?:/.test(at.protocol)) throw new TypeError(`url: ${root}`);
      // A server may be behind a path of another one.
      at.pathname = at.pathname.replace(/\/?$/, `/${path}`);
      for (const [name, value] of Object.entries({ userid, compid, ...parameters }))
        // Of who is nobody, pages are made with null.
        if (value != null) at.searchParams.set(name, value as string); // which it becomes
      return at;
    },
    renews: typeof token === "function",
    // One is as it was then. Of what is none, a browser would quote all in an error, for everybody to read; the server does not.
    getToken: async () => encodeURIComponent((typeof token === "function" ? await token() : token) ?? ""),
  };
  const name = `server-push ${server.url("", {})}`;
  const readers = new Set<Reader>();
  const sending = new Map<string, Sending>();
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
        if (isClosed() || sending.size >= maxSending) return resolve(false);
        // Tabs that share a connection must not have the same.
        const ref = String(Math.random());
        sending.set(ref, { data: `${data}`, resolve });
        connection?.send(ref, `${data}`);
      });
    }

    close(): void {
      if (connection) return connection.close();
      // What it shares with others is still being loaded.
      for (const { resolve } of sending.values()) resolve(false);
      take({ type: "close", code: 1000, reason: "", willReconnect: false });
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
            connection?.ack(id);
            keep(id);
          } else if (isClosed()) return undefined;
          else await new Promise<void>((resolve) => (reader.wake = resolve));
        }
      } finally {
        readers.delete(reader);
      }
    }
  }

  const client = new Client();
  const parts = { server, order, position: client.position, emit: take, times };
  let connection: Connection | undefined;
  if (shared && surroundings.location && surroundings.navigator?.locks) void share();
  else connection = openConnection(parts);
  return client as Push; // its `addEventListener` takes all that that of Push takes

  /**
   * What few pages ask for is a file of its own. A file that a browser has not got it asks for again by another name alone. Where it cannot
   * be had or used, each page has its own connection.
   */
  async function share(): Promise<void> {
    try {
      for (const pause of [0, 1, 2, 4]) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * pause * times.first));
        if (isClosed()) return;
        const file: { readonly share: typeof openShared } | undefined = await Promise.race([
          new Promise<never>((_, reject) => setTimeout(reject, times.open)),
          import(String(server.url("client-shared.mjs", { pause }))).catch(() => {}),
        ]);
        if (isClosed()) return;
        connection = file?.share(name, parts, openConnection);
        if (connection) break;
      }
    } catch {}
    if (isClosed()) return;
    connection ??= openConnection(parts);
    for (const [ref, { data }] of sending) connection.send(ref, data);
    // A page may close it when it is asked for its token.
    if (isClosed()) connection.close();
  }

  function isClosed(): boolean {
    return client.state === "closed";
  }

  function take(notice: Notice): void {
    const { type } = notice;
    if (type === "sent") {
      sending.get(notice.ref)?.resolve(notice.isTaken);
      sending.delete(notice.ref);
    } else if (isClosed()) return;
    else if (type === "position") move(notice.id);
    else if (type === "message") deliver(notice.message);
    else {
      if (type !== "error") {
        client.state = type === "open" ? type : notice.willReconnect ? "connecting" : "closed";
        const { session, transport } = notice as Partial<OpenEvent>; // a session that is over has neither
        Object.assign(client, { session, transport });
      }
      if (type === "open") move(notice.id);
      tell(notice);
      if (type === "open" && client.state === type && notice.resumed === false) tell({ type: "reset" });
    }
    for (const { wake } of readers) wake?.();
  }

  function deliver({ id = "", event = "", data = "", base64 }: Content): void {
    // A message with the name of an event of the connection would be taken for that.
    const isNamed = event && !own.includes(event as "open"); // which it may be
    const message: PushMessage = new MessageEvent(isNamed ? event : "message", {
      data: base64 === undefined ? data : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)),
      lastEventId: id,
      origin: new URL(root).origin,
    });
    told = handled = 0;
    client.dispatchEvent(message);
    // Who is so far behind is told when it has handled the one that it has.
    for (const { buffer } of readers) if (buffer.length < maxBuffered + 2) buffer.push(message);
    if (!id) return;
    client.position = id;
    if (told && told === handled) connection?.ack(id);
    if (!readers.size) keep(id);
  }

  /** Nothing was for this page since. */
  function move(id: string): void {
    client.position = id;
    for (const { buffer } of readers) if (buffer.length) return;
    keep(id);
  }

  /** Makes a note of the position, or reads it. A page that may keep nothing goes on without. */
  function keep(id?: string): string | null | undefined | void {
    try {
      if (resume)
        return id ? surroundings.sessionStorage.setItem(name, id) : surroundings.sessionStorage.getItem(name);
    } catch {}
  }

  function tell({ type, ...said }: { readonly type: string }): void {
    client.dispatchEvent(Object.assign(new Event(type), said));
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
