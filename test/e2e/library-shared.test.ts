/**
 * Tabs of one origin that share a connection: one of them has it, and whatever becomes of that one, nothing is lost, and nothing comes
 * twice, in any of them.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeBrowser, openPage, type Page } from "../support/browser.ts";
import { push, untilSessions } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { complaintsOf, openSite, receivedUntil, toldOf, toLocal, toPage } from "../support/pages.ts";
import { pollAll } from "../support/poll.ts";
import { everyKind, pushOn, pushRound } from "../support/rounds.ts";
import { readMetrics } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { mustSkip } from "../support/system.ts";
import { beginOf, countOpened, openTabs, shared, untilOpened } from "../support/tabs.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";

const isMissing = mustSkip("chromium");
/** Between two messages, so that there are some hundreds of them while something happens. */
const pauseMs = 4;

// Chromium takes seconds to start on a busy machine.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

test.concurrent.skipIf(isMissing)(
  "five tabs have one session, and get everything while the one that has it crashes, is closed, and another one comes",
  async () => {
    await using service = await startService("--log-level=debug");
    await using site = openSite();
    const begin = await beginOf(service);
    await using five = await openTabs(service, site, 5);
    const [first, second, third] = five.tabs as [Page, Page, Page]; // there are five
    await untilSessions(service, 1);
    expect(countOpened(service)).toBe(1);
    await using publisher = pushOn(service, pauseMs);

    await publisher.more(100);
    await first.crash();
    five.remove(first);
    await untilOpened(service, 2);
    await publisher.more(100);
    five.remove(second);
    await second[Symbol.asyncDispose]();
    await untilOpened(service, 3);
    const late = await five.add();
    five.remove(late);
    await publisher.more(100);
    five.remove(third);
    await third[Symbol.asyncDispose]();
    await untilOpened(service, 4);
    await publisher.more(100);
    await publisher.stop();
    const { id: end } = await push(service, everyKind, "end");

    const { messages } = await pollAll(service, everyKind, begin);
    expect(messages.length).toBeGreaterThan(400);
    for (const page of five.tabs) {
      expect(await receivedUntil(page, end)).toEqual(messages);
      expect(await toldOf(page, "reset", "error")).toEqual([]);
      expect(complaintsOf(page)).toEqual([]);
    }
    const since = await receivedUntil(late, end);
    expect(since.length).toBeGreaterThan(100);
    expect(since).toEqual(messages.slice(-since.length));
    expect((await readMetrics(service)).get("server_push_sessions")).toBe(1);
    await late[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
  },
);

describe.concurrent("while messages keep coming, no tab loses or repeats one", () => {
  test.skipIf(isMissing)(
    "when tabs are reloaded, whether they lead or not, and go on where they were",
    async () => {
      await using service = await startService();
      await using site = openSite();
      const begin = await beginOf(service);
      await using three = await openTabs(service, site, 3, { ...shared, resume: "tab" });
      const [first, second] = three.tabs as [Page, Page]; // there are three
      await using publisher = pushOn(service, pauseMs);

      for (const page of [first, second, first, second]) {
        await publisher.more(50);
        await page.reload();
      }
      await publisher.more(50);
      await publisher.stop();
      const { id: end } = await push(service, everyKind, "end");

      const { messages } = await pollAll(service, everyKind, begin);
      for (const page of three.tabs) {
        expect(await receivedUntil(page, end)).toEqual(messages);
        expect(await toldOf(page, "reset", "error")).toEqual([]);
        expect(complaintsOf(page)).toEqual([]);
      }
      await untilSessions(service, 1);
    },
  );

  test.skipIf(isMissing)("when one comes late, and wants all that is kept", async () => {
    await using service = await startService();
    await using site = openSite();
    const begin = await beginOf(service);
    await using one = await openTabs(service, site, 1);
    await using publisher = pushOn(service, pauseMs);
    await publisher.more(300);

    const options = JSON.stringify({ ...shared, since: "all" });
    const noting = `push.addEventListener("open", () => (globalThis.begin ??= [push.position, received.length]));`;
    const url = site.add(`${toPage(toLocal(service), options)}<script>${noting}</script>`);
    await using late = await openTabs(service, site, 0);
    for (const _ of [1, 2]) await late.add(url);
    await publisher.more(100);
    await publisher.stop();
    const { id: end } = await push(service, everyKind, "end");

    const { messages } = await pollAll(service, everyKind, begin);
    for (const page of [...one.tabs, ...late.tabs]) expect(await receivedUntil(page, end)).toEqual(messages);
    // It is not where the leader is before it has had all of that.
    for (const page of late.tabs) expect(await page.evaluate<unknown>("begin")).toEqual(["all", 0]);
    await untilSessions(service, 1);
  });

  test.skipIf(isMissing)(
    "when one comes from where nobody knows what followed: that one is told so",
    async () => {
      await using service = await startService();
      await using site = openSite();
      await using one = await openTabs(service, site, 1);
      await using publisher = pushOn(service, pauseMs);
      await publisher.more(50);

      await using late = await openTabs(service, site, 1, { ...shared, since: "00000000-1" });
      const [page] = late.tabs as [Page]; // there is one
      await page.until(`told.some(({ type }) => type === "reset")`);
      await publisher.more(50);
      await publisher.stop();
      const { id: end } = await push(service, everyKind, "end");

      const received = await receivedUntil(page, end);
      const [leader] = one.tabs as [Page];
      expect(received.length).toBeGreaterThan(50);
      expect(received).toEqual((await receivedUntil(leader, end)).slice(-received.length));
      expect((await toldOf(page, "reset")).length).toBe(1);
      expect(await toldOf(leader, "reset")).toEqual([]);
    },
  );

  test.skipIf(isMissing)("when the server is restarted", async () => {
    await using folder = await makeFolder();
    await using service = await startService(`--data=${folder.file("messages.db")}`, "--log-level=debug");
    await using site = openSite();
    const begin = await beginOf(service);
    await using three = await openTabs(service, site, 3);
    await using publisher = pushOn(service, pauseMs);

    await publisher.more(100);
    await service.restart("SIGKILL");
    await untilOpened(service, 1);
    await publisher.more(100);
    await publisher.stop();
    const { id: end } = await push(service, everyKind, "end");

    const { messages } = await pollAll(service, everyKind, begin);
    for (const page of three.tabs) {
      expect(await receivedUntil(page, end)).toEqual(messages);
      expect(await toldOf(page, "open", "close", "reset")).toMatchObject([
        { type: "open" },
        { type: "close", code: 1006, willReconnect: true },
        { type: "open", resumed: true },
      ]);
    }
    expect(countOpened(service)).toBe(1);
  });
});

test.concurrent.skipIf(isMissing)(
  "every tab is told once to load its state anew when the server has lost its journal",
  async () => {
    await using service = await startService();
    await using site = openSite();
    await using three = await openTabs(service, site, 3);
    const before = await push(service, everyKind, "before");
    for (const page of three.tabs) await receivedUntil(page, before.id);

    await service.restart("SIGKILL");
    await untilSessions(service, 1);
    const after = await push(service, everyKind, "after");

    for (const page of three.tabs) {
      const received = await receivedUntil(page, after.id);
      expect(received.map(({ data }) => data)).toEqual(["before", "after"]);
      expect((await toldOf(page, "reset")).length).toBe(1);
    }
  },
);

test.concurrent.skipIf(isMissing)(
  "what a tab sends goes through the one that leads, also what it sends first of all",
  async () => {
    await using service = await startService("--log-level=debug");
    await using site = openSite();
    const url = site.add(
      `${toPage(toLocal(service), JSON.stringify(shared))}<script>const early = push.send("early");</script>`,
    );
    await using first = await openPage();
    await using second = await openPage();
    for (const page of [first, second]) {
      await page.show(url);
      await page.until(`push.state === "open"`);
      expect(await page.evaluate<boolean>("early")).toBe(true);
      expect(await page.evaluate<boolean>(`push.send("later")`)).toBe(true);
    }

    await second.evaluate("push.close()");
    expect(await second.evaluate<boolean>(`push.send("after the end")`)).toBe(false);
    await first.evaluate("push.close()");
    expect(await first.evaluate<boolean>(`push.send("after the end")`)).toBe(false);

    await untilSessions(service, 0);
    expect(countOpened(service)).toBe(1);
  },
);

test.concurrent.skipIf(isMissing)("a tab that closes its connection leaves it to the others", async () => {
  await using service = await startService();
  await using site = openSite();
  await using three = await openTabs(service, site, 3);
  const [first, second, third] = three.tabs as [Page, Page, Page]; // there are three
  const expected = await pushRound(service, "before");
  for (const page of three.tabs) await receivedUntil(page, expected.at(-1)?.id);

  await first.evaluate("push.close()");
  for (const page of [second, third])
    await page.until(`told.filter(({ type }) => type === "open").length === 2`);
  const after = await pushRound(service, "after");

  for (const page of [second, third])
    expect(await receivedUntil(page, after.at(-1)?.id)).toEqual([...expected, ...after]);
  expect(await first.evaluate<unknown>("[received.length, push.state]")).toEqual([expected.length, "closed"]);
  await untilSessions(service, 1);
});

test.concurrent.skipIf(isMissing)(
  "tabs that are told to stay away do, and are not in the way of one that is opened later",
  async () => {
    await using service = await startService("--log-level=debug");
    await using site = openSite();
    await using three = await openTabs(service, site, 3);

    await fetch(`${service.url}/sessions?userid=123`, { method: "DELETE" });
    for (const page of three.tabs) await page.until(`push.state === "closed"`);
    await three.add();
    const { id } = await push(service, everyKind, "for the new one");

    const [late, ...early] = three.tabs.toReversed() as [Page, ...Page[]]; // there are four
    await receivedUntil(late, id);
    for (const page of early) {
      expect(await toldOf(page, "close")).toMatchObject([{ code: 4500, willReconnect: false }]);
      expect(await page.evaluate<unknown>("[push.state, received]")).toEqual(["closed", []]);
    }
    expect(countOpened(service)).toBe(2);
    await untilSessions(service, 1);
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab whose token has expired is over alone: another one goes on with its own",
  async () => {
    await using service = await startService(`--api-key=${apiKey}`, "--public-metrics");
    await using site = openSite();
    await using first = await openPage();
    await using second = await openPage();
    const show = async (page: Page, token: string) => {
      await page.show(site.add(toPage(toLocal(service), JSON.stringify({ ...shared, token }))));
      await page.until(`push.state === "open"`);
    };
    await show(first, await mint(service, "userid=123&expires=4"));
    await show(second, await mint(service, "userid=123"));

    await first.until(`push.state === "closed"`);
    await second.until(`told.filter(({ type }) => type === "open").length === 2`);
    await pushWithKey(service, everyKind, "still here");

    await second.until("received.length === 1");
    expect(await toldOf(first, "error")).toMatchObject([{ code: "unauthorized", willReconnect: false }]);
    expect((await toldOf(second, "error", "close")).every(({ willReconnect }) => willReconnect)).toBe(true);
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab that has nothing to share with has a connection of its own",
  async () => {
    await using service = await startService();
    await using site = openSite();
    const http = toLocal(service);
    const page = toPage(http, JSON.stringify(shared));
    await using sharing = await openPage();
    await sharing.show(site.add(page));
    await sharing.until(`push.state === "open"`);
    // One that may not load what sharing takes, and one that is of no origin.
    await using blocked = await openPage();
    const policy = `script-src 'unsafe-inline' ${http}/client.js`;
    await blocked.show(site.add(page, { "Content-Security-Policy": policy }));
    await using sandboxed = await openPage();
    await sandboxed.show(site.add(page, { "Content-Security-Policy": "sandbox allow-scripts" }));
    await untilSessions(service, 3);

    const expected = await pushRound(service, "round");

    for (const one of [sharing, blocked, sandboxed])
      expect(await receivedUntil(one, expected.at(-1)?.id)).toEqual(expected);
  },
);
