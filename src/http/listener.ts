/**
 * A port that is listened on, with TLS or without, whose certificate can be renewed while sessions go on.
 *
 * Bun cannot give a server another certificate. So a second server begins on the same port (SO_REUSEPORT), and the first takes nothing
 * new any more, and keeps its sessions for as long as they last:
 *
 *   first    takes ──────────────────┤ keeps its sessions ────────┤ ends with the last of them
 *   second                      ├──── takes ──────────────────────────────────────────── …
 */
import type { Server, WebSocketHandler } from "bun";
import type { AnyElysia } from "elysia";
import type { Certificate } from "./tls.ts";

/** What listening takes, but for who is served. */
export interface ListenerOptions {
  readonly hostname: string;
  /** 0 takes any that is free. */
  readonly port: number;
  /** Without it, HTTP. */
  readonly certificate?: Certificate;
  /** Whether HTTP/2 is spoken too. */
  readonly http2: boolean;
  /** How long a connection may be silent, in seconds. */
  readonly idleSeconds: number;
}

/** What an application knows of the connections of its server. */
export interface Connections {
  /** They end before long: an answer says so, and its client comes by another one the next time. */
  areLeaving: boolean;
}

export interface ListenerParts<Session> extends ListenerOptions {
  /** Makes the application: anew for every server, as an application belongs to one. */
  readonly createApp: (connections: Connections) => AnyElysia;
  readonly websocket?: WebSocketHandler<Session>;
  /** A server has begun. What this gives is called when the last of its connections has ended. */
  readonly onBegin?: (server: Server<unknown>) => () => void;
}

/** For so long both servers take connections: who is in the middle of a handshake with the first one gets through. */
const overlapMs = 1000;

export class Listener<Session = never> {
  readonly #parts: ListenerParts<Session>;
  /** All that have connections, each with what is called at its end. */
  readonly #servers = new Map<
    Server<unknown>,
    { readonly connections: Connections; readonly onEnd: () => void }
  >();
  #newest: Server<unknown>;
  /** The certificate of the newest. */
  #certificate: Certificate | undefined;
  readonly port: number;
  /** `https://127.0.0.1:8888` */
  readonly url: string;
  /** One renewal after the other. */
  #renewing: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** @throws an error with `code` EADDRINUSE, EACCES, … when it cannot listen */
  constructor(parts: ListenerParts<Session>) {
    this.#parts = parts;
    // With a shared port two programs would both listen, and each client would reach one of them.
    if (parts.certificate !== undefined && parts.port !== 0) requireFree(parts);
    this.#certificate = parts.certificate;
    this.#newest = this.#begin(parts.port);
    // A server that has stopped has neither.
    this.port = this.#newest.port ?? 0;
    this.url = this.#newest.url.origin;
  }

  /** Shows another certificate to who connects from now on, where it is one with TLS. */
  async renew(certificate: Certificate): Promise<void> {
    const renewal = this.#renewing.then(() => this.#renew(certificate));
    this.#renewing = renewal.catch(() => {});
    await renewal;
  }

  /** Takes nothing new, and resolves when the last connection has ended. */
  async stop(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#servers.keys(), (server) => server.stop()));
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#servers.keys(), (server) => server.stop(true)));
  }

  async #renew(certificate: Certificate): Promise<void> {
    const before = this.#certificate;
    // When another listener could not take it, it is tried again, and this one has it already.
    if (
      this.#isClosed ||
      before === undefined ||
      before.cert + before.key === certificate.cert + certificate.key
    )
      return;
    const last = this.#newest;
    this.#certificate = certificate;
    try {
      this.#newest = this.#begin(this.port);
    } catch (error) {
      this.#certificate = before;
      throw error;
    }
    const own = this.#servers.get(last);
    // Stopping cuts connections that are kept alive, also one whose next request is on its way.
    if (own !== undefined) own.connections.areLeaving = true;
    await Bun.sleep(overlapMs);
    void last.stop().then(() => {
      own?.onEnd();
      this.#servers.delete(last);
    });
  }

  #begin(port: number): Server<unknown> {
    const { createApp, websocket, onBegin, hostname, http2, idleSeconds } = this.#parts;
    const certificate = this.#certificate;
    const connections = { areLeaving: false };
    const app = createApp(connections);
    const before = new Set(process.listeners("beforeExit"));
    app.listen({
      hostname,
      port,
      reusePort: certificate !== undefined,
      development: false,
      idleTimeout: idleSeconds,
      // The limit is ours, in body.ts: Bun's own answer to a body that is too large says nothing.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      ...(websocket !== undefined && { websocket }),
      ...(certificate !== undefined && { tls: { cert: certificate.cert, key: certificate.key }, http2 }),
    });
    // Elysia waits for the end of the process with each application, which would keep every one of them.
    for (const listener of process.listeners("beforeExit"))
      if (!before.has(listener)) process.removeListener("beforeExit", listener);
    const { server } = app;
    if (server === null) throw new Error("the listener did not start");
    this.#servers.set(server, { connections, onEnd: onBegin?.(server) ?? (() => {}) });
    return server;
  }
}

/** @throws an error with `code` EADDRINUSE when something listens there */
function requireFree({ hostname, port }: ListenerOptions): void {
  void Bun.serve({ hostname, port, reusePort: false, development: false, fetch: () => new Response() }).stop(
    true,
  );
}
