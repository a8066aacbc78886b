/**
 * What a back end that is called hears of clients, and what clients hear of it.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { push, untilLogged, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { type Letter, openReceiver, type Receiver } from "../support/receiver.ts";
import { type LogLine, readMetrics, startServer, type TestServer } from "../support/server.ts";
import { Webhook } from "standardwebhooks";

setDefaultTimeout(60_000);

const secrets = [24, 64].map((length) => new Uint8Array(length).fill(length));
const toText = (secret: Uint8Array) => `whsec_${secret.toBase64()}`;

async function start(
  receiver: Receiver,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  return await startServer({ webhook: receiver.url, ...settings });
}

const ofType = (type: string) => (letter: Letter) => letter.type === type;
const frame = (data: string) => JSON.stringify({ type: "message", data });

async function connectPushV1(server: TestServer, query = "") {
  const client = await connect(server, query, ["push.v1"]);
  const welcome = JSON.parse(String(await client.next()));
  return { client, session: String(welcome.session) };
}

describe("a message from a client", () => {
  test("reaches the back end with who sent it, and verifies with each secret", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver, { "webhook-secret": secrets.map(toText).join(",") });
    const { client, session } = await connectPushV1(server, "userid=1&compid=inbox");

    client.send(frame("grüß dich"));

    const { data, text, headers } = await receiver.untilArrived(ofType("message.received"));
    expect(data).toEqual({ session, userid: "1", compid: "inbox", message: "grüß dich" });
    const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    for (const secret of secrets)
      expect(new Webhook(toText(secret)).verify(text, given)).toMatchObject({ type: "message.received" });
    await client[Symbol.asyncDispose]();
  });

  test("that is binary arrives as base64", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver);
    await using client = await connect(server, "userid=1");

    client.send(new Uint8Array([0, 255, 10]));

    const { data } = await receiver.untilArrived(ofType("message.received"));
    expect(data).toMatchObject({ userid: "1", base64: "AP8K" });
  });

  test("arrives in order, from many sessions at once, whatever the back end does", async () => {
    await using receiver = await openReceiver();
    receiver.answer = () => (Math.random() < 0.02 ? { status: 500 } : { status: 204 });
    await using server = await start(receiver);
    const clients = await Promise.all(Array.from({ length: 50 }, () => connectPushV1(server)));

    for (let message = 0; message < 20; message++)
      for (const { client } of clients) client.send(frame(String(message)));
    await eventually("all of them", () => Array.from(receiver.messages.values()).flat().length === 1000);

    const all = Array.from({ length: 20 }, (_, message) => String(message));
    for (const { session } of clients) expect(receiver.messages.get(session)).toEqual(all);
    for (const { client } of clients) client.socket.close();
  });
});

describe("an answer to a message", () => {
  test("is a frame of a plain session, exactly", async () => {
    await using receiver = await openReceiver();
    receiver.answer = ({ data }) => ({ status: 200, body: `re: ${data["message"]}` });
    await using server = await start(receiver, { "webhook-events": "message.received" });
    await using client = await connect(server);

    client.send("hello");

    expect(await client.next()).toBe("re: hello");
  });

  test("is a message without id of a push.v1 session", async () => {
    await using receiver = await openReceiver();
    receiver.answer = ({ data }) => ({ status: 200, body: `re: ${data["message"]}` });
    await using server = await start(receiver, { "webhook-events": "message.received" });
    const { client } = await connectPushV1(server);

    client.send(frame("hello"));

    expect(JSON.parse(String(await client.next()))).toEqual({ type: "message", data: "re: hello" });
    client.socket.close();
  });

  test("without content is none", async () => {
    await using receiver = await openReceiver();
    receiver.answer = ({ data }) =>
      data["message"] === "last"
        ? { status: 200, body: "last" }
        : { status: data["message"] === "a" ? 204 : 200 };
    await using server = await start(receiver, { "webhook-events": "message.received" });
    await using client = await connect(server);

    for (const message of ["a", "b", "last"]) client.send(message);

    expect(await client.next()).toBe("last");
  });

  test("that is larger than a message is dropped, and the log says so", async () => {
    await using receiver = await openReceiver();
    receiver.answer = ({ data }) => ({
      status: 200,
      body: String(data["message"]) === "a" ? "x".repeat(1025) : "fits",
    });
    await using server = await start(receiver, {
      "max-message": "1KiB",
      "webhook-events": "message.received",
    });
    await using client = await connect(server);

    for (const message of ["a", "b"]) client.send(message);

    expect(await client.next()).toBe("fits");
    await untilLogged(
      server,
      ({ msg, reason }) => /answer of a webhook/.test(msg) && /1024/.test(String(reason)),
    );
  });

  test("to a session that has gone meanwhile goes nowhere", async () => {
    await using receiver = await openReceiver();
    const gone = Promise.withResolvers<void>();
    receiver.answer = async ({ data }) => {
      if (data["message"] === "first") await gone.promise;
      return { status: 200, body: `re: ${data["message"]}` };
    };
    await using server = await start(receiver, { "webhook-events": "message.received" });
    const first = await connect(server);
    first.send("first");
    await receiver.untilArrived(() => true);
    await first[Symbol.asyncDispose]();
    await untilSessions(server, 0);
    gone.resolve();
    await receiver.untilTaken(1);

    await using second = await connect(server);
    second.send("second");

    expect(await second.next()).toBe("re: second");
    expect(server.log.filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("the back end is told", () => {
  test("when a session opens and closes, why, and with which code", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver);
    const { client, session } = await connectPushV1(server, "userid=1&compid=inbox");
    client.socket.close(4711);

    const closed = await receiver.untilArrived(ofType("session.closed"));
    const opened = await receiver.untilArrived(ofType("session.opened"));

    const whose = { session, userid: "1", compid: "inbox", transport: "websocket" };
    expect(opened.data).toEqual({ ...whose, address: "loopback" });
    expect(closed.data).toEqual({ ...whose, reason: "closed", code: 4711 });
    expect(JSON.parse(opened.text).timestamp).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  test("when a user comes and goes, of whom a reload is neither", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver, { "webhook-events": "user.online,user.offline" });
    for (let reload = 0; reload < 3; reload++)
      await (await connect(server, "userid=1"))[Symbol.asyncDispose]();
    await untilSessions(server, 0);
    const left = performance.now();

    const { data, at } = await receiver.untilArrived(ofType("user.offline"));

    expect(data).toEqual({ userid: "1" });
    expect(at - left).toBeGreaterThan(2500);
    expect(receiver.letters.map(({ type }) => type)).toEqual(["user.online", "user.offline"]);
  });

  test("when a user comes and goes, of whom a restart is neither", async () => {
    await using folder = await makeFolder();
    const settings = { data: folder.file("messages.db"), "webhook-events": "user.online,user.offline" };
    await using receiver = await openReceiver();
    {
      await using before = await start(receiver, settings);
      await using _ = await connect(before, "userid=1");
      await receiver.untilArrived(ofType("user.online"));
      await before.drain();
    }

    await using after = await start(receiver, settings);
    const presence = await (await fetch(`${after.url}/presence?userid=1`)).json();
    await using _ = await connect(after, "userid=1");
    await using other = await connect(after, "userid=2");

    await receiver.untilArrived(({ data }) => data["userid"] === "2");
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
    expect(presence).toMatchObject({ online: true, sessions: 0 });
    expect(receiver.letters.map(({ type, data }) => [type, data["userid"]])).toEqual([
      ["user.online", "1"],
      ["user.online", "2"],
    ]);
  });

  test("for whom a message found nobody, never what it says", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver);

    const { id } = await push(server, "userid=1&compid=inbox&event=order", "secret content");

    const letter = await receiver.untilArrived(ofType("message.unclaimed"));
    expect(letter.data).toEqual({ id, userid: "1", compid: "inbox", event: "order" });
    expect(letter.text).not.toContain("secret");
  });

  test("not of a message whose reader is between two polls, or still reads what it has missed", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver, { "webhook-events": "message.unclaimed" });
    await fetch(`${server.url}/poll?userid=1&wait=0`);
    const client = await connect(server, "userid=2&compid=inbox");
    await client[Symbol.asyncDispose]();
    await untilSessions(server, 0);

    for (const query of ["userid=1", "userid=2&compid=inbox"]) await push(server, query, "on the way");
    const { id } = await push(server, "userid=3", "nobody");

    expect((await receiver.untilArrived(ofType("message.unclaimed"))).data).toEqual({ id, userid: "3" });
  });

  test("nothing of the types that it did not ask for", async () => {
    await using receiver = await openReceiver();
    await using server = await start(receiver, { "webhook-events": "message.received,session.closed" });
    await push(server, "userid=2", "nobody is there");
    const client = await connect(server, "userid=1");
    client.send("hello");
    await client[Symbol.asyncDispose]();

    await receiver.untilTaken(2);

    expect(receiver.letters.map(({ type }) => type)).toEqual(["message.received", "session.closed"]);
  });
});

const refuses = ({ msg }: LogLine) => msg.includes("messages of clients are refused");

describe("a back end that takes nothing", () => {
  test("does not slow down a single push", async () => {
    await using receiver = await openReceiver();
    receiver.answer = () => "hang";
    await using server = await start(receiver);
    const senders = await Promise.all(Array.from({ length: 40 }, () => connect(server)));
    for (const sender of senders) sender.send("hello");
    await eventually("requests that hang", () => receiver.letters.length >= 32);
    await using client = await connect(server, "userid=1");

    const begin = performance.now();
    for (let message = 0; message < 200; message++) {
      await push(server, "userid=1", String(message));
      expect(await client.next()).toBe(String(message));
    }

    expect(performance.now() - begin).toBeLessThan(3000);
    for (const sender of senders) sender.socket.close();
  });

  test("until its queue is full: then messages are refused, and taken again when it is back", async () => {
    await using receiver = await openReceiver();
    await receiver.end();
    await using server = await start(receiver, {
      "max-webhook-queue": "64KiB",
      "max-receive-rate": "1000",
      "webhook-events": "message.received",
    });
    const { client } = await connectPushV1(server);
    await using plain = await connect(server);
    let sent = 0;
    for (; client.waiting.length === 0; sent++) {
      client.send(frame("x".repeat(1000)));
      await new Promise(setImmediate);
    }

    expect(JSON.parse(String(await client.next()))).toMatchObject({ type: "error", code: "unavailable" });
    plain.send("x".repeat(1000));
    expect(await plain.closed).toMatchObject({ code: 1013 });
    await untilLogged(server, refuses);
    expect(server.log.filter(refuses)).toHaveLength(1);
    const count = async () => (await readMetrics(server)).get("server_push_received_total") ?? 0;
    await eventually("an answer to each", async () => (await count()) + client.waiting.length + 1 === sent);
    const received = await count();

    await receiver.begin();
    await eventually("all that was received", () => receiver.events.length === received);
    client.send(frame("again"));
    await receiver.untilArrived(({ data }) => data["message"] === "again");
    client.socket.close();
  });

  test("does not keep another one waiting", async () => {
    await using dead = await openReceiver();
    await using alive = await openReceiver();
    dead.answer = () => "hang";
    await using server = await startServer({ webhook: `${dead.url},${alive.url}` });
    await using client = await connect(server);

    for (let message = 0; message < 50; message++) client.send(String(message));
    await eventually("all of them", () => Array.from(alive.messages.values()).flat().length === 50);

    expect(dead.taken).toEqual([]);
  });
});

test("a server that stops has given the back end everything before, the ends of sessions too", async () => {
  await using receiver = await openReceiver();
  await using server = await start(receiver);
  const clients = await Promise.all(Array.from({ length: 20 }, () => connectPushV1(server, "userid=1")));
  for (const { client } of clients) client.send(frame("hello"));
  await eventually("all received", async () => {
    return (await readMetrics(server)).get("server_push_received_total") === 20;
  });

  await server.drain();

  const types = Map.groupBy(receiver.events, ({ type }) => type);
  expect(types.get("message.received")).toHaveLength(20);
  expect(types.get("session.closed")?.map(({ data }) => data["reason"])).toEqual(
    clients.map(() => "drained"),
  );
});

test("a server that stops waits no longer than it may for a back end that does not answer", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => "hang";
  await using server = await start(receiver, { drain: "1s" });
  await using client = await connect(server);
  client.send("hello");
  await receiver.untilArrived(() => true);

  const begin = performance.now();
  await server.drain();

  expect(performance.now() - begin).toBeLessThan(2500);
});
