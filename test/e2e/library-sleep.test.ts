/**
 * Tabs of one origin that share a connection, some of which sleep: browsers freeze what nobody looks at, and pages hang. The others get
 * everything all the same, and so does who wakes up again.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeBrowser, type Page } from "../support/browser.ts";
import { push, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { type Gateway, openGateway } from "../support/gateway.ts";
import { openSite, receivedUntil, type Site, toldOf } from "../support/pages.ts";
import { pollAll } from "../support/poll.ts";
import { everyKind, pushOn } from "../support/rounds.ts";
import { type Service, startService } from "../support/service.ts";
import { mustSkip } from "../support/system.ts";
import { beginOf, openTabs, shared, untilOpened } from "../support/tabs.ts";

const isMissing = mustSkip("chromium");
/** Between two messages, so that there are some hundreds of them while something happens. */
const pauseMs = 4;

// Chromium takes seconds to start on a busy machine, and a tab up to four until it believes that another one hangs.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

type Tabs = [leader: Page, Page, Page];
type Publisher = ReturnType<typeof pushOn>;

/** Three tabs, to which messages are pushed while the work is done: in the end each has all of them, over one session. */
async function whilePushing(
  work: (tabs: Tabs, publisher: Publisher, service: Service, gateway: Gateway) => Promise<void>,
): Promise<void> {
  await using service = await startService("--log-level=debug");
  await using site = openSite();
  const begin = await beginOf(service);
  await using gateway = await openGateway(service);
  await using three = await openTabs(gateway, site, 3);
  await using publisher = pushOn(service, pauseMs);
  await publisher.more(50);
  await work(three.tabs as Tabs, publisher, service, gateway); // there are three
  await publisher.more(50);
  await publisher.stop();
  const { id: end } = await push(service, everyKind, "end");

  const { messages } = await pollAll(service, everyKind, begin);
  for (const page of three.tabs) {
    expect(await receivedUntil(page, end)).toEqual(messages);
    expect(await toldOf(page, "reset", "error")).toEqual([]);
    expect(await page.evaluate<string>("push.state")).toBe("open");
  }
  const sessions = await Promise.all(three.tabs.map((page) => page.evaluate<string>("push.session")));
  expect(new Set(sessions).size).toBe(1);
  await untilSessions(service, 1);
}

/** Each when it leads: until it knows that itself, its connection is not open, and the browser keeps it. */
async function freezeInTurn(pages: readonly Page[]): Promise<void> {
  let session = "";
  for (const page of pages) {
    await page.until(`push.state === "open" && push.session !== "${session}"`);
    session = await page.evaluate<string>("push.session");
    await page.freeze();
  }
}

describe.concurrent(
  "when the one that leads sleeps or goes, and the next one hangs, the third one leads",
  () => {
    const ways: readonly [string, (leader: Page, site: Site) => Promise<void>][] = [
      ["as it is frozen", (leader) => leader.freeze()],
      ["by another page", (leader, site) => leader.show(site.add("elsewhere"))],
      ["by close()", (leader) => leader.evaluate("push.close()")],
    ];
    test.skipIf(isMissing).each(ways)("%s", async (_, go) => {
      await using service = await startService("--log-level=debug");
      await using site = openSite();
      // What is not kept is not frozen either, but ends.
      await using three = await openTabs(service, site, 3, shared, { "Cache-Control": "no-store" });
      const [leader, second, third] = three.tabs as Tabs; // there are three
      await second.halt();

      await go(leader, site);

      await untilOpened(service, 2);
      const { id } = await push(service, everyKind, "hello");
      await receivedUntil(third, id);
      await second.goOn();
      await receivedUntil(second, id);
      await untilSessions(service, 1);
    });
  },
);

describe.concurrent("no tab loses or repeats a message", () => {
  test.skipIf(isMissing)("when the one that leads is frozen: it leaves that to another one at once", () =>
    whilePushing(async ([leader, second], publisher, service) => {
      await leader.freeze();
      await untilOpened(service, 2);
      await publisher.more(100);
      await leader.thaw();
      await publisher.more(50);

      expect(await second.evaluate<number>("received.length")).toBeGreaterThan(100);
      await untilOpened(service, 2);
    }),
  );

  test.skipIf(isMissing)(
    "when the next to lead is frozen, and then the one that leads: the third one does",
    () =>
      whilePushing(async ([leader, second], publisher, service) => {
        await second.freeze();
        await leader.freeze();
        await untilOpened(service, 2);
        await publisher.more(50);
        await second.thaw();
        await leader.thaw();
      }),
  );

  test.skipIf(isMissing)("when all others are frozen: the one that led before is the next again", () =>
    whilePushing(async ([leader, ...others], publisher, service) => {
      await freezeInTurn([leader]);
      await untilOpened(service, 2);
      await leader.thaw();
      await leader.until("navigator.locks.query().then(({ pending }) => pending.length === 2)");
      await freezeInTurn(others);
      await untilOpened(service, 4);
      await publisher.more(50);
      for (const page of others) await page.thaw();
    }),
  );

  test.skipIf(isMissing)("when all are frozen: the first one that is seen again leads", () =>
    whilePushing(async (tabs, publisher, service) => {
      await freezeInTurn(tabs);
      await untilSessions(service, 0);
      await publisher.more(100);
      for (const page of tabs.toReversed()) await page.thaw();
      await untilSessions(service, 1);
    }),
  );

  test.skipIf(isMissing)("when one is frozen before its connection is open, which browsers then keep", () =>
    whilePushing(async ([leader, second], publisher, service, gateway) => {
      const countHandshakes = () => gateway.calls.filter((call) => call === "websocket").length;
      gateway.upgrades = "hold";
      await leader.freeze();
      await eventually("its handshake", () => countHandshakes() === 2);
      await second.freeze();
      gateway.release();
      await untilOpened(service, 3);
      await untilSessions(service, 2);
      await publisher.more(100);
      await leader.thaw();
      await second.thaw();
    }),
  );

  test.skipIf(isMissing)("when one that does not lead is frozen", () =>
    whilePushing(async ([, second], publisher, service) => {
      await second.freeze();
      await publisher.more(200);
      await second.thaw();

      await untilOpened(service, 1);
    }),
  );

  test.skipIf(isMissing)(
    "when the one that leads hangs: it is taken from it when somebody looks at another one",
    () =>
      whilePushing(async ([leader, second], publisher, service) => {
        await leader.halt();
        await publisher.more(50);
        await second.freeze();
        await second.thaw();
        await untilOpened(service, 2);
        await publisher.more(50);
        await leader.goOn();
      }),
  );
});
