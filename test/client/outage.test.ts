/**
 * What an outage is, and which transport a page has after it.
 */
import { expect, test } from "bun:test";
import type { Transport } from "../../src/client/contract.d.ts";
import { disconnect } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openGateway } from "../support/gateway.ts";
import { type Library, noteConnects, openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };

const transportsOf = (page: Library) => page.of("open").map(({ transport }) => transport);

test.each([200, 404, 502])(
  "%d for everything is an outage for a new page, after which it has a WebSocket",
  async (status) => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.answers = { websocket: status, probe: status, sse: status, poll: status };
    using _ = fixChance(0.99);
    using page = openLibrary(gateway, { ...address, times: { first: 100 } });

    await page.until("error", 3);
    gateway.answers = {};
    await page.until("open");

    expect(transportsOf(page)).toEqual(["websocket"]);
  },
);

test.each([200, 403, 404, 429, 500, 502, 503, 504, 520])(
  "%d for everything is an outage for a page that has a WebSocket, after which it has one again",
  async (status) => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    using page = openLibrary(gateway, { ...address, times: { first: 100 } });
    await page.until("open");
    using _ = fixChance(0.99);

    gateway.answers = { websocket: status, probe: status, sse: status, poll: status };
    await disconnect(server, "userid=123&back=true");
    await page.until("error", 3);
    gateway.answers = {};
    await page.until("open", 2);

    expect(transportsOf(page)).toEqual(["websocket", "websocket"]);
    const code = status === 200 ? "unreachable" : "unexpected";
    expect(new Set(page.of("error").map((error) => error["code"]))).toEqual(new Set([code]));
    // From 502 on its server is away for sure.
    expect(gateway.calls.includes("sse")).toBe(status < 502);
  },
);

test("a page that comes out of an outage with a WebSocket does not go back to one", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  gateway.upgrades = "refuse";
  const { at: asked, token } = noteConnects();
  using page = openLibrary(gateway, { ...address, token, times: { better: 1000 } });
  await page.until("open");
  const since = performance.now();

  gateway.answers = { websocket: 404, probe: 404, sse: 404, poll: 404 };
  await disconnect(server, "userid=123&back=true");
  await page.until("error", 2);
  gateway.upgrades = "pass";
  gateway.answers = {};
  await eventually("a WebSocket", () => page.push.transport === "websocket");
  const { length } = asked;
  await eventually("that it is time", () => performance.now() - since > 1500);

  expect(asked).toHaveLength(length);
});

test("a WebSocket that is refused once is tried again where a stream never works", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  gateway.answers = { websocket: 404, probe: 404, sse: 502 };
  using page = openLibrary(gateway, address);
  await page.until("error");

  gateway.answers = { sse: 502 };
  await page.until("open");

  expect(transportsOf(page)).toEqual(["websocket"]);
});

test("an outage of WebSockets alone leaves a stream that works", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  gateway.answers = { websocket: 404, probe: 404 };
  using page = openLibrary(gateway, { ...address, times: { better: 100 } });
  await page.until("open");

  gateway.answers = { websocket: 502, probe: 502 };
  await page.until("error");
  await page.until("open", page.of("open").length + 1);

  expect(new Set(transportsOf(page))).toEqual(new Set<Transport>(["sse"]));
});
