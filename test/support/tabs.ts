/**
 * Tabs of one origin, which share a connection.
 *
 *   await using three = await openTabs(service, site, 3);
 *   await untilOpened(service, 1);
 */
import { openPage, type Page } from "./browser.ts";
import { eventually } from "./eventually.ts";
import { type Site, toLocal, toPage } from "./pages.ts";
import { poll } from "./poll.ts";
import type { Service } from "./service.ts";

export const shared = { userid: "123", compid: "inbox", shared: true };

/** One that shares a connection, once it is open. */
export async function openTab(server: { readonly port: number }, site: Site): Promise<Page> {
  const page = await openPage();
  await page.show(site.add(toPage(toLocal(server), JSON.stringify(shared))));
  await page.until(`push.state === "open"`);
  return page;
}

/** Tabs with the same page, one after another, so that the first one leads. */
export async function openTabs(
  server: { readonly port: number },
  site: Site,
  count: number,
  options: object = shared,
  headers: Readonly<Record<string, string>> = {},
) {
  const url = site.add(toPage(toLocal(server), JSON.stringify(options)), headers);
  const tabs: Page[] = [];
  const add = async (shown = url) => {
    const page = await openPage();
    tabs.push(page);
    await page.show(shown);
    await page.until(`push.state === "open"`);
    return page;
  };
  for (let number = 0; number < count; number++) await add();
  return {
    tabs,
    /** One more, with this page or the same one. */
    add,
    /** Takes the tab away from these, which go on without it. */
    remove: (page: Page) => tabs.splice(tabs.indexOf(page), 1),
    async [Symbol.asyncDispose]() {
      for (const page of tabs) await page[Symbol.asyncDispose]();
    },
  };
}

/** How often a session has begun over a WebSocket, which its log says at the level `debug`. */
export function countOpened({ log }: Service): number {
  return log.filter(({ msg, transport }) => msg === "session opened" && transport === "websocket").length;
}

export async function untilOpened(service: Service, count: number): Promise<void> {
  await eventually(`${count} sessions that have begun`, () => countOpened(service) === count);
}

/** Where the journal is now. */
export async function beginOf(service: Service): Promise<string> {
  return (await poll(service, { query: "wait=0" })).id;
}
