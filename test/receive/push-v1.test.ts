/**
 * The subprotocol `push.v1`: its negotiation and every frame of it, as they are on the wire.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, toReceipt, untilLogged, untilSessions } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession, toFrame } from "../support/frames.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

const speakingPushV1 = ["Sec-WebSocket-Protocol: push.v1"];

type Json = Readonly<Record<string, unknown>>;

async function nextFrame(client: TestClient): Promise<Json> {
  const text = await client.next();
  if (typeof text !== "string") throw new Error("a frame is binary");
  return JSON.parse(text);
}

/** The next frame of this type; others are passed over. */
async function nextOf(client: TestClient, type: string): Promise<Json> {
  for (;;) {
    const frame = await nextFrame(client);
    if (frame["type"] === type) return frame;
  }
}

/** Connects, and leaves the welcome behind. */
async function connectWelcomed(server: TestServer, query: string): Promise<TestClient> {
  const client = await connect(server, query, ["push.v1"]);
  await nextOf(client, "welcome");
  return client;
}

describe("the negotiation", () => {
  test.each([
    ["push.v1 alone", ["push.v1"]],
    ["push.v1 first", ["push.v1", "bearer.abc"]],
    ["push.v1 last", ["chat", "bearer.abc", "push.v1"]],
    ["push.v1 without spaces", ["chat,push.v1"]],
    ["push.v1 in a header of its own", ["chat", "push.v1"]],
  ])("with %s offered chooses it", async (what, offered) => {
    await using server = await startServer();
    const headers = what.endsWith("its own")
      ? offered.map((name) => `Sec-WebSocket-Protocol: ${name}`)
      : [`Sec-WebSocket-Protocol: ${offered.join(", ")}`];

    await using session = await openRawSession(server, "userid=1", headers);

    expect(session.handshake.headers.get("sec-websocket-protocol")).toBe("push.v1");
    expect(JSON.parse((await session.frame()).payload.toString()).type).toBe("welcome");
  });

  test.each(["chat", "bearer.abc", "PUSH.V1", "push.v10", "push.v2, xpush.v1", "push"])(
    "with %s offered chooses none, and frames are plain",
    async (offered) => {
      await using server = await startServer();

      await using session = await openRawSession(server, "userid=1", [`Sec-WebSocket-Protocol: ${offered}`]);
      await push(server, "userid=1", "hello");

      expect(session.handshake.headers.has("sec-websocket-protocol")).toBe(false);
      expect((await session.frame()).payload.toString()).toBe("hello");
    },
  );

  test("is what a WebSocket of a page can read afterwards", async () => {
    await using server = await startServer();

    await using client = await connect(server, "", ["bearer.abc", "push.v1"]);

    expect(client.socket.protocol).toBe("push.v1");
  });
});

describe("the welcome", () => {
  test("is the first frame, with the session, where it begins, and how often something comes", async () => {
    await using server = await startServer({ ping: "2500ms" });
    const { id } = await push(server, "userid=1", "before");
    await using session = await openRawSession(server, "userid=1", speakingPushV1);

    const { opcode, payload } = await session.frame();

    const welcome = JSON.parse(payload.toString());
    const opened = await untilLogged(server, ({ msg }) => msg === "session opened");
    expect(opcode).toBe(opcodes.text);
    expect(Object.keys(welcome)).toEqual(["type", "session", "id", "idle"]);
    expect(welcome).toEqual({ type: "welcome", session: opened["id"], id, idle: 2.5 });
  });

  test("comes before all that is replayed, and says from where", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "had");
    const missed = await push(server, "userid=1", "missed");

    await using client = await connect(server, `userid=1&since=${id}`, ["push.v1"]);

    expect(await nextFrame(client)).toMatchObject({ type: "welcome", id, resumed: true });
    expect(await nextFrame(client)).toEqual({ type: "message", id: missed.id, data: "missed" });
  });

  test("says that nothing could be proven, and from where it starts then", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "missed");

    await using client = await connect(server, "userid=1&since=00000000-7", ["push.v1"]);

    expect(await nextFrame(client)).toMatchObject({ type: "welcome", id, resumed: false });
  });

  test("says with since=all where that begins", async () => {
    await using server = await startServer({ "retain-count": "1" });
    const { id } = await push(server, "userid=1", "forgotten");
    await push(server, "userid=1", "kept");

    await using client = await connect(server, "userid=1&since=all", ["push.v1"]);

    const welcome = await nextFrame(client);
    expect([welcome["id"], "resumed" in welcome]).toEqual([id, false]);
    expect(await nextFrame(client)).toMatchObject({ data: "kept" });
  });
});

describe.each(["live", "replayed"])("a message that is %s", (when) => {
  /** The frame of what this pushes. */
  async function frameOf(
    server: TestServer,
    act: () => Promise<Response>,
  ): Promise<[id: string, frame: string]> {
    const begin = await pushToAll(server, "begin");
    const query = `userid=1&since=${begin.id}`;
    const early = when === "live" ? await openRawSession(server, query, speakingPushV1) : undefined;
    const { id } = await toReceipt(await act());
    await using session = early ?? (await openRawSession(server, query, speakingPushV1));
    await session.frame();
    return [id, (await session.frame()).payload.toString()];
  }

  test("is one frame with its id and its text", async () => {
    await using server = await startServer();

    const [id, frame] = await frameOf(server, () =>
      fetch(`${server.url}/push?userid=1`, { method: "POST", body: 'he said "é"\n\u0000😀' }),
    );

    expect(frame).toBe(`{"type":"message","id":"${id}","data":"he said \\"é\\"\\n\\u0000😀"}`);
  });

  test("has its event between the two", async () => {
    await using server = await startServer();

    const [id, frame] = await frameOf(server, () =>
      fetch(`${server.url}/push?userid=1&event=order&message=17`),
    );

    expect(frame).toBe(`{"type":"message","id":"${id}","event":"order","data":"17"}`);
  });

  test("has base64 with padding in place of data when it is bytes", async () => {
    await using server = await startServer();

    const [id, frame] = await frameOf(server, () =>
      fetch(`${server.url}/push?userid=1`, {
        method: "POST",
        body: Uint8Array.of(0xfb, 0xff, 0xbe, 0),
        headers: { "Content-Type": "application/octet-stream" },
      }),
    );

    expect(frame).toBe(`{"type":"message","id":"${id}","base64":"+/++AA=="}`);
  });

  test("tells nothing of its key and its ttl", async () => {
    await using server = await startServer();

    const [id, frame] = await frameOf(server, () =>
      fetch(`${server.url}/push?userid=1&key=k&ttl=60&message=m`),
    );

    expect(frame).toBe(`{"type":"message","id":"${id}","data":"m"}`);
  });
});

test("a push counts the sessions of both formats, and each gets it once", async () => {
  await using server = await startServer();
  await using plain = await connect(server, "userid=1&compid=a");
  await using json = await connectWelcomed(server, "userid=1&compid=a");

  const { id, sessions } = await push(server, "userid=1", "hello");
  const end = await pushToAll(server, "end");

  expect([sessions, end.sessions]).toEqual([2, 2]);
  expect([await plain.next(), await plain.next()]).toEqual(["hello", "end"]);
  expect(await nextFrame(json)).toEqual({ type: "message", id, data: "hello" });
  expect(await nextFrame(json)).toEqual({ type: "message", id: end.id, data: "end" });
});

test("the end of one session takes nothing from another", async () => {
  await using server = await startServer();
  await using stays = await connectWelcomed(server, "userid=1");
  const ends = await connectWelcomed(server, "userid=1");
  await ends[Symbol.asyncDispose]();
  await untilSessions(server, 1);

  await push(server, "userid=1", "hello");

  expect(await nextFrame(stays)).toMatchObject({ data: "hello" });
});

describe("the position", () => {
  test("comes to a session at rest, and is where the journal has got to without it", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using client = await connectWelcomed(server, "userid=1");
    const { id } = await push(server, "userid=2", "not for it");

    await eventually(
      "the position of what was not for it",
      async () => (await nextOf(client, "position"))["id"] === id,
    );
  });

  test("is a frame with its id and nothing else", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using session = await openRawSession(server, "userid=1", speakingPushV1);
    const welcome = JSON.parse((await session.frame()).payload.toString());

    const { payload } = await session.frame();

    expect(payload.toString()).toBe(`{"type":"position","id":"${welcome.id}"}`);
  });

  test("never comes before a message up to it", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using client = await connectWelcomed(server, "userid=1");
    const offsets: number[] = [];
    const pushes: Promise<unknown>[] = [];
    let positions = 0;

    while (positions < 3) {
      pushes.push(push(server, "userid=1", "one more"));
      const { type, id } = await nextFrame(client);
      if (type === "position") positions++;
      offsets.push(Number(String(id).slice(9)));
    }

    await Promise.all(pushes);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  });

  test("is enough to resume from, also when retention has passed the last message that was for it", async () => {
    await using server = await startServer({ ping: "500ms", "retain-count": "2" });
    await using client = await connectWelcomed(server, "userid=1");
    await push(server, "userid=1", "the last one");
    let newest = "";
    for (let index = 0; index < 10; index++) newest = (await push(server, "userid=2", "not for it")).id;
    await eventually("the position", async () => (await nextOf(client, "position"))["id"] === newest);

    await using again = await connect(server, `userid=1&since=${newest}`, ["push.v1"]);

    expect(await nextFrame(again)).toMatchObject({ type: "welcome", resumed: true });
  });

  test("is not sent to a plain session", async () => {
    await using server = await startServer({ ping: "500ms" });
    await using plain = await connect(server, "userid=1");
    await using json = await connectWelcomed(server, "userid=1");

    await nextOf(json, "position");
    await nextOf(json, "position");

    expect(plain.waiting).toEqual([]);
  });
});

describe("a frame of the client", () => {
  test("of type message is taken, with the size of its data", async () => {
    await using server = await startServer();
    await using client = await connectWelcomed(server, "userid=1");

    client.send('{"type":"message","data":"héllo"}');

    expect(await untilLogged(server, ({ msg }) => msg === "message received")).toMatchObject({
      userid: "1",
      bytes: 6,
    });
    expect(await untilLogged(server, ({ msg }) => msg === "message content")).toMatchObject({
      content: "héllo",
    });
  });

  test.each([
    ["an ack", '{"type":"ack","id":"k3f9a0zq-1043"}'],
    ["an ack of an id that is none", '{"type":"ack","id":""}'],
  ])("that is %s is taken without an answer, and is no message", async (_, frame) => {
    await using server = await startServer();
    await using client = await connectWelcomed(server, "userid=1");

    client.send(frame);
    client.send('{"type":"message","data":"after it"}');
    await untilLogged(server, ({ msg }) => msg === "message received");
    await push(server, "userid=1", "end");

    expect(await nextFrame(client)).toMatchObject({ type: "message", data: "end" });
    expect((await readMetrics(server)).get("server_push_received_total")).toBe(1);
  });

  test("with more than is known is taken all the same", async () => {
    await using server = await startServer();
    await using client = await connectWelcomed(server, "userid=1");

    client.send('{"data":"hello","more":1,"type":"message"}');

    expect(await untilLogged(server, ({ msg }) => msg === "message content")).toMatchObject({
      content: "hello",
    });
  });

  const malformed: readonly (readonly [
    what: string,
    frame: string | Uint8Array<ArrayBuffer>,
    says: string,
  ])[] = [
    ["is no JSON", "hello", "is not JSON"],
    ["is empty", "", "is not JSON"],
    ["is half of JSON", '{"type":"message"', "is not JSON"],
    [
      "is binary",
      new TextEncoder().encode('{"type":"message","data":"x"}'),
      "is binary, expected JSON as text",
    ],
    ["is null", "null", "has no type"],
    ["is a string", '"message"', "has no type"],
    ["is an array", '[{"type":"message"}]', "has no type"],
    ["is an empty object", "{}", "has no type, expected an object with type message, ack, token or push"],
    [
      "is of an unknown type",
      '{"type":"subscribe"}',
      'has the type "subscribe", expected message, ack, token or push',
    ],
    ["is of a type that is no text", '{"type":7}', "has the type 7, expected message"],
    ["is of a type that cannot be made one", '{"type":{"toString":1}}', "has the type an object"],
    ["is of a type that is deep", `{"type":${"[".repeat(9e3)}${"]".repeat(9e3)}}`, "has the type an array"],
    ["is of a type from every object", '{"type":"__proto__"}', 'has the type "__proto__"'],
    ["is of a type that only the server has", '{"type":"welcome"}', 'has the type "welcome"'],
    ["is a message without data", '{"type":"message"}', "of type message has no data, expected a string"],
    ["is a message of a number", '{"type":"message","data":1}', "of type message has no data"],
    ["is an ack without an id", '{"type":"ack"}', "of type ack has no id, expected a string"],
    ["is an ack of a number", '{"type":"ack","id":1043}', "of type ack has no id"],
  ];

  test.each(malformed)(
    "that %s is answered with what is wrong, and the session goes on",
    async (_, frame, says) => {
      await using server = await startServer();
      await using client = await connectWelcomed(server, "userid=1");

      client.send(frame);
      const error = await nextFrame(client);
      const { sessions } = await push(server, "userid=1", "still here");

      expect(error).toEqual({
        type: "error",
        code: "malformed_frame",
        detail: expect.stringContaining(`the frame ${says}`),
      });
      expect([sessions, (await nextFrame(client))["data"]]).toEqual([1, "still here"]);
      expect((await readMetrics(server)).get("server_push_received_total")).toBe(0);
    },
  );

  test("is answered with its own text made harmless and short", async () => {
    await using server = await startServer();
    await using client = await connectWelcomed(server, "userid=1");

    client.send(JSON.stringify({ type: `\u001b[31m${"x".repeat(10_000)}` }));

    const { detail } = await nextFrame(client);
    expect(detail).toMatch(/^[\x20-\x7e…]{1,200}$/);
  });

  test("of many that are wrong, all are answered, in their order", async () => {
    await using server = await startServer();
    await using session = await openRawSession(server, "userid=1", speakingPushV1);
    await session.frame();
    const types = Array.from({ length: 100 }, (_, index) => `t${index}`);

    await session.raw.write(
      Buffer.concat(types.map((type) => toFrame(opcodes.text, JSON.stringify({ type })))),
    );

    for (const type of types)
      expect(JSON.parse((await session.frame()).payload.toString()).detail).toContain(`"${type}"`);
  });
});
