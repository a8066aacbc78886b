/**
 * The same messages over each transport.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, toReceipt, type Target, untilSessions } from "../support/calls.ts";
import { type Message, openLibrary } from "../support/listening.ts";
import { everyKind } from "../support/rounds.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };

async function pushBytes({ url }: Target, query: string, body: Uint8Array<ArrayBuffer>, event = "") {
  const headers = { "Content-Type": "application/octet-stream" };
  const path = `${url}/push?${query}${event && `&event=${event}`}`;
  return await toReceipt(await fetch(path, { method: "POST", body, headers }));
}

/** Texts that a format could break. */
const texts = [
  "hello",
  "\r\n",
  "a\rb\nc\r\nd\n\n",
  "\n\nevent: x\ndata: y\n\n",
  ": base64",
  ': json "x"',
  "\u2028\u2029\u0085\u{1f600}\ufeff",
  " leading and trailing ",
  "data: 1\nid: 2\nretry: 3",
  "\ufeffbyte order",
  '{"json":true}',
  "x".repeat(65_536),
  "\u00fc".repeat(32_768),
  "\r".repeat(10_000),
];

async function pushEverything(server: Target): Promise<Message[]> {
  const expected: Message[] = [];
  for (const data of texts)
    expected.push({ ...(await push(server, everyKind, data)), type: "message", data });
  const bytes = Uint8Array.from({ length: 65_536 }, (_, index) => index % 256);
  for (const data of [new Uint8Array([0]), bytes, new TextEncoder().encode("data: x\r\n\r\n")])
    expected.push({ ...(await pushBytes(server, "userid=123", data)), type: "message", data });
  expected.push({ ...(await pushBytes(server, "compid=inbox", bytes, "order")), type: "order", data: bytes });
  expected.push({ ...(await push(server, `${everyKind}&event=order`, "\r\n")), type: "order", data: "\r\n" });
  expected.push({ ...(await pushToAll(server, "all")), type: "message", data: "all" });
  return expected.map(({ id, type, data }) => ({ id, type, data }));
}

describe.each(["websocket", "sse", "poll"] as const)("over %s", (transport) => {
  test("every message is what was pushed, in order, with its id, live and missed", async () => {
    await using server = await startServer();
    using live = openLibrary(server, { ...address, transports: [transport], events: ["order"] });
    await live.until("open");
    const since = live.push.position ?? "";

    const expected = await pushEverything(server);
    using late = openLibrary(server, { ...address, since, transports: [transport], events: ["order"] });

    await live.untilMessages(expected.length);
    await late.untilMessages(expected.length);
    expect(live.messages).toEqual(expected);
    expect(late.messages).toEqual(expected);
    expect(late.of("open")).toEqual([expect.objectContaining({ transport, resumed: true })]);
    expect(live.push.position).toBe(expected.at(-1)?.id);
  });

  test("it is open only while it is", async () => {
    await using server = await startServer();
    using page = openLibrary(server, { ...address, transports: [transport] });
    expect([page.push.state, page.push.transport, page.push.session]).toEqual([
      "connecting",
      undefined,
      undefined,
    ]);

    await page.until("open");
    const [{ session } = { session: undefined }] = page.of("open");
    expect([page.push.state, page.push.transport, page.push.session]).toEqual([
      "open",
      transport,
      session as string,
    ]);

    page.push.close();
    expect([page.push.state, page.push.transport, page.push.session]).toEqual([
      "closed",
      undefined,
      undefined,
    ]);
    await untilSessions(server, 0);
  });

  test("it starts where it is told: all, a duration, an id", async () => {
    await using server = await startServer();
    const first = await push(server, "userid=123", "1");
    const second = await push(server, "userid=123", "2");
    using all = openLibrary(server, { ...address, since: "all", transports: [transport] });
    using lately = openLibrary(server, { ...address, since: "10m", transports: [transport] });
    using after = openLibrary(server, { ...address, since: first.id, transports: [transport] });
    await all.untilMessages(2);
    await lately.untilMessages(2);
    await after.untilMessages(1);

    for (const page of [all, lately]) expect(page.messages.map(({ data }) => data)).toEqual(["1", "2"]);
    expect(after.messages).toEqual([{ id: second.id, type: "message", data: "2" }]);
  });
});
