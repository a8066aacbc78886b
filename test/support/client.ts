/**
 * A WebSocket client for tests: what arrives is waited for, never slept for.
 */
export interface TestClient extends AsyncDisposable {
  /** The next message that arrives, or that has arrived and was not asked for yet. */
  next(): Promise<string | Uint8Array>;
  /** What has arrived and was not asked for. */
  readonly waiting: readonly (string | Uint8Array)[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  readonly socket: WebSocket;
  send(data: string | Uint8Array<ArrayBuffer>): void;
}

/** Connects to `/ws` of the server with this query, offering these subprotocols, and trusting `ca` (PEM); rejects when the handshake is refused. */
export async function connect(
  server: { readonly url: string },
  query = "",
  subprotocols: string[] = [],
  ca?: string,
): Promise<TestClient> {
  const url = `${server.url.replace("http", "ws")}/ws${query && `?${query}`}`;
  const socket = new WebSocket(url, {
    protocols: subprotocols,
    ...(ca !== undefined && { tls: { ca } }),
  });
  socket.binaryType = "arraybuffer";
  const waiting: (string | Uint8Array)[] = [];
  const takers: ((data: string | Uint8Array) => void)[] = [];
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  const opened = Promise.withResolvers<void>();
  socket.onmessage = ({ data }) => {
    const body = typeof data === "string" ? data : new Uint8Array(data);
    const taker = takers.shift();
    if (taker === undefined) waiting.push(body);
    else taker(body);
  };
  socket.onopen = () => opened.resolve();
  socket.onclose = ({ code, reason }) => {
    opened.reject(new Error(`closed before it was open: ${code} ${reason}`));
    closed.resolve({ code, reason });
  };
  await opened.promise;
  return {
    next: () => {
      const data = waiting.shift();
      return data === undefined ? new Promise((resolve) => takers.push(resolve)) : Promise.resolve(data);
    },
    waiting,
    closed: closed.promise,
    socket,
    send: (data) => socket.send(data),
    async [Symbol.asyncDispose]() {
      socket.close();
      await closed.promise;
    },
  };
}
