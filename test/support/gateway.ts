/**
 * A proxy as some networks have it: it refuses to upgrade connections, leaves them hanging or takes its time, holds streams back as long
 * as they go on, refuses or loses polls, loses files, or answers by itself. It counts what comes through.
 *
 *   await using gateway = await openGateway(server);
 *   gateway.upgrades = "refuse";
 *   gateway.streams = "hold";
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface Gateway extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** What becomes of the handshake of a WebSocket; one that is held is passed on when it is released. */
  upgrades: "pass" | "refuse" | "hang" | "hold";
  /** What becomes of a stream of events that begins now. */
  streams: "pass" | "hold";
  /** What becomes of a poll that begins now. */
  polls: "pass" | "refuse" | "hang";
  /** What is answered by somebody else, with such a status. */
  answers: Partial<Record<Call, number>>;
  /** What becomes of the file that tabs share their connection by, when it is asked for now. */
  files: "pass" | "hang";
  /** The transport of each call, in their order; `probe` is `/ws` without a handshake. */
  readonly calls: readonly Call[];
  /** How many connections and calls were under way at once, at the most. */
  readonly most: number;
  /** Passes on every handshake that is held; later ones pass at once. */
  release(): void;
}

export type Call = "websocket" | "probe" | "sse" | "poll" | "file";

const refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

export async function openGateway(server: { readonly port: number }): Promise<Gateway> {
  const calls: Call[] = [];
  const underWay = new Map<Socket, Call>();
  const open = new Set<Socket>();
  /** Whose answers are kept back until they are over: by then nobody waits for them any more. */
  const held = new Set<Socket>();
  const releases = new Map<Socket, () => void>();
  let most = 0;
  const listener = createServer((client) => {
    const upstream = connect({ host: "127.0.0.1", port: server.port });
    open.add(client);
    client.on("data", (chunk) => {
      const call = toCall(chunk.toString("latin1"));
      if (call !== undefined) {
        calls.push(call);
        underWay.set(client, call);
        if (call === "sse" && gateway.streams === "hold") held.add(client);
        if (call === "poll" && gateway.polls === "hang") held.add(client);
        if (call === "file" && gateway.files === "hang") held.add(client);
      }
      const status = call && gateway.answers[call];
      if (status !== undefined) {
        client.end(
          `HTTP/1.1 ${status} Elsewhere\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>elsewhere`,
        );
        return;
      }
      const becomes = call === "websocket" ? gateway.upgrades : call === "poll" ? gateway.polls : "pass";
      if (becomes === "refuse") client.end(refusal);
      else if (becomes === "hold") releases.set(client, () => upstream.write(chunk));
      else if (becomes === "pass" || call === "poll") upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      // By now who opened it has also ended what was before it, on whichever thread that is done.
      most = Math.max(most, underWay.size);
      if (held.has(client)) return;
      const call = underWay.get(client);
      if (call === "poll" || call === "probe" || call === "file") underWay.delete(client);
      client.write(chunk);
    });
    const end = () => {
      for (const set of [underWay, open, held, releases]) set.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  // It listens on TCP.
  const { port } = listener.address() as AddressInfo;
  const gateway: Gateway = {
    url: `http://127.0.0.1:${port}`,
    port,
    upgrades: "pass",
    streams: "pass",
    polls: "pass",
    answers: {},
    files: "pass",
    calls,
    get most() {
      return most;
    },
    release() {
      gateway.upgrades = "pass";
      for (const release of releases.values()) release();
      releases.clear();
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
  return gateway;
}

/** What a client has asked for, when this is the head of a request. */
function toCall(text: string): Call | undefined {
  const path = /^GET \/(ws|sse|poll|client-shared)\b/.exec(text)?.[1];
  if (path === "client-shared") return "file";
  if (path !== "ws") return path as "sse" | "poll" | undefined;
  return /^upgrade: websocket\r$/im.test(text) ? "websocket" : "probe";
}
