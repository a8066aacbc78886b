/**
 * Why an event was not taken, as the log says it: in words, and without what a URL may have of a secret.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { untilLogged } from "../support/calls.ts";
import { makeCertificate } from "../support/certificates.ts";
import { openReceiver } from "../support/receiver.ts";
import { openRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

/** What the log says of a webhook at this address; the URL has secrets in it. */
async function findReason(origin: string, path = "/hook"): Promise<unknown> {
  const url = `${origin.replace("://", "://user:pass-secret@")}${path}?key=query-secret`;
  await using rig = await openRig([url], { timeoutMs: 300 });
  rig.send("s", "hello");
  const line = await untilLogged(rig, ({ msg }) => msg === "a webhook did not take an event");
  expect(JSON.stringify(rig.log)).not.toContain("secret");
  expect(line["url"]).toBe(`${origin}${path}`);
  return line["reason"];
}

test("nothing listens", async () => {
  const receiver = await openReceiver();
  await receiver.end();

  expect(await findReason(`http://127.0.0.1:${receiver.port}`)).toBe("nothing listens there (ECONNREFUSED)");
});

test("a status, also one that points elsewhere", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => ({ status: 307, headers: { Location: "http://127.0.0.1:1/secret" } });

  expect(await findReason(`http://127.0.0.1:${receiver.port}`)).toBe("it answered 307");
});

test("no answer", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => "hang";

  expect(await findReason(`http://127.0.0.1:${receiver.port}`)).toBe("no answer within 300 ms");
});

test("a connection that is cut", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => "reset";

  expect(await findReason(`http://127.0.0.1:${receiver.port}`)).toBe(
    "it closed the connection without an answer (ECONNRESET)",
  );
});

test("something that is no HTTP server", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.end("secret\r\n\r\n"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a port");

  const reason = await findReason(`http://127.0.0.1:${address.port}`);

  expect(reason).toBe("it closed the connection without an answer (ECONNRESET)");
  server.close();
});

test("a certificate that is signed by itself, or for another name", async () => {
  const { cert, key } = await makeCertificate("localhost");
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { cert, key },
    fetch: () => new Response(),
  });

  const reason = await findReason(`https://127.0.0.1:${server.port}`);

  expect(reason).toBe("its certificate is signed by itself (DEPTH_ZERO_SELF_SIGNED_CERT)");
  await server.stop(true);
});

test("a server without TLS", async () => {
  await using receiver = await openReceiver();

  expect(await findReason(`https://127.0.0.1:${receiver.port}`)).toBe("it does not speak TLS (EPROTO)");
});

test("a name that nobody knows", async () => {
  expect(await findReason("http://no-such-host.invalid")).toMatch(
    /^its host name (is not known|cannot be looked up) \(E/,
  );
});

test("user and password of the URL are sent as Basic authentication", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url.replace("://", "://us%40er:pa%3Ass@")]);

  rig.send("s", "hello");
  await rig.untilEmpty();

  expect(receiver.letters[0]?.headers.authorization).toBe(`Basic ${btoa("us@er:pa:ss")}`);
});
