/**
 * The handshake of `/ws` on the wire: what opens a session, and what is said when it does not.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { push } from "../support/calls.ts";
import { opcodes, openRawSession, toHandshake } from "../support/frames.ts";
import { exchange, openRaw } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

test("a handshake is answered with the accept key of RFC 6455's own example", async () => {
  await using session = await openRawSession(server, "userid=1");

  expect(session.handshake.status).toBe(101);
  expect(session.handshake.headers.get("sec-websocket-accept")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
});

test.each(["websocket", "WebSocket", "WEBSOCKET"])(
  "the header Upgrade: %s opens a session",
  async (upgrade) => {
    const handshake = toHandshake("userid=1").replace("Upgrade: websocket", `Upgrade: ${upgrade}`);

    const { status } = await exchange(server, handshake);

    expect(status).toBe(101);
  },
);

test("Connection: keep-alive, Upgrade opens a session, as one browser writes it", async () => {
  const handshake = toHandshake().replace("Connection: Upgrade", "Connection: keep-alive, Upgrade");

  const { status } = await exchange(server, handshake);

  expect(status).toBe(101);
});

test.each(["chat", "chat, superchat", "push.v2", "bearer.abc"])(
  "the subprotocol %s is not accepted, as the server does not speak it",
  async (offered) => {
    const { status, headers } = await exchange(
      server,
      toHandshake("", [`Sec-WebSocket-Protocol: ${offered}`]),
    );

    expect(status).toBe(101);
    expect(headers.has("sec-websocket-protocol")).toBe(false);
  },
);

test("compression is offered by the client and not accepted", async () => {
  const { status, headers } = await exchange(
    server,
    toHandshake("", ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]),
  );

  expect(status).toBe(101);
  expect(headers.has("sec-websocket-extensions")).toBe(false);
});

test("a session that asked for subprotocols and compression gets plain frames", async () => {
  await using raw = await openRaw(server);
  await raw.write(
    toHandshake("userid=plain", [
      "Sec-WebSocket-Protocol: chat",
      "Sec-WebSocket-Extensions: permessage-deflate",
    ]),
  );
  await raw.answer();

  await push(server, "userid=plain", "hello");

  const frame = await raw.take((received) =>
    received.length < 7 ? undefined : { value: received.subarray(0, 7), length: 7 },
  );
  expect(frame).toEqual(Buffer.from([0x80 | opcodes.text, 5, ...Buffer.from("hello")]));
});

test("a plain request for a session is answered with 426 and the protocol to use", async () => {
  const answer = await fetch(`${server.url}/ws?userid=1`);

  expect(answer.status).toBe(426);
  expect(answer.headers.get("upgrade")).toBe("websocket");
});

test.each([
  ["no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""],
  ["a key that is too short", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="],
  ["a key that is not base64", "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!!!"],
  ["another protocol", "Upgrade: websocket", "Upgrade: h2c"],
])("a handshake with %s is refused with a problem", async (_, right, wrong) => {
  const { status, headers, body } = await exchange(server, toHandshake("userid=1").replace(right, wrong));

  expect(status).toBe(426);
  expect(headers.get("content-type")).toBe("application/problem+json");
  expect(JSON.parse(body).code).toBe("upgrade_required");
});

// Bun itself answers this, before the request is the server's: the answer has no body.
test.each(["Sec-WebSocket-Version: 12", "X-Version: none"])(
  "a handshake with %s in place of version 13 is refused with 426 and the version that is right",
  async (version) => {
    const { status, headers } = await exchange(
      server,
      toHandshake("userid=1").replace("Sec-WebSocket-Version: 13", version),
    );

    expect(status).toBe(426);
    expect(headers.get("sec-websocket-version")).toBe("13");
  },
);

test("a handshake with a wrong parameter is refused as the same request without one is", async () => {
  const plain = await fetch(`${server.url}/ws?userid=1&userid=2`);
  const { status, body } = await exchange(server, toHandshake("userid=1&userid=2"));

  expect(status).toBe(400);
  expect(body).toBe(await plain.text());
});

test("a handshake by POST is refused with 405", async () => {
  const { status } = await exchange(server, toHandshake("userid=1").replace("GET", "POST"));

  expect(status).toBe(405);
});

test("a handshake where there is no session to open is answered as without one", async () => {
  const { status } = await exchange(server, toHandshake().replace("/ws", "/healthz"));

  expect(status).toBe(200);
});
