/**
 * The same over TLS: https and wss, on the same port, and HTTP/2 where it is asked for.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { makeCertificate, type TestCertificate } from "../support/certificates.ts";
import { connect } from "../support/client.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { run } from "../support/process.ts";
import { openRaw } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";

let certificate: TestCertificate;
let folder: Folder;

const start = (more: Readonly<Record<string, string>> = {}): Promise<TestServer> =>
  startServer({ "tls-cert": folder.file("cert.pem"), "tls-key": folder.file("key.pem"), ...more });
const get = (url: string) => fetch(url, { tls: { ca: certificate.cert } });

/** What curl reads of an event stream until it is pushed to, and the version of HTTP that it speaks. */
async function stream(server: TestServer) {
  const options = ["--no-buffer", "--silent", "--max-time", "1", "--write-out", "version %{http_version}"];
  const url = `${server.url}/sse?userid=1&since=all`;
  return (await run(["curl", "--cacert", folder.file("cert.pem"), ...options, url])).stdout;
}

describe.skipIf(mustSkip("openssl") || mustSkip("curl"))("with --tls-cert and --tls-key", () => {
  beforeAll(async () => {
    certificate = await makeCertificate("server-push");
    folder = await makeFolder({ "cert.pem": certificate.cert, "key.pem": certificate.key });
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  test("a push over https reaches a session over wss", async () => {
    await using server = await start();
    await using inbox = await connect(server, "userid=1", [], certificate.cert);

    const answer = await get(`${server.url}/push?userid=1&message=hello`);

    expect(server.url).toStartWith("https://");
    expect(await inbox.next()).toBe("hello");
    expect(await answer.json()).toMatchObject({ sessions: 1 });
  });

  test("who does not trust the certificate does not connect", async () => {
    await using server = await start();

    expect(fetch(`${server.url}/healthz`)).rejects.toThrow(/self.signed/i);
  });

  test("HTTP without TLS is not answered", async () => {
    await using server = await start();
    await using raw = await openRaw(server);
    raw.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await raw.ended;

    expect(raw.received.toString("latin1")).not.toContain("HTTP/1.1 200");
  });

  test("the figures say when the certificate expires", async () => {
    await using server = await start();

    const figures = await (await get(`${server.url}/metrics`)).text();
    const [, seconds] = /^server_push_certificate_expiry_seconds (\d+)$/m.exec(figures) ?? [];

    expect((Number(seconds) * 1000 - Date.now()) / 86_400_000).toBeWithin(29, 31);
  });

  test("publishers on this machine call their own port without TLS", async () => {
    await using server = await start({ "api-port": "0" });
    await using inbox = await connect(server, "userid=1", [], certificate.cert);

    await fetch(`${server.apiUrl}/push?userid=1&message=hello`);

    expect(server.apiUrl).toStartWith("http://");
    expect(await inbox.next()).toBe("hello");
  });

  test("publishers on other machines call theirs with TLS", async () => {
    await using server = await start({ "api-port": "0", "api-host": "0.0.0.0", insecure: "true" });

    const { port, protocol } = new URL(server.apiUrl);

    expect(protocol).toBe("https:");
    expect((await get(`https://127.0.0.1:${port}/push?userid=1&message=hello`)).status).toBe(202);
  });

  test("HTTP/2 carries an event stream where it is asked for, and WebSockets go on", async () => {
    await using server = await start({ http2: "true" });
    await using inbox = await connect(server, "userid=1", [], certificate.cert);
    await get(`${server.url}/push?userid=1&message=hello`);

    const read = await stream(server);

    expect(read).toContain("data: hello\n");
    expect(read).toEndWith("version 2");
    expect(await inbox.next()).toBe("hello");
  });

  test("HTTP/2 is not spoken where it is not asked for", async () => {
    await using server = await start();

    expect(await stream(server)).toEndWith("version 1.1");
  });
});
