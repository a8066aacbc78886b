/**
 * The library in pages of a real browser, which lose their connection, sleep and are reloaded while messages keep coming: nothing is
 * lost, and nothing comes twice.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeBrowser, openPage, type Page } from "../support/browser.ts";
import { push, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { openGateway } from "../support/gateway.ts";
import {
  complaintsOf,
  openSite,
  receivedUntil,
  type Site,
  toldOf,
  toLibraryPage,
  toLocal,
  toPage,
} from "../support/pages.ts";
import { poll, pollAll } from "../support/poll.ts";
import { openRelay } from "../support/relay.ts";
import { everyKind, pushOn, pushRound } from "../support/rounds.ts";
import { type Ending, type Service, startService } from "../support/service.ts";
import { mustSkip } from "../support/system.ts";

const isMissing = mustSkip("chromium");
const inbox = { userid: "123", compid: "inbox" };
const endings: readonly Ending[] = ["SIGTERM", "SIGKILL"];
/** Between two messages, so that there are some hundreds of them while something happens. */
const pauseMs = 4;

// Chromium takes seconds to start on a busy machine, and the library eight until it believes that a stream is held back.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

/** A page that listens, while messages are pushed to it; and all of them, once the last one has been. */
async function openStream(service: Service, site: Site, url: string, options: object = inbox) {
  const { id: begin } = await poll(service, { query: "wait=0" });
  const page = await openPage();
  await page.show(site.add(toPage(url, JSON.stringify(options))));
  await page.until(`push.state === "open"`);
  const publisher = pushOn(service, pauseMs);
  return {
    page,
    publisher,
    async finish() {
      await publisher.stop();
      const { id } = await push(service, everyKind, "end");
      const received = await receivedUntil(page, id);
      const { messages } = await pollAll(service, everyKind, begin);
      return { received, expected: messages };
    },
    async [Symbol.asyncDispose]() {
      await publisher.stop();
      await page[Symbol.asyncDispose]();
    },
  };
}

async function untilOpened(page: Page, times: number): Promise<void> {
  const countOpened = async () => (await toldOf(page, "open")).length;
  await eventually(`${times} sessions`, async () => (await countOpened()) >= times, 30_000);
}

describe.concurrent("while messages keep coming, a page misses nothing and gets nothing twice", () => {
  test.skipIf(isMissing)("when its connection is cut again and again", async () => {
    await using service = await startService();
    await using relay = await openRelay(service);
    await using site = openSite();
    await using stream = await openStream(service, site, relay.url);

    for (const round of [1, 2, 3]) {
      await stream.publisher.more(50);
      relay.cut();
      await stream.publisher.more(50);
      relay.mend();
      // Cut so soon after it was open, it waits longer each time.
      await untilOpened(stream.page, round + 1);
    }

    const { received, expected } = await stream.finish();
    expect(expected.length).toBeGreaterThan(300);
    expect(received).toEqual(expected);
    const opened = await toldOf(stream.page, "open", "reset");
    expect(opened.map(({ resumed }) => resumed)).toEqual([undefined, true, true, true]);
    expect(complaintsOf(stream.page)).toEqual([]);
  });

  test.skipIf(isMissing).each(endings)("when the server is restarted by %s", async (ending) => {
    await using folder = await makeFolder();
    await using service = await startService(`--data=${folder.file("messages.db")}`);
    await using site = openSite();
    await using stream = await openStream(service, site, toLocal(service));

    await stream.publisher.more(100);
    await service.restart(ending);
    await untilSessions(service, 1);
    await stream.publisher.more(100);

    const { received, expected } = await stream.finish();
    expect(received).toEqual(expected);
    expect(await toldOf(stream.page, "close", "open", "reset")).toMatchObject([
      { type: "open" },
      { type: "close", code: ending === "SIGTERM" ? 1012 : 1006, willReconnect: true },
      { type: "open", resumed: true },
    ]);
    expect(complaintsOf(stream.page)).toEqual([]);
  });

  test.skipIf(isMissing)("when the browser freezes it and thaws it again", async () => {
    await using service = await startService();
    await using site = openSite();
    await using stream = await openStream(service, site, toLocal(service));

    for (let round = 1; round <= 3; round++) {
      await stream.publisher.more(50);
      await stream.page.freeze();
      await stream.publisher.more(100);
      await stream.page.thaw();
      await untilOpened(stream.page, round + 1);
    }

    const { received, expected } = await stream.finish();
    expect(expected.length).toBeGreaterThan(450);
    expect(received).toEqual(expected);
    expect(await toldOf(stream.page, "reset", "error")).toEqual([]);
    expect(complaintsOf(stream.page)).toEqual([]);
  });

  test.skipIf(isMissing)("when the browser is offline for a while", async () => {
    await using service = await startService();
    await using relay = await openRelay(service);
    await using site = openSite();
    await using stream = await openStream(service, site, relay.url);

    await stream.publisher.more(50);
    relay.cut();
    await stream.page.until(`push.state === "connecting"`);
    await stream.page.setOffline(true);
    await stream.page.until(`told.filter(({ type }) => type === "error").length > 2`);
    relay.mend();
    await stream.page.setOffline(false);
    const online = performance.now();
    await stream.page.until(`push.state === "open"`);

    // By now it would wait for up to eight seconds.
    expect(performance.now() - online).toBeLessThan(3000);
    const { received, expected } = await stream.finish();
    expect(received).toEqual(expected);
    expect(await toldOf(stream.page, "reset")).toEqual([]);
    expect(complaintsOf(stream.page)).toEqual([]);
  });

  test.skipIf(isMissing)("when it is reloaded again and again, and goes on where it was", async () => {
    await using service = await startService();
    await using site = openSite();
    const options = { ...inbox, resume: "tab" };
    await using stream = await openStream(service, site, toLocal(service), options);

    for (let round = 1; round <= 5; round++) {
      await stream.publisher.more(40);
      await stream.page.reload();
    }

    const { received, expected } = await stream.finish();
    expect(expected.length).toBeGreaterThan(200);
    expect(received).toEqual(expected);
    expect(await toldOf(stream.page, "open", "reset")).toMatchObject([{ type: "open", resumed: true }]);
    expect(complaintsOf(stream.page)).toEqual([]);
  });
});

test.concurrent.skipIf(isMissing)(
  "a tab that is made as a copy of another one goes on where that one was, and disturbs it not",
  async () => {
    await using service = await startService();
    await using site = openSite();
    const url = site.add(toLibraryPage(service, { ...inbox, resume: "tab" }));
    await using page = await openPage();
    await using copy = await openPage();
    await page.show(url);
    await untilSessions(service, 1);
    const expected = await pushRound(service, "before");
    await receivedUntil(page, expected.at(-1)?.id);

    await copy.show(site.add("<!doctype html>"));
    const kept = JSON.stringify(await page.evaluate("({ ...sessionStorage })"));
    await copy.evaluate(`Object.assign(sessionStorage, ${kept})`);
    expected.push(...(await pushRound(service, "meanwhile")));
    await copy.show(url);
    await untilSessions(service, 2);
    expected.push(...(await pushRound(service, "after")));

    const last = expected.at(-1)?.id;
    expect(await receivedUntil(copy, last)).toEqual(expected);
    expect(await receivedUntil(page, last)).toEqual(expected);
  },
);

test.concurrent.skipIf(isMissing).each([
  { streams: "pass", transport: "sse" },
  { streams: "hold", transport: "poll" },
] as const)(
  "through a proxy that refuses WebSockets, and would $streams a stream, everything comes by $transport",
  async ({ streams, transport }) => {
    await using service = await startService();
    await using gateway = await openGateway(service);
    Object.assign(gateway, { upgrades: "refuse", streams });
    await using site = openSite();
    const { id: begin } = await poll(service, { query: "wait=0" });
    await using page = await openPage();
    await page.show(site.add(toPage(gateway.url, JSON.stringify(inbox))));
    await page.until(`push.transport === "${transport}"`);

    await pushRound(service, "round");
    await using publisher = pushOn(service, pauseMs);
    await publisher.until(100);
    await publisher.stop();
    const last = (await pushRound(service, "last")).at(-1);

    const { messages } = await pollAll(service, everyKind, begin);
    expect(await receivedUntil(page, last?.id)).toEqual(messages);
    expect(await toldOf(page, "open", "close", "reset", "error")).toMatchObject([
      { type: "open", transport },
    ]);
    expect(complaintsOf(page)).toEqual([]);
  },
);
