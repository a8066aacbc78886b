/**
 * What the page knows of its server is of the one that answers now, however many there are behind one address.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { openConsole, type OpenedConsole, textOf } from "./console.ts";

setDefaultTimeout(60_000);

interface Answers {
  readonly "/": string;
  readonly "/metrics": string;
}

const foreign = "<!doctype html><div id=app></div>";

describe.skipIf(mustSkip("chromium"))("with a key, and several servers at its address, a page", () => {
  let opened: OpenedConsole;
  let page: Page;
  /** What the server answers that the page is from. */
  let own: Answers;

  beforeAll(async () => {
    opened = await openConsole({ settings: { "api-key": apiKey } });
    ({ page } = opened);
    const [html, figures] = [await textAt("/"), await textAt("/metrics")];
    own = { "/": html, "/metrics": figures };
    await page.fill("#key", apiKey);
    await page.click(".key button");
    await page.until(`document.querySelector(".tiles:not(.unknown)") !== null`);
    // It looks at the figures ten times as often.
    await page.evaluate(`void (() => {
      const [ownFetch, ownTimeout] = [fetch, setTimeout];
      Object.assign(globalThis, { ownFetch, asked: [], setTimeout: (act, ms) => ownTimeout(act, ms / 10) });
    })()`);
    await answerBy({});
  });
  afterAll(async () => await opened[Symbol.asyncDispose]());

  test("reads nothing again as long as there is none but the one that it is from", async () => {
    expect(await countReads()).toBe(0);
    expect(page.requests.filter((url) => new URL(url).pathname === "/")).toHaveLength(1);
  });

  test("reads it once of each, and shows it of the one whose figures it shows", async () => {
    await answerBy(other(1));
    expect(await countReads()).toBe(1);
    expect(await textOf(page, ".tiles")).toContain("Webhook backlog");

    // The first one answers again, beside one that is not known yet.
    await answerBy({ ...other(2), "/": own["/"] });
    expect(await countReads()).toBeGreaterThan(1);
    expect(await textOf(page, ".tiles")).toContain("Webhook backlog");

    await answerBy({});
    expect(await countReads()).toBe(0);
    expect(await textOf(page, ".tiles")).not.toContain("Webhook backlog");
  });

  test("keeps its key while something else answers in their place", async () => {
    await answerBy({ "/": foreign, "/metrics": foreign });
    await countReads();
    await answerBy({});

    expect(await countReads()).toBe(0);
    expect(await page.evaluate<number>("sessionStorage.length")).toBe(1);
    expect(await textOf(page, ".status")).toStartWith("Running");
  });

  test.each([
    ["one that it knows answers", 3, "own"],
    ["no such server answers", 4, "foreign"],
    ["none answers", 5, "none"],
  ] as const)("asks again where %s", async (_, start, which) => {
    const answers = { own: own["/"], foreign, none: undefined };
    await answerBy({ ...other(start), "/": answers[which] });
    expect(await countReads()).toBeGreaterThan(1);
    await answerBy(other(start));

    expect(await countReads()).toBe(1);
  });

  async function textAt(path: string): Promise<string> {
    const headers = { Authorization: `Bearer ${apiKey}` };
    return await (await fetch(`${opened.server.url}${path}`, { headers })).text();
  }

  /** What another one answers, which has started then, and has webhooks. */
  function other(start: number): Answers {
    return {
      "/": own["/"].replace(/data-start="[^"]+"/, `data-start="${start}" data-webhooks`),
      "/metrics": own["/metrics"].replace(/^(process_start_time_seconds) .*$/m, `$1 ${start}`),
    };
  }

  /** Answers these paths with these texts from now on, or not at all, and counts anew. */
  async function answerBy(answers: { readonly [Path in keyof Answers]?: string | undefined }): Promise<void> {
    const paths = JSON.stringify(Object.entries(answers).map(([path, text = null]) => [path, text]));
    await page.evaluate(`void (asked.length = 0, globalThis.fetch = (url, options) => {
      const { pathname } = new URL(url, location.href);
      const answers = new Map(${paths});
      asked.push(pathname);
      if (!answers.has(pathname)) return ownFetch(url, options);
      const text = answers.get(pathname);
      return text === null ? Promise.reject(new TypeError("Failed to fetch")) : Promise.resolve(new Response(text));
    })`);
  }

  /** Waits for more looks at the figures than it takes to draw a conclusion from each, and says how often the page itself was asked for. */
  async function countReads(): Promise<number> {
    await page.until(`asked.filter((path) => path === "/metrics").length >= 4`);
    return await page.evaluate<number>(`asked.filter((path) => path === "/").length`);
  }
});
