/**
 * The best transport that works.
 */
import { describe, expect, test } from "bun:test";
import type { Transport } from "../../src/client/contract.d.ts";
import { disconnect } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openGate } from "../support/gate.ts";
import { openGateway } from "../support/gateway.ts";
import { type Library, noteConnects, openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { openRelay } from "../support/relay.ts";
import { pushRound } from "../support/rounds.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };
/** Of what hangs nothing comes: it need not be waited for long, but for longer than a busy machine may take for what does come. */
const short = { open: 1000 };

const transportsOf = (page: Library) => page.of("open").map(({ transport }) => transport);

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
    ["404 to a WebSocket", { websocket: 404, probe: 404 }, "sse"],
    ["501 to a WebSocket", { websocket: 501, probe: 501 }, "sse"],
    ["a page to a WebSocket", { websocket: 200, probe: 200 }, "sse"],
    ["403 to all but polls", { websocket: 403, probe: 403, sse: 403 }, "poll"],
    ["a page to all but polls", { websocket: 200, probe: 200, sse: 200 }, "poll"],
  ] as const)("as somebody else answers with %s, does without", async (_, answers, transport) => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.answers = answers;

    using page = openLibrary(gateway, { ...address, events: ["order"], times: short });
    await page.until("open");
    const expected = await pushRound(server, "round");
    await page.untilMessages(expected.length);

    expect(transportsOf(page)).toEqual([transport]);
    expect(page.messages.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    expect(page.of("error")).toEqual([]);
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
    const { at: asked, token } = noteConnects();
    using page = openLibrary(gateway, { ...address, token, times: { better: 100 } });
    await page.until("open", 4);

    const tries = asked.filter((_, index) => index % 2 === 0);
    const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    for (const [index, least] of [100, 200, 400].entries())
      expect(pauses[index]).toBeGreaterThanOrEqual(least - 1);
  });

  test("is asked soon again when there has been a WebSocket meanwhile", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    const { at: asked, token } = noteConnects();
    using page = openLibrary(gateway, { ...address, token, times: { better: 100 } });
    // After 100, 200, 400, 800 and 1600 milliseconds.
    await page.until("open", 5);
    gateway.upgrades = "pass";
    await eventually("a WebSocket", () => page.push.transport === "websocket");
    gateway.upgrades = "refuse";
    await disconnect(server, "userid=123&back=true");
    await eventually("a stream", () => page.push.transport === "sse");
    const { length } = asked;

    await eventually("another try", () => asked.length > length);

    expect((asked[length] ?? 0) - (asked[length - 1] ?? 0)).toBeLessThan(2500);
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
    expect(page.told.map(({ type }) => type)).toEqual(["open", "close", "error", "open"]);
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
    using _ = fixChance(0.99);
    // A WebSocket and a stream, by turns.
    const { at: asked, token } = noteConnects();
    using page = openLibrary(gateway, {
      ...address,
      token,
      times: { first: 100, cap: 20_000, steady: 20, better: 200 },
    });
    await page.until("open", 4);

    // Of pauses that double this would be 0.8 seconds.
    expect((asked[7] ?? 0) - (asked[6] ?? 0)).toBeLessThan(400);
  });

  test("for long, and then does, and then not, is asked soon again", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    using page = openLibrary(gateway, { ...address, times: { better: 20 } });
    // The next time to go back is in 20 seconds or so.
    await page.until("open", 10);
    gateway.answers = { websocket: 404, probe: 404, sse: 404, poll: 404 };
    await disconnect(server, "userid=123&back=true");
    await page.until("error", page.of("error").length + 2);
    gateway.upgrades = "pass";
    gateway.answers = {};
    await eventually("a WebSocket", () => page.push.transport === "websocket");
    gateway.upgrades = "refuse";
    await disconnect(server, "userid=123&back=true");
    await eventually("a stream", () => page.push.transport === "sse");
    gateway.upgrades = "pass";
    const since = performance.now();

    await eventually("a WebSocket", () => page.push.transport === "websocket");

    expect(performance.now() - since).toBeLessThan(5000);
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
