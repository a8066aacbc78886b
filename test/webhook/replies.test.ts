/**
 * What a back end answers to a message goes back to who sent it; nothing else does, and nothing that is too large.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { untilLogged } from "../support/calls.ts";
import { type Behaviour, openReceiver } from "../support/receiver.ts";
import { openRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const maxReply = 1000;

const replies: Readonly<Record<string, [Behaviour, string | undefined]>> = {
  "a body with 200": [{ status: 200, body: "grüß dich 👋" }, "grüß dich 👋"],
  "a body in chunks": [{ status: 200, body: "hello", isChunked: true }, "hello"],
  "a body as large as may be": [{ status: 200, body: "x".repeat(maxReply) }, "x".repeat(maxReply)],
  "a byte order mark, which is the body's own": [{ status: 200, body: "\uFEFFx" }, "\uFEFFx"],
  "an empty body with 200": [{ status: 200 }, undefined],
  "no body in chunks": [{ status: 200, isChunked: true }, undefined],
  "204": [{ status: 204 }, undefined],
  "a body with 201": [{ status: 201, body: "created" }, undefined],
};
for (const [what, [answer, expected]] of Object.entries(replies))
  test(`${what} is ${expected === undefined ? "no reply" : "the reply"}`, async () => {
    await using receiver = await openReceiver();
    receiver.answer = () => answer;
    await using rig = await openRig([receiver.url], { maxReply });

    rig.send("s", "hello");
    await rig.untilEmpty();

    expect(rig.replies).toEqual(expected === undefined ? [] : [{ session: "s", reply: expected }]);
    expect(rig.count("failed")).toBe(0);
    expect(rig.log).toEqual([]);
  });

const tooLarge = `it is longer than ${maxReply} bytes`;
const unusable: Readonly<Record<string, [Behaviour, string]>> = {
  "one byte too long": [{ status: 200, body: "x".repeat(maxReply + 1) }, tooLarge],
  "too long, in chunks": [{ status: 200, body: "x".repeat(100_000), isChunked: true }, tooLarge],
  "without end": ["endless", tooLarge],
  "that unpacks to a thousand times its size": [
    { status: 200, body: Bun.gzipSync(new Uint8Array(500_000)), headers: { "Content-Encoding": "gzip" } },
    "it is compressed",
  ],
  "that is not UTF-8": [{ status: 200, body: new Uint8Array([0x68, 0xff, 0x69]) }, "it is not UTF-8"],
};
for (const [what, [answer, reason]] of Object.entries(unusable))
  test(`a reply ${what}, is dropped, the event is taken, and the log says so once`, async () => {
    await using receiver = await openReceiver();
    receiver.answer = () => answer;
    await using rig = await openRig([receiver.url], { maxReply });

    for (let round = 0; round < 5; round++) rig.send(`s-${round}`, "hello");
    await rig.untilEmpty();

    expect([rig.replies, rig.count("taken"), rig.count("failed")]).toEqual([[], 5, 0]);
    const msg = "the answer of a webhook cannot be sent to its session";
    expect(await untilLogged(rig, (line) => line.msg === msg)).toMatchObject({ url: receiver.url, reason });
    expect(rig.log).toHaveLength(1);
  });

test("a reply that says it is short, and comes in chunks all the same, is read no further than the largest may be", async () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunks = `3e8\r\n${"x".repeat(1000)}\r\n`.repeat(100);
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.write(`${head}${chunks}0\r\n\r\n`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a port");
  await using rig = await openRig([`http://127.0.0.1:${address.port}`], { maxReply });

  rig.send("s", "hello");
  await rig.untilEmpty();

  expect(rig.replies).toEqual([]);
  const line = await untilLogged(rig, ({ msg }) => msg.startsWith("the answer of a webhook"));
  expect(line["reason"]).toBe(tooLarge);
  server.close();
});

test("only a message has a reply", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => ({ status: 200, body: "hello" });
  await using rig = await openRig([receiver.url]);

  rig.events.record("session.opened", { session: "s" });
  rig.events.record("user.online", { userid: "1" });
  rig.events.record("message.unclaimed", { id: "x-1", userid: "1" });
  await rig.untilEmpty();

  expect([rig.replies, rig.count("taken")]).toEqual([[], 3]);
});

test("a body without end that nobody wants is not waited for", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => "endless";
  await using rig = await openRig([receiver.url], { timeoutMs: 60_000 });

  for (let user = 0; user < 100; user++) rig.events.record("user.online", { userid: String(user) });
  await rig.untilEmpty();

  expect(rig.count("taken")).toBe(100);
});

test("connections are used again whatever is answered, and none is left behind", async () => {
  await using receiver = await openReceiver();
  const answers: Behaviour[] = [
    { status: 204 },
    { status: 200, body: "a reply" },
    { status: 200, body: "in chunks", isChunked: true },
    { status: 201, body: "nobody wants it" },
  ];
  receiver.answer = () => answers[receiver.letters.length % answers.length] ?? "reset";
  await using rig = await openRig([receiver.url]);

  for (let message = 0; message < 2000; message++) rig.send(`s-${message % 100}`, String(message));
  await rig.untilEmpty();

  expect(rig.count("taken")).toBe(2000);
  expect(receiver.connections).toBeLessThanOrEqual(32);
});
