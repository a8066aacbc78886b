/**
 * The best transport that works, and the same messages over each.
 */
import { describe, expect, test } from "bun:test";
import type { Transport } from "../../src/client/contract.d.ts";
import { disconnect, push, pushToAll, toReceipt, type Target, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openGate } from "../support/gate.ts";
import { openGateway } from "../support/gateway.ts";
import { type Library, type Message, openLibrary } from "../support/listening.ts";
import { openRelay } from "../support/relay.ts";
import { everyKind, pushRound } from "../support/rounds.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };
/** Of what hangs nothing comes: it need not be waited for long, but for longer than a busy machine may take for what does come. */
const short = { open: 1000 };

const transportsOf = (page: Library) => page.of("open").map(({ transport }) => transport);

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

describe("a network that lets no WebSocket through", () => {
  test.each([
    ["refuse", "pass", "sse"],
    ["hang", "pass", "sse"],
    ["refuse", "hold", "poll"],
    ["hang", "hold", "poll"],
  ] as const)("and would %s it, and %s streams: %s it is", async (upgrades, streams, transport) => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    Object.assign(gateway, { upgrades, streams });

    using page = openLibrary(gateway, { ...address, events: ["order"], times: short });
    await page.until("open");
    const expected = await pushRound(server, "round");
    await page.untilMessages(expected.length);

    expect(transportsOf(page)).toEqual([transport]);
    expect(page.messages).toEqual(
      expected.map(({ id, event = "message", data = "" }) => ({ id, type: event, data })),
    );
    expect(page.of("error")).toEqual([]);
    expect(gateway.most).toBe(1);
  });

  test.each([
    ["404 to a WebSocket", { websocket: 404, probe: 404 }, "sse", ["unexpected"]],
    ["501 to a WebSocket", { websocket: 501, probe: 501 }, "sse", ["unexpected"]],
    ["a page to a WebSocket", { websocket: 200, probe: 200 }, "sse", []],
    ["403 to all but polls", { websocket: 403, probe: 403, sse: 403 }, "poll", ["unexpected", "unexpected"]],
    ["a page to all but polls", { websocket: 200, probe: 200, sse: 200 }, "poll", []],
  ] as const)("as somebody else answers with %s, does without", async (_, answers, transport, codes) => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.answers = answers;

    using page = openLibrary(gateway, { ...address, events: ["order"], times: short });
    await page.until("open");
    const expected = await pushRound(server, "round");
    await page.untilMessages(expected.length);

    expect(transportsOf(page)).toEqual([transport]);
    expect(page.messages.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    expect(page.of("error").map(({ code }) => code)).toEqual([...codes]);
    expect(gateway.most).toBe(1);
  });

  test("is come back from when it does, without a loss or a repeat, and not before", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    using page = openLibrary(gateway, { ...address, events: ["order"], times: { better: 300 } });
    await page.until("open");

    const expected = await pushRound(server, "blocked");
    await eventually("another try", () => gateway.calls.filter((call) => call === "websocket").length > 2);
    expected.push(...(await pushRound(server, "still blocked")));
    gateway.upgrades = "pass";
    await eventually("a WebSocket", () => page.push.transport === "websocket");
    expected.push(...(await pushRound(server, "back")));
    await page.untilMessages(expected.length);

    expect(page.messages.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    expect(new Set(transportsOf(page).slice(0, -1))).toEqual(new Set<Transport>(["sse"]));
    expect([page.of("close"), page.of("error"), page.of("reset")]).toEqual([[], [], []]);
    expect(gateway.most).toBe(1);
  });

  test("is come back from also when the clock is set back meanwhile", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    using page = openLibrary(gateway, { ...address, times: { better: 300 } });
    await page.until("open");
    using stack = new DisposableStack();
    const { now } = Date;
    stack.defer(() => (Date.now = now));
    Date.now = () => now() - 365 * 86_400_000;
    gateway.upgrades = "pass";
    await disconnect(server, "userid=123&back=true");

    await eventually("a WebSocket", () => page.push.transport === "websocket");

    expect(page.of("error")).toEqual([]);
  });

  test.each([0, 365 * 86_400_000])(
    "is come back from also when no stream lasts, and the clock was set back by %d ms",
    async (ms) => {
      await using server = await startServer();
      await using gateway = await openGateway(server);
      gateway.upgrades = "refuse";
      using page = openLibrary(gateway, { ...address, times: { first: 1, better: 2000 } });
      await page.until("open");
      using stack = new DisposableStack();
      const { now } = Date;
      stack.defer(() => (Date.now = now));
      Date.now = () => now() - ms;
      gateway.upgrades = "pass";

      await eventually("a WebSocket", async () => {
        if (page.push.transport === "websocket") return true;
        if (page.push.state === "open") await disconnect(server, "userid=123&back=true");
        return false;
      });

      // Had one of them lasted, its own end would have been the time to go back.
      expect(transportsOf(page).length).toBeGreaterThan(5);
    },
  );

  test("is come back from without an error when the time for that comes while a stream begins", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    const asked = Promise.withResolvers<void>();
    const given = Promise.withResolvers<string>();
    const tokens = [() => "", () => "", () => (asked.resolve(), given.promise)];
    const token = () => tokens.shift()?.() ?? "";
    const transports = ["websocket", "sse"] as const;
    using page = openLibrary(gateway, { ...address, token, transports, times: { first: 1, better: 500 } });
    await page.until("open");
    const since = performance.now();
    await disconnect(server, "userid=123&back=true");
    await asked.promise;
    gateway.upgrades = "pass";
    await eventually("that it is time", () => performance.now() - since > 600);

    given.resolve("");

    await eventually("a WebSocket", () => page.push.transport === "websocket");
    expect(page.of("error")).toEqual([]);
  });

  test("is asked less and less often whether it does", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    // A WebSocket and a stream, by turns.
    const asked: number[] = [];
    const token = () => {
      asked.push(performance.now());
      return "";
    };
    using page = openLibrary(gateway, { ...address, token, times: { better: 100 } });
    await page.until("open", 4);

    const tries = asked.filter((_, index) => index % 2 === 0);
    const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    for (const [index, least] of [100, 200, 400].entries())
      expect(pauses[index]).toBeGreaterThanOrEqual(least - 1);
  });

  test("any more is asked once more before a stream takes the place of what has worked", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using gateway = await openGateway({ port: Number(new URL(relay.url).port) });
    using page = openLibrary(gateway, address);
    await page.until("open");

    gateway.upgrades = "refuse";
    relay.cut();
    relay.mend();
    await page.until("open", 2);

    expect(gateway.calls).toEqual(["websocket", "websocket", "probe", "websocket", "probe", "sse"]);
    expect(page.told.map(({ type }) => type)).toEqual(["open", "close", "open"]);
  });

  test("any more, as somebody else answers, is asked once more before, too", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    using page = openLibrary(gateway, address);
    await page.until("open");

    gateway.answers = { websocket: 403, probe: 403 };
    await disconnect(server, "userid=123&back=true");
    await page.until("open", 2);

    expect(transportsOf(page)).toEqual(["websocket", "sse"]);
    expect(gateway.calls).toEqual(["websocket", "websocket", "probe", "websocket", "probe", "sse"]);
  });

  test("and says so whenever it is asked, costs no longer pause each time", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.answers = { websocket: 404, probe: 404 };
    using stack = new DisposableStack();
    const { random } = Math;
    stack.defer(() => (Math.random = random));
    Math.random = () => 0.99;
    // A WebSocket and a stream, by turns.
    const asked: number[] = [];
    const token = () => {
      asked.push(performance.now());
      return "";
    };
    using page = openLibrary(gateway, {
      ...address,
      token,
      times: { first: 100, cap: 20_000, steady: 20, better: 200 },
    });
    await page.until("open", 4);

    // Of pauses that double this would be 0.8 seconds.
    expect((asked[7] ?? 0) - (asked[6] ?? 0)).toBeLessThan(400);
  });

  test("for the moment, as its server is away, is tried again as soon as it is back", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.answers = { websocket: 502, probe: 502, sse: 502, poll: 502 };
    using page = openLibrary(gateway, { ...address, times: { first: 100 } });

    await page.until("error", 2);
    gateway.answers = {};
    await page.until("open");

    expect(transportsOf(page)).toEqual(["websocket"]);
  });

  test("is what an outage looks like, after which it is as before", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    using page = openLibrary(gateway, address);
    await page.until("open");

    gateway.answers = { websocket: 502, probe: 502, sse: 502, poll: 502 };
    await disconnect(server, "userid=123&back=true");
    await page.until("error", 3);
    gateway.answers = {};
    await page.until("open", 2);

    expect(transportsOf(page)).toEqual(["websocket", "websocket"]);
    expect(page.of("error").map(({ code }) => code)).toEqual(page.of("error").map(() => "unexpected"));
  });

  test("leaves a page that wants nothing else unreachable, in words", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    using page = openLibrary(gateway, { ...address, transports: ["websocket"] });

    await page.until("error", 2);

    expect(page.of("error")[0]).toMatchObject({ code: "unreachable", willReconnect: true });
    expect(new Set(gateway.calls)).toEqual(new Set(["websocket", "probe"] as const));
  });
});

test("the order of the transports is the page's", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  gateway.streams = "hold";

  using page = openLibrary(gateway, { ...address, transports: ["sse", "websocket"], times: short });
  await page.until("open");

  expect(transportsOf(page)).toEqual(["websocket"]);
});

test("a stream is let go when the server has said why it ends, whoever keeps it open", async () => {
  let [begun, ended] = [0, 0];
  const welcome = `event: push.welcome\nid: e-0\ndata: {"session":"s","id":"e-0","idle":25}\n\n`;
  const farewell = `event: push.close\ndata: {"code":4000,"reason":"back later"}\n\n`;
  await using proxy = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch({ signal }) {
      begun++;
      signal.addEventListener("abort", () => ended++);
      return new Response(new ReadableStream({ start: (stream) => stream.enqueue(welcome + farewell) }));
    },
  });
  using page = openLibrary({ url: proxy.url.href }, { transports: ["sse"] });
  await page.until("close", 3);

  await eventually("all but the last has ended", () => ended >= begun - 1 && begun > 3);
});

test.each([
  ["its own code", 404, { code: 404, message: "no route" }],
  ["a code and a status of its own", 403, { code: "WAF_BLOCKED", status: 403 }],
  ["nothing", 400, null],
  ["a list", 400, ["code"]],
] as const)("a proxy that refuses with JSON of %s is not taken for the server", async (_, status, said) => {
  await using server = await startServer();
  await using gate = openGate(server, () => Response.json(said, { status }));
  using page = openLibrary(gate, { ...address, transports: ["sse"], times: short });
  await page.until("error", 2);
  gate.open();

  await page.until("open");

  expect(page.of("error")[0]).toMatchObject({ code: "unexpected", status, willReconnect: true });
});
