/**
 * Receiving over a plain WebSocket: a message is one frame, exactly its body, and what a client sends is taken.
 */
import { expect, test } from "bun:test";
import { push, pushToAll, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession, toFrame } from "../support/frames.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

test("a text is one unmasked text frame, exactly its bytes", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server, "userid=1");

  await push(server, "userid=1", "héllo");

  expect(await session.frame()).toEqual({ opcode: opcodes.text, payload: Buffer.from("héllo") });
});

test("bytes are one binary frame, exactly these bytes", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server, "userid=1");

  await fetch(`${server.url}/push?userid=1`, {
    method: "POST",
    body: Uint8Array.of(0, 255, 128),
    headers: { "Content-Type": "application/octet-stream" },
  });

  expect(await session.frame()).toEqual({ opcode: opcodes.binary, payload: Buffer.of(0, 255, 128) });
});

test("a message is delivered once to a session that two of its topics could bring it to", async () => {
  await using server = await startServer();
  await using session = await connect(server, "userid=1&compid=1");

  await push(server, "userid=1&compid=1", "once");
  await pushToAll(server, "end");

  expect([await session.next(), await session.next()]).toEqual(["once", "end"]);
});

test("nothing comes before the first message: a client starts now", async () => {
  await using server = await startServer();
  await push(server, "userid=1", "before");

  await using session = await connect(server, "userid=1");
  await push(server, "userid=1", "after");

  expect(await session.next()).toBe("after");
});

test("an event is not part of the frame", async () => {
  await using server = await startServer();
  await using session = await connect(server, "userid=1");

  await push(server, "userid=1&event=order", "hello");

  expect(await session.next()).toBe("hello");
});

test("a ping from a client is answered with its own payload", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server);

  await session.raw.write(toFrame(opcodes.ping, "are you there"));

  expect(await session.frame()).toEqual({ opcode: opcodes.pong, payload: Buffer.from("are you there") });
});

test("messages from clients are counted, text and bytes alike", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");

  client.send("héllo");
  client.send(Uint8Array.of(1, 2, 3));

  await untilReceived(server, 2);
});

test("a message from a client reaches no other session, and not its own", async () => {
  await using server = await startServer();
  await using sender = await connect(server, "userid=1");
  await using other = await connect(server, "userid=1");

  sender.send("not for you");
  await untilReceived(server, 1);
  await pushToAll(server, "end");

  expect([await sender.next(), await other.next()]).toEqual(["end", "end"]);
});

test("a message in fragments is one message, of the size of all of them", async () => {
  await using server = await startServer();
  await using session = await openRawSession(server, "userid=1");

  await session.raw.write(toFrame(opcodes.text, "hél", { fin: false }));
  await session.raw.write(toFrame(opcodes.ping));
  await session.raw.write(toFrame(opcodes.continuation, "lo"));

  const line = await untilLogged(server, ({ msg }) => msg === "message received");
  expect(line["bytes"]).toBe(6);
});

test.each([
  ["text", "a-secret-of-6-words", 19],
  ["bytes", new TextEncoder().encode("a-secret-of-6-words"), 19],
])("a message of %s from a client is in the log with who sent it and its size", async (_, message, size) => {
  await using server = await startServer();
  await using client = await connect(server, "userid=7&compid=inbox");

  client.send(message);

  const line = await untilLogged(server, ({ msg }) => msg === "message received");
  expect(line).toMatchObject({
    userid: "7",
    compid: "inbox",
    transport: "websocket",
    bytes: size,
    id: expect.stringMatching(/^[\w-]{22}$/),
  });
});

test("what a client sends is in the log in one line of level debug alone", async () => {
  await using server = await startServer({ "log-level": "debug" });
  await using client = await connect(server, "userid=7");

  client.send("a-secret-of-6-words");
  await untilLogged(server, ({ msg }) => msg === "message content");

  const telling = server.log.filter((line) => JSON.stringify(line).includes("a-secret"));
  expect(telling).toEqual([
    expect.objectContaining({ level: "debug", msg: "message content", content: "a-secret-of-6-words" }),
  ]);
});

test("what a client sends is in no log of level info", async () => {
  await using server = await startServer({ "log-level": "info" });
  await using client = await connect(server, "userid=7");

  client.send("a-secret-of-6-words");
  await untilReceived(server, 1);
  await server.drain();

  expect(JSON.stringify(server.log)).not.toContain("a-secret");
});

test("a message of exactly --max-message from a client is taken", async () => {
  await using server = await startServer({ "max-message": "1KiB" });
  await using client = await connect(server, "userid=1");

  client.send("x".repeat(1024));

  await untilReceived(server, 1);
});

test("a message over --max-message from a client ends its session with 1009", async () => {
  await using server = await startServer({ "max-message": "1KiB" });
  await using client = await connect(server, "userid=1");

  client.send("x".repeat(1025));

  expect((await client.closed).code).toBe(1009);
  expect((await readMetrics(server)).get("server_push_received_total")).toBe(0);
});

test("fragments that are together over --max-message end the session with 1009", async () => {
  await using server = await startServer({ "max-message": "1KiB" });
  await using session = await openRawSession(server, "userid=1");

  await session.raw.write(toFrame(opcodes.text, "x".repeat(1000), { fin: false }));
  await session.raw.write(toFrame(opcodes.continuation, "x".repeat(25)));

  expect((await session.close()).code).toBe(1009);
});

async function untilReceived(server: TestServer, count: number): Promise<void> {
  await eventually(
    `${count} messages from clients`,
    async () => (await readMetrics(server)).get("server_push_received_total") === count,
  );
}
