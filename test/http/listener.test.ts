/**
 * What becomes of a listener when a renewal of its certificate fails, and of connections that are kept alive when one does not.
 */
import { describe, expect, test } from "bun:test";
import { Elysia } from "elysia";
import { type Connections, Listener } from "../../src/http/listener.ts";
import { makeCertificate } from "../support/certificates.ts";
import { connect } from "node:tls";
import { mustSkip } from "../support/system.ts";

async function open(createApp: (connections: Connections) => void = () => {}) {
  const [first, second] = await Promise.all(["first", "second"].map((name) => makeCertificate(name)));
  if (first === undefined || second === undefined) throw new Error("expected two certificates");
  const seen: Connections[] = [];
  const listener = new Listener({
    hostname: "127.0.0.1",
    port: 0,
    http2: false,
    idleSeconds: 10,
    certificate: { ...first, expiresAt: 0 },
    createApp(connections) {
      createApp(connections);
      seen.push(connections);
      return new Elysia().get("/", () => "hello");
    },
  });
  return {
    listener,
    second: { ...second, expiresAt: 0 },
    seen,
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

/** The name in the certificate that is shown now. */
async function readShown({ port }: Listener): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () =>
    resolve(String(socket.getPeerCertificate().subject.CN)),
  );
  socket.on("error", reject);
  return await promise.finally(() => socket.destroy());
}

describe.skipIf(mustSkip("openssl"))("a renewal", () => {
  test("that fails leaves what was, and the next one succeeds", async () => {
    let fails = false;
    await using it = await open(() => {
      if (fails) throw new Error("EMFILE");
    });

    fails = true;
    await expect(it.listener.renew(it.second)).rejects.toThrow("EMFILE");
    expect(await readShown(it.listener)).toBe("first");

    fails = false;
    await it.listener.renew(it.second);
    expect(await readShown(it.listener)).toBe("second");
  });

  test("to the certificate that is shown already begins no other server", async () => {
    await using it = await open();

    await it.listener.renew(it.second);
    await it.listener.renew(it.second);

    expect(it.seen).toHaveLength(2);
  });

  test("tells the connections of the first server that they end, and not those of the second", async () => {
    await using it = await open();

    await it.listener.renew(it.second);

    expect(it.seen.map(({ areLeaving }) => areLeaving)).toEqual([true, false]);
  });

  test("that is under way when the listener is closed leaves nothing that listens", async () => {
    const it = await open();
    const renewing = it.listener.renew(it.second);

    await it.listener.close();
    await renewing;

    await expect(readShown(it.listener)).rejects.toThrow();
  });
});
