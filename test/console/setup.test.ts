/**
 * What the page knows of its server is of the one that answers now, however many there are behind one address.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { openConsole, startServer, textOf } from "./console.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");

const foreign = "<!doctype html><div id=app></div>";
const withWebhooks = { "api-key": apiKey, webhook: "http://127.0.0.1:9/" };

/** A page whose server asks for a key, which it has been given, and what it asks for from then on. */
async function openUnlocked() {
  const opened = await openConsole({ settings: { "api-key": apiKey } });
  const { page } = opened;
  await page.fill("#key", apiKey);
  await page.click(".key button");
  await untilShown(page);
  await page.evaluate(`void (globalThis.asked = [], globalThis.ownFetch = fetch)`);
  await answerBy(page, {});
  return opened;
}

const untilShown = (page: Page) => page.until(`document.querySelector(".tiles:not(.unknown)") !== null`);

/** Answers these paths with these texts from now on, and counts anew. */
async function answerBy(page: Page, answers: Readonly<Record<string, string>>): Promise<void> {
  await page.evaluate(`void (asked.length = 0, globalThis.fetch = (url, options) => {
    const path = new URL(url, location.href).pathname;
    const answers = ${JSON.stringify(answers)};
    asked.push(path);
    return path in answers ? Promise.resolve(new Response(answers[path])) : ownFetch(url, options);
  })`);
}

/** Waits for more looks at the figures than it takes to draw a conclusion from each, and says how often the page itself was asked for. */
async function countReads(page: Page): Promise<number> {
  await page.until(`asked.filter((path) => path === "/metrics").length >= 4`);
  return await page.evaluate<number>(`asked.filter((path) => path === "/").length`);
}

async function textAt(url: string): Promise<string> {
  return await (await fetch(url, { headers: { Authorization: `Bearer ${apiKey}` } })).text();
}

const keysKept = (page: Page) => page.evaluate<number>("sessionStorage.length");

test.concurrent.skipIf(isMissing)(
  "nothing is read again as long as the server is the one that the page is from",
  async () => {
    await using opened = await openUnlocked();

    expect(await countReads(opened.page)).toBe(0);
    expect(opened.page.requests.filter((url) => new URL(url).pathname === "/")).toHaveLength(1);
  },
);

test.concurrent.skipIf(isMissing)(
  "it is read once of each server, and stays that of the newest",
  async () => {
    await using opened = await openUnlocked();
    const { page, server } = opened;
    await using other = await startServer(withWebhooks);
    const [html, figures] = [await textAt(`${other.url}/`), await textAt(`${other.url}/metrics`)];

    await answerBy(page, { "/": html, "/metrics": figures });
    expect(await countReads(page)).toBe(1);
    expect(await textOf(page, ".tiles")).toContain("Webhook backlog");

    // Figures of a third one, while the first one answers again.
    const third = figures.replace(/^(process_start_time_seconds) .*$/m, "$1 1");
    await answerBy(page, { "/": await textAt(`${server.url}/`), "/metrics": third });
    expect(await countReads(page)).toBeGreaterThan(1);
    expect(await textOf(page, ".tiles")).toContain("Webhook backlog");
  },
);

test.concurrent.skipIf(isMissing).each([
  ["the one before", (server: { readonly url: string }) => textAt(`${server.url}/`)],
  ["no server of this kind", async () => foreign],
] as const)("it is asked for again where %s answers", async (_, answer) => {
  await using opened = await openUnlocked();
  const { page, server } = opened;
  await using other = await startServer(withWebhooks);
  const figures = await textAt(`${other.url}/metrics`);

  await answerBy(page, { "/": await answer(server), "/metrics": figures });
  expect(await countReads(page)).toBeGreaterThan(1);
  expect(await textOf(page, ".tiles")).not.toContain("Webhook backlog");
  await answerBy(page, { "/": await textAt(`${other.url}/`), "/metrics": figures });

  expect(await countReads(page)).toBe(1);
  expect(await textOf(page, ".tiles")).toContain("Webhook backlog");
  expect(await keysKept(page)).toBe(1);
});

test.concurrent.skipIf(isMissing)("it is asked for again where that fails", async () => {
  await using opened = await openUnlocked();
  const { page } = opened;
  await using other = await startServer(withWebhooks);
  await answerBy(page, {
    "/": await textAt(`${other.url}/`),
    "/metrics": await textAt(`${other.url}/metrics`),
  });

  await page.evaluate(`void (globalThis.goOn = fetch, globalThis.fetch = (url, options) => {
    if (url !== "/") return goOn(url, options);
    fetch = goOn;
    return Promise.reject(new TypeError("Failed to fetch"));
  })`);

  await page.until(`document.querySelector(".tiles").textContent.includes("Webhook backlog")`);
});

test.concurrent.skipIf(isMissing)(
  "a key is kept while something else answers in the server's place",
  async () => {
    await using opened = await openUnlocked();
    const { page } = opened;

    await answerBy(page, { "/": foreign, "/metrics": foreign });
    await countReads(page);
    await answerBy(page, {});
    await untilShown(page);

    expect(await countReads(page)).toBe(0);
    expect(await keysKept(page)).toBe(1);
    expect(await textOf(page, ".status")).toStartWith("Running");
  },
);
