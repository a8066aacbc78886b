/**
 * What stands between a client and a server, and breaks: cuts connections, keeps new ones away, or falls silent.
 *
 *   await using relay = await openRelay(server);
 *   relay.cut();
 *   relay.mend();
 */
import { connect, createServer, type Socket } from "node:net";

export interface Relay extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** All that the server has sent through it. */
  readonly passed: string;
  /** How many connections it has ended at their begin. */
  readonly refused: number;
  /** Ends every connection, and each new one, until it is mended. */
  cut(): void;
  mend(): void;
  /** Passes nothing on any more on the connections that there are, not even their end. */
  silence(): void;
}

export async function openRelay(server: { readonly port: number }): Promise<Relay> {
  let passed = "";
  let refused = 0;
  let isCut = false;
  const open = new Set<Socket>();
  const pass = (from: Socket, to: Socket, note: (chunk: string) => void) => {
    open.add(from);
    from.on("data", (chunk) => {
      note(String(chunk));
      to.write(chunk);
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      open.delete(from);
      to.destroy();
    });
  };
  const listener = createServer((client) => {
    if (isCut) {
      refused++;
      client.destroy();
      return;
    }
    const upstream = connect({ host: "127.0.0.1", port: server.port });
    pass(client, upstream, () => {});
    pass(upstream, client, (chunk) => (passed += chunk));
  });
  const listening = Promise.withResolvers<void>();
  listener.listen(0, "127.0.0.1", listening.resolve);
  await listening.promise;
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("expected a port");
  const destroyAll = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    get passed() {
      return passed;
    },
    get refused() {
      return refused;
    },
    cut() {
      isCut = true;
      destroyAll();
    },
    mend() {
      isCut = false;
    },
    silence() {
      for (const socket of open) socket.removeAllListeners("data").removeAllListeners("close").resume();
    },
    async [Symbol.asyncDispose]() {
      const closed = Promise.withResolvers<void>();
      listener.close(() => closed.resolve());
      destroyAll();
      await closed.promise;
    },
  };
}
