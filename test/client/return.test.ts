/**
 * How the library comes back: after a random pause, one connection at a time, and not where it should stay away.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Transport } from "../../src/client/contract.d.ts";
import { disconnect, push, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openGate } from "../support/gate.ts";
import { openGateway } from "../support/gateway.ts";
import { type Library, noteConnects, openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { openRelay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";
import { startService } from "../support/service.ts";

const address = { userid: "123", compid: "inbox" };
const transports = ["websocket", "sse", "poll"] as const;

// Who has been sent away by a server that restarts is told to wait for seconds.
setDefaultTimeout(60_000);

const openAll = (
  server: { readonly url: string },
  count: number,
  times: object,
  transport: Transport = "websocket",
) =>
  Array.from({ length: count }, () => {
    const connects = noteConnects();
    const options = { ...address, token: connects.token, transports: [transport], times };
    return { connects, page: openLibrary(server, options) };
  });

function closeAll(pages: readonly { readonly page: Library }[]): void {
  for (const { page } of pages) page.push.close();
}

describe("the pause before it comes back", () => {
  test("is at the most twice as long each time, up to the cap, while it finds nobody", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    const connects = noteConnects();
    using page = openLibrary(relay, { token: connects.token, times: { first: 20, cap: 100 } });
    await page.until("open");
    using _ = fixChance(0.999);

    relay.cut();
    await eventually("tries", () => connects.at.length > 7);

    // From when it was opened to when it was cut is no pause.
    const pauses = connects.pauses().slice(1, 7);
    for (const [index, most] of [40, 80, 100, 100, 100].entries())
      expect(pauses[index]).toBeGreaterThanOrEqual(most * 0.999 - 1);
    // Without the cap these would be more than two seconds.
    const [, , , ...late] = pauses;
    expect(late.reduce((sum, pause) => sum + pause, 0)).toBeLessThan(1800);
    expect(page.of("close")).toEqual([{ type: "close", code: 1006, reason: "", willReconnect: true }]);
  });

  test("may be none at all", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    using page = openLibrary(relay, { ...address, times: { first: 600_000, cap: 600_000 } });
    await page.until("open");
    using _ = fixChance(0);

    relay.cut();
    await page.until("error");
    relay.mend();

    await page.until("open", 2);
  });

  test("is another one for each of many, over all of the time that there is", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    const pages = openAll(relay, 200, { first: 2000, cap: 2000 });
    await Promise.all(pages.map(({ page }) => page.until("open")));

    relay.cut();
    const cutAt = performance.now();
    relay.mend();
    await Promise.all(pages.map(({ page }) => page.until("open", 2)));

    const pauses = pages.map(({ connects }) => (connects.at[1] ?? Number.NaN) - cutAt);
    const share = (from: number, to: number) => pauses.filter((pause) => pause >= from && pause < to).length;
    // Each fifth would have 40 of them; a machine that is busy is late.
    for (const from of [0, 400, 800, 1200, 1600]) expect(share(from, from + 800)).toBeGreaterThan(15);
    closeAll(pages);
  });

  test("is long again soon after a connection that did not last, and short after one that did", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    const connects = noteConnects();
    const times = { first: 100, cap: 10_000, steady: 1500 };
    using page = openLibrary(relay, { token: connects.token, times });
    using _ = fixChance(0.999);
    const cutAfter = async (count: number) => {
      await page.until("open", count);
      relay.cut();
      relay.mend();
      const cutAt = performance.now();
      await page.until("open", count + 1);
      return (connects.at.at(-1) ?? 0) - cutAt;
    };

    expect(await cutAfter(1)).toBeGreaterThan(95);
    expect(await cutAfter(2)).toBeGreaterThan(195);
    expect(await cutAfter(3)).toBeGreaterThan(395);
    const opened = performance.now();
    await eventually("a connection that has lasted", () => performance.now() - opened > 1600);
    const short = await cutAfter(4);
    expect(short).toBeGreaterThan(95);
    expect(short).toBeLessThan(790);
  });

  test.each(["websocket", "sse"] as const)(
    "is long for all clients of a server that restarts, over %s",
    async (transport) => {
      await using service = await startService();
      const pages = openAll(service, 50, { first: 1, spread: 2000 }, transport);
      await Promise.all(pages.map(({ page }) => page.until("open")));
      let closedAt = 0;
      pages[0]?.page.push.addEventListener("close", () => (closedAt ||= performance.now()));

      await service.restart("SIGTERM");
      await eventually("all of them", () => pages.every(({ connects }) => connects.at.length > 1));

      expect(pages.every(({ page }) => page.of("close")[0]?.["code"] === 1012)).toBe(true);
      const pauses = pages.map(({ connects }) => (connects.at[1] ?? 0) - closedAt);
      for (const from of [0, 1000])
        expect(pauses.filter((pause) => pause >= from && pause < from + 1000).length).toBeGreaterThan(5);
      closeAll(pages);
    },
  );
});

test("who is told when to come back comes some time after that, each at another", async () => {
  await using server = await startServer();
  await using gate = openGate(server, () =>
    Response.json({ code: "overloaded", detail: "later" }, { status: 503, headers: { "Retry-After": "1" } }),
  );
  const pages = openAll(gate, 50, { first: 1, spread: 2000 }, "poll");
  await Promise.all(pages.map(({ page }) => page.until("error")));
  gate.open();
  await Promise.all(pages.map(({ page }) => page.until("open")));

  const pauses = pages.map(({ connects }) => (connects.at[1] ?? 0) - (connects.at[0] ?? 0));
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(995);
  for (const from of [1000, 2000])
    expect(pauses.filter((pause) => pause >= from && pause < from + 1000).length).toBeGreaterThan(5);
  closeAll(pages);
});

describe("there is never more than one connection", () => {
  test.each(transports)("over %s, however often it is cut", async (transport) => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using gateway = await openGateway({ port: Number(new URL(relay.url).port) });
    using page = openLibrary(gateway, { ...address, transports: [transport], times: { first: 1, cap: 5 } });
    await page.until("open");

    const expected: string[] = [];
    for (let count = 1; count <= 20; count++) {
      expected.push((await push(server, "userid=123", `${count}`)).id);
      relay.cut();
      relay.mend();
      await page.untilMessages(count);
    }

    expect(gateway.most).toBe(1);
    expect(gateway.calls.length).toBeGreaterThan(10);
    expect(page.messages.map(({ id }) => id)).toEqual(expected);
  });
});

describe("it stays away", () => {
  test.each(["websocket", "sse"] as const)(
    "when it is told to, by the back end, over %s",
    async (transport) => {
      await using server = await startServer();
      await using gateway = await openGateway(server);
      using page = openLibrary(gateway, { ...address, transports: [transport], times: { first: 1, cap: 1 } });
      await page.until("open");

      await disconnect(server, "userid=123");
      await page.until("close");

      expect(page.of("close")).toMatchObject([{ code: 4500, willReconnect: false }]);
      expect(page.push.state).toBe("closed");
      await expectNothingMore(gateway.calls, 1);
    },
  );

  test("after it has sent more than it may", async () => {
    await using server = await startServer({ "max-receive-rate": "1" });
    await using gateway = await openGateway(server);
    using page = openLibrary(gateway, { ...address, times: { first: 1, cap: 1 } });
    await page.until("open");

    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => page.push.send(`${index}`)));
    await page.until("close");

    expect(page.of("close")).toMatchObject([{ code: 1008, willReconnect: false }]);
    expect(answers.filter(Boolean).length).toBe(10);
    await expectNothingMore(gateway.calls, 1);
  });

  test.each(transports)("once it is closed, whatever it was doing over %s", async (transport) => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    const connects = noteConnects();
    const options = { transports: [transport], token: connects.token, times: { first: 1, cap: 1 } };
    const connecting = openLibrary(relay, options);
    connecting.push.close();
    const open = openLibrary(relay, options);
    await open.until("open");
    open.push.close();
    await untilSessions(server, 0);
    relay.cut();
    const away = openLibrary(relay, options);
    await away.until("error");
    away.push.close();
    relay.mend();

    for (const page of [connecting, open, away])
      expect(page.of("close")).toMatchObject([{ code: 1000, reason: "", willReconnect: false }]);
    await expectNothingMore(connects.at, connects.at.length);
  });

  test("while a handshake hangs, and asks nobody why", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.upgrades = "hang";
    const page = openLibrary(gateway, address);
    await eventually("a handshake", () => gateway.calls.length === 1);

    page.push.close();

    await expectNothingMore(gateway.calls, 1);
    expect(page.told).toMatchObject([{ type: "close", code: 1000 }]);
  });
});

test.each(["websocket", "sse"] as const)(
  "it comes back when the back end has ended the session for now, over %s",
  async (transport) => {
    await using server = await startServer();
    using page = openLibrary(server, { ...address, transports: [transport] });
    await page.until("open");

    await disconnect(server, "userid=123&back=true");
    await page.until("open", 2);
    await push(server, "userid=123", "again");
    await page.untilMessages(1);

    expect(page.of("close")).toMatchObject([{ code: 4000, willReconnect: true }]);
    expect(page.of("open")[1]).toMatchObject({ resumed: true });
  },
);

describe("a connection that has died in silence is noticed by the idle time that was announced", () => {
  test.each(["websocket", "sse"] as const)("over %s", async (transport) => {
    await using server = await startServer({ ping: "500ms" });
    await using relay = await openRelay(server);
    using page = openLibrary(relay, { ...address, transports: [transport] });
    await page.until("open");

    relay.silence();
    const silentAt = performance.now();
    await push(server, "userid=123", "into the silence");
    await page.until("close");
    const noticedMs = performance.now() - silentAt;
    await page.untilMessages(1);

    expect(noticedMs).toBeGreaterThan(1200);
    expect(noticedMs).toBeLessThan(4000);
    expect(page.of("close")).toEqual([{ type: "close", code: 1006, reason: "", willReconnect: true }]);
    expect(page.messages).toMatchObject([{ data: "into the silence" }]);
  });

  test("and one that only has nothing to say is kept", async () => {
    await using server = await startServer({ ping: "1s" });
    await using relay = await openRelay(server);
    using pages = openLibrary(relay, { ...address, transports: ["websocket"] });
    using streams = openLibrary(relay, { ...address, transports: ["sse"] });
    await pages.until("open");
    await streams.until("open");

    const count = () => relay.passed.split('"type":"position"').length + relay.passed.split("\nid: ").length;
    await eventually("pings to both, for longer than it waits", () => count() > 8, 20_000);

    expect([...pages.of("close"), ...streams.of("close")]).toEqual([]);
  });
});

/** Nothing has come by the time that others have done all that it would have done. */
async function expectNothingMore(calls: readonly unknown[], count: number): Promise<void> {
  await using other = await startServer();
  await using relay = await openRelay(other);
  using witness = openLibrary(relay, { times: { first: 1, cap: 1 } });
  for (let round = 1; round <= 10; round++) {
    await witness.until("open", round);
    relay.cut();
    relay.mend();
  }
  expect(calls.length).toBe(count);
}
