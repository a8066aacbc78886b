/**
 * What a page sends, and the answer whether it went.
 */
import { expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { openGateway } from "../support/gateway.ts";
import { openLibrary } from "../support/listening.ts";
import { openReceiver } from "../support/receiver.ts";
import { openRelay } from "../support/relay.ts";
import { readMetrics, startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };
const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

test("what is sent reaches the back end, whose answer comes as a message without an id", async () => {
  await using receiver = await openReceiver();
  receiver.answer = ({ type, data }) =>
    type === "message.received" ? { status: 200, body: `re: ${String(data["message"])}` } : { status: 204 };
  await using server = await startServer({
    webhook: receiver.url,
    "webhook-secret": `whsec_${Buffer.alloc(24, 7).toString("base64")}`,
  });
  using page = openLibrary(server, address);
  await page.until("open");
  const { position } = page.push;

  expect(await page.push.send("hello \u2028 \u{1f600}")).toBe(true);
  await page.untilMessages(1);

  expect(page.messages).toEqual([{ id: "", type: "message", data: "re: hello \u2028 \u{1f600}" }]);
  expect(page.push.position).toBe(position);
});

test("what is sent before it is connected goes when it is, in order", async () => {
  await using server = await startServer();
  using page = openLibrary(server, address);

  const sent = numbers(100).map((text) => page.push.send(text));

  expect(new Set(await Promise.all(sent))).toEqual(new Set([true]));
});

test("no more than 400 wait: what is too many is refused at once, the others go", async () => {
  await using server = await startServer({ "max-receive-rate": "1000" });
  await using relay = await openRelay(server);
  relay.cut();
  using page = openLibrary(relay, { ...address, transports: ["websocket"] });
  await page.until("error");

  const sent = numbers(400).map((text) => page.push.send(text));
  expect(await page.push.send("401st")).toBe(false);
  relay.mend();

  expect(new Set(await Promise.all(sent))).toEqual(new Set([true]));
  expect(await page.push.send("after")).toBe(true);
});

test("no more than 400 wait for an answer either", async () => {
  await using server = await startServer({ "max-receive-rate": "1000" });
  using page = openLibrary(server, address);
  await page.until("open");

  const sent = await Promise.all(numbers(900).map((text) => page.push.send(text)));

  expect(sent).toEqual(numbers(900).map((_, index) => index < 400));
  expect(await page.push.send("after")).toBe(true);
});

test("as many as may wait are no more than a server takes at once, with what was missed acknowledged", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, { ...address, transports: ["websocket"] });
  await page.until("open");
  relay.cut();
  await page.until("error");

  const sent = numbers(400).map((text) => page.push.send(text));
  const missed = fetch(`${server.url}/push?userid=123&message=missed&wait=20`);
  await eventually(
    "the wait",
    async () => (await readMetrics(server)).get("server_push_receipt_waits") === 1,
  );
  relay.mend();

  expect(new Set(await Promise.all(sent))).toEqual(new Set([true]));
  expect(await (await missed).json()).toMatchObject({ received: 1 });
  expect(page.of("close").map(({ code }) => code)).toEqual([1006]);
});

test("what is no text is sent as the text that it has", async () => {
  await using receiver = await openReceiver();
  await using server = await startServer({ webhook: receiver.url });
  using page = openLibrary(server, address);

  // Pages are not all checked.
  const sent = [5, null, undefined, { a: 1 }].map((data) => page.push.send(data as unknown as string));

  expect(await Promise.all(sent)).toEqual([true, true, true, true]);
  const messages = () => receiver.events.filter(({ type }) => type === "message.received");
  await eventually("four messages", () => messages().length === 4);
  expect(messages().map(({ data }) => data["message"])).toEqual([
    "5",
    "null",
    "undefined",
    "[object Object]",
  ]);
});

test("what the server refuses was not taken, and is no error of the connection", async () => {
  await using server = await startServer({ "max-receive-rate": "1", "max-message": "100" });
  using page = openLibrary(server, address);
  await page.until("open");

  const sent = await Promise.all(numbers(15).map((text) => page.push.send(text)));

  expect(sent).toEqual([...numbers(10).map(() => true), ...numbers(5).map(() => false)]);
  expect(page.told.map(({ type }) => type)).toEqual(["open"]);
});

test("what is too large ends the session, is not taken, and it comes back", async () => {
  await using server = await startServer({ "max-message": "100" });
  using page = openLibrary(server, address);
  await page.until("open");

  expect(await page.push.send("x".repeat(10_000))).toBe(false);
  await page.until("open", 2);

  expect(page.of("close")).toMatchObject([{ code: 1009, willReconnect: true }]);
  expect(await page.push.send("small")).toBe(true);
});

test("of what was under way when the connection was lost nobody knows, and it is not sent again", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, address);
  await page.until("open");

  relay.silence();
  const sent = numbers(3).map((text) => page.push.send(text));
  relay.cut();
  const answers = await Promise.all(sent);
  const waiting = page.push.send("later");
  relay.mend();

  expect(answers).toEqual([false, false, false]);
  expect(await waiting).toBe(true);
  const received = server.log.filter(({ msg }) => /received/.test(msg));
  expect(received.length).toBeLessThanOrEqual(1);
});

test.each(["sse", "poll"] as const)(
  "over %s nothing can be sent, and that is said at once",
  async (transport) => {
    await using server = await startServer();
    using page = openLibrary(server, { ...address, transports: [transport] });

    const before = page.push.send("before it is open");
    await page.until("open");

    expect([await before, await page.push.send("now")]).toEqual([false, false]);
  },
);

test("what waits when a stream takes the place of the WebSocket is answered too", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  gateway.upgrades = "refuse";
  using page = openLibrary(gateway, address);

  expect(await page.push.send("hello")).toBe(false);
});

test("after close() nothing is sent, and what waited is answered", async () => {
  await using server = await startServer();
  const connecting = openLibrary(server, address);
  const waiting = connecting.push.send("waits");
  connecting.push.close();
  const open = openLibrary(server, address);
  await open.until("open");
  const underWay = open.push.send("under way");
  open.push.close();

  expect(await Promise.all([waiting, underWay, open.push.send("after")])).toEqual([false, false, false]);
  await eventually("its end", () => server.log.filter(({ msg }) => msg === "session closed").length >= 1);
});
