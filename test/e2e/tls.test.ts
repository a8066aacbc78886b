/**
 * The compiled file with TLS: a certificate that is renewed under load, and what it does not start with.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect as connectTls } from "node:tls";
import { makeCertificate, type TestCertificate } from "../support/certificates.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { compiledFile, run, type ServerProcess, startProcess } from "../support/process.ts";
import { mustSkip } from "../support/system.ts";

setDefaultTimeout(60_000);

const withoutOpenssl = mustSkip("openssl");

async function write(folder: Folder, { cert, key }: TestCertificate): Promise<void> {
  await Bun.write(folder.file("cert.pem"), cert);
  await Bun.write(folder.file("key.pem"), key);
}

function toArguments(folder: Folder, port = 0): string[] {
  const files = [`--tls-cert=${folder.file("cert.pem")}`, `--tls-key=${folder.file("key.pem")}`];
  return [compiledFile, `--port=${port}`, "--log-format=json", ...files];
}

/** The name in the certificate that is shown to who connects now. */
async function readShown({ port }: ServerProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }, () =>
    resolve(String(socket.getPeerCertificate().subject.CN)),
  );
  socket.on("error", reject);
  return await promise.finally(() => socket.destroy());
}

describe.skipIf(withoutOpenssl)("a certificate that is renewed", () => {
  test("is shown to who connects then; no session ends, and none misses a message", async () => {
    const [first, second] = [await makeCertificate("first"), await makeCertificate("second")];
    const ca = first.cert + second.cert;
    await using folder = await makeFolder();
    await write(folder, first);
    await using server = await startProcess(toArguments(folder));
    const early = await Promise.all(Array.from({ length: 50 }, () => connect(server, "", [], ca)));
    const streaming = await fetch(`${server.url}/sse`, { tls: { ca } });
    const end = new AbortController();
    let pushed = 0;
    const pushing = (async () => {
      for (; !end.signal.aborted; pushed++) await pushSafely(server, pushed, ca);
    })();
    await eventually("the load", () => pushed > 20);
    expect(await readShown(server)).toBe("first");

    await write(folder, second);
    server.signal("SIGHUP");
    await eventually("the log", () => server.log.some(({ msg }) => msg === "the certificate is another one"));
    // The first server has stopped taking connections when this is logged.
    expect(await readShown(server)).toBe("second");
    const late = await connect(server, "", [], ca);
    const from = pushed;
    await eventually("more load", () => pushed > from + 20);
    end.abort();
    await pushing;

    const all = Array.from({ length: pushed }, (_, number) => String(number));
    await eventually("all messages", () => early.every(({ waiting }) => waiting.length >= pushed));
    for (const { waiting } of early) expect(waiting.map(String)).toEqual(all);
    await eventually("the newest message", () => late.waiting.at(-1) === all.at(-1));
    expect(all.slice(-late.waiting.length)).toEqual(late.waiting.map(String));
    expect(await readStream(streaming, pushed)).toEqual(all);

    await server.drain();
    for (const client of [...early, late]) expect((await client.closed).code).toBe(1012);
  });

  test("that cannot be used changes nothing, and the log says why", async () => {
    await using folder = await makeFolder();
    await write(folder, await makeCertificate("first"));
    await using server = await startProcess(toArguments(folder));

    await Bun.write(folder.file("key.pem"), "hello");
    server.signal("SIGHUP");
    await eventually("the log", () => server.log.some(({ level }) => level === "error"));

    expect(server.log.find(({ level }) => level === "error")).toMatchObject({
      msg: "the certificate stays as it was",
      reason: expect.stringContaining("expected PEM with a private key"),
    });
    expect(await readShown(server)).toBe("first");
  });
});

describe.skipIf(withoutOpenssl)("it does not start", () => {
  test("on a port where another one serves with TLS", async () => {
    await using folder = await makeFolder();
    await write(folder, await makeCertificate("first"));
    await using server = await startProcess(toArguments(folder));

    const second = await run(toArguments(folder, server.port));

    expect(second.status).toBe(1);
    expect(second.stderr).toContain(`127.0.0.1:${server.port} is in use`);
  });

  test("with a key of another certificate", async () => {
    const [first, second] = [await makeCertificate("first"), await makeCertificate("second")];
    await using folder = await makeFolder();
    await write(folder, { cert: first.cert, key: second.key });

    const { status, stderr } = await run(toArguments(folder));

    expect(status).toBe(1);
    expect(stderr).toContain("does not belong to the first certificate in --tls-cert");
  });

  test.each([
    [["--tls-cert=cert.pem"], "tls-key: is missing, expected it beside --tls-cert"],
    [["--tls-key=key.pem"], "tls-cert: is missing, expected it beside --tls-key"],
    [["--http2"], "http2: browsers speak it over TLS only, expected --tls-cert and --tls-key beside it"],
    [
      ["--port=8888", "--api-port=8888"],
      "api-port: 8888 is --port too, expected another one, another --api-host, or none",
    ],
    [["--api-port=0", "--api-host=0.0.0.0"], 'api-host: "0.0.0.0" is not a loopback address'],
  ])("with %p alone", async (more, expected) => {
    const { status, stderr } = await run([compiledFile, ...more]);

    expect(status).toBe(2);
    expect(stderr).toContain(expected);
  });
});

/** Tries again when the connection ends in the middle: the few that are in the first server's queue when it stops are reset. */
async function pushSafely({ url }: ServerProcess, message: number, ca: string): Promise<void> {
  const options = { headers: { "Idempotency-Key": String(message) }, tls: { ca } };
  const push = async () => (await fetch(`${url}/pushtoall?message=${message}`, options)).text();
  await push().catch(push);
}

/** The data of the first so many messages of an event stream. */
async function readStream({ body }: Response, count: number): Promise<string[]> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const data = Array.from(text.matchAll(/^data: (\d+)\n\n/gm), ([, number]) => String(number));
    if (data.length >= count) return data;
  }
  throw new Error(`the stream ended after ${text.length} characters`);
}
