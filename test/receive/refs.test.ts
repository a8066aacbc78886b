/**
 * What a client of push.v1 sends with a ref is answered, so that it knows what became of it.
 */
import { expect, test } from "bun:test";
import { connect, type TestClient } from "../support/client.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

async function nextFrame(client: TestClient): Promise<unknown> {
  return JSON.parse(String(await client.next()));
}

/** Connects, and leaves the welcome behind. */
async function connectWelcomed(server: TestServer): Promise<TestClient> {
  const client = await connect(server, "userid=1", ["push.v1"]);
  await nextFrame(client);
  return client;
}

test("of type message with a ref is answered with a receipt that has it, and one without it with nothing", async () => {
  await using server = await startServer();
  await using client = await connectWelcomed(server);

  client.send('{"type":"message","data":"first"}');
  client.send('{"type":"message","data":"second","ref":"7"}');

  expect(await nextFrame(client)).toEqual({ type: "receipt", ref: "7" });
  expect((await readMetrics(server)).get("server_push_received_total")).toBe(2);
});

test.each<[what: string, frame: object]>([
  ["a message without data", { type: "message" }],
  ["a message with half of a surrogate pair", { type: "message", data: "\ud800" }],
  ["a push without data", { type: "push", userid: "1" }],
  ["a push with a wrong ttl", { type: "push", userid: "1", data: "m", ttl: "60" }],
  ["an ack without an id", { type: "ack" }],
  ["a token frame without a token", { type: "token" }],
  ["a frame of a type that there is not", { type: "nonsense" }],
  ["a frame without a type", {}],
])("%s is answered with an error that has its ref", async (_, frame) => {
  await using server = await startServer();
  await using client = await connectWelcomed(server);

  client.send(JSON.stringify({ ...frame, ref: "7" }));

  expect(await nextFrame(client)).toEqual({
    type: "error",
    code: "malformed_frame",
    detail: expect.any(String),
    ref: "7",
  });
  expect((await readMetrics(server)).get("server_push_received_total")).toBe(0);
});

test.each(["7", "null", "{}", `"${"x".repeat(65)}"`])(
  "of type message with %s as its ref is answered with what is wrong",
  async (ref) => {
    await using server = await startServer();
    await using client = await connectWelcomed(server);

    client.send(`{"type":"message","data":"first","ref":${ref}}`);

    const error = await nextFrame(client);
    expect(error).toMatchObject({ type: "error", code: "malformed_frame" });
    expect(error).not.toHaveProperty("ref");
    expect((await readMetrics(server)).get("server_push_received_total")).toBe(0);
  },
);
