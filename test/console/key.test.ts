/**
 * Where the server has an API key: the page asks for it, keeps it for the tab alone, and shows it nowhere.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { run } from "../support/process.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import {
  connectPage,
  type ConsoleOptions,
  noteSaid,
  openConsole,
  pushFromPage,
  refusals,
  textOf,
  untilReceived,
  untilText,
} from "./console.ts";

setDefaultTimeout(60_000);

/** It asks for nothing that is refused before it has a key. */
const openLocked = (options: Pick<ConsoleOptions, "mayComplain"> = {}) =>
  openConsole({ settings: { "api-key": apiKey }, ...options });

async function giveKey(page: Page, key: string): Promise<void> {
  await page.fill("#key", key);
  await page.click(".key button");
}

const isOpen = `document.querySelector("#userid") !== null`;
const isAsking = `document.querySelector("#key") !== null`;

/** With the keys of a file, of which it has been given the one. */
async function openWith(folder: Folder) {
  const settings = { "api-key-file": folder.file("keys") };
  const opened = await openConsole({ settings, mayComplain: refusals });
  await giveKey(opened.page, apiKey);
  await opened.page.until(isOpen);
  return opened;
}

describe.skipIf(mustSkip("chromium"))("with an API key", () => {
  test("the page asks for it, in a field that has a label, and complains of nothing yet", async () => {
    await using opened = await openLocked();

    await opened.page.until(`document.activeElement.id === "key"`);
    const said = await opened.page.evaluate<string[]>(
      `[document.querySelector("#key").labels[0].textContent, document.querySelector("#key").type, document.querySelector("#key-problem").textContent]`,
    );

    expect(said).toEqual(["API key", "password", ""]);
    // Nothing is asked for yet, so nothing is known.
    expect(await textOf(opened.page, ".status")).toBe("");
  });

  test.each([
    ["fedcba9876543210", "This is not one of the server's API keys."],
    ["two words", "This is not one of the server's API keys."],
    ["\u20ac", "The key has characters that no key has"],
    ["  ", "There is nothing but blanks, expected one of the server's API keys."],
  ])("it says what is wrong with %p, and asks again", async (key, problem) => {
    await using opened = await openLocked({ mayComplain: refusals });
    const { page } = opened;

    await giveKey(page, key);

    await untilText(page, "#key-problem", problem);
    await giveKey(page, ` ${apiKey} `);
    await page.until(isOpen);
  });

  test.each(["fedcba9876543210", "\u20ac", "  "])(
    "it says again what is wrong with %p again",
    async (key) => {
      await using opened = await openLocked({ mayComplain: refusals });
      const { page } = opened;
      await giveKey(page, key);
      await page.until(`document.querySelector("#key-problem").textContent !== ""`);
      const said = await textOf(page, "#key-problem");
      await noteSaid(page, "#key-problem");

      await giveKey(page, key);

      await page.until(`globalThis.said.length > 0`);
      expect(await page.evaluate<string[]>(`globalThis.said`)).toEqual([said]);
    },
  );

  test("who has given it goes on in the page that it opens", async () => {
    await using opened = await openLocked();
    const { page } = opened;

    await giveKey(page, apiKey);

    await page.until(`document.activeElement.id === "content"`);
  });

  test("nobody can be given a token, so that the page says what is missing, and leaves it", async () => {
    await using opened = await openLocked({ mayComplain: refusals });
    const { page } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);
    await page.fill("#userid", "");

    await page.click("#connect");

    await untilText(page, "#connection", "Not connected: a token needs a user");
    expect(await textOf(page, "#connect")).toBe("Connect");
    expect(page.requests.filter((url) => url.includes("/tokens"))).toEqual([]);
    expect(await textOf(page, "#try")).not.toContain("tokens?userid=");
  });

  test("this page connects with a token, and pushes with the key", async () => {
    await using opened = await openLocked();
    const { page } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);

    await connectPage(page);
    await pushFromPage(page);

    await untilReceived(page, "hello");
    await page.until(`document.querySelectorAll("tbody tr.own").length === 1`);
  });

  test.skipIf(mustSkip("curl"))("the line for a shell reads the key from where it is set", async () => {
    await using opened = await openLocked();
    const { page } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);
    await connectPage(page);
    const environment = { SERVER_PUSH_API_KEY: apiKey };

    const pushed = await run(["sh", "-c", await textOf(page, "#curl code")], { environment });
    const minted = await run(["sh", "-c", await textOf(page, "#token code")], { environment });

    expect(JSON.parse(pushed.stdout)).toMatchObject({ sessions: 1 });
    await untilReceived(page, "hello");
    expect(JSON.parse(minted.stdout)).toMatchObject({ token: expect.any(String) });
    expect(await textOf(page, "#page code")).toContain("token: getToken");
  });

  test("the key is in the storage of the tab alone, in no URL and nowhere in the page", async () => {
    await using opened = await openLocked();
    const { page } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);
    await connectPage(page);

    const kept = await page.evaluate<string>(
      `JSON.stringify([{ ...localStorage }, document.cookie, location.href, history.state, document.documentElement.outerHTML])`,
    );

    expect(kept).not.toContain(apiKey);
    expect(page.requests.filter((url) => url.includes(apiKey))).toEqual([]);
    expect(await page.evaluate<string[]>(`Object.values(sessionStorage)`)).toEqual([apiKey]);
  });

  test("a page that is loaded anew goes on with it", async () => {
    await using opened = await openLocked();
    const { page, server } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);

    await page.show("about:blank");
    await page.show(`${server.url}/`);

    await page.until(isOpen);
  });

  test("it is forgotten when one says so, and the page is no session any more", async () => {
    await using opened = await openLocked();
    const { page, server } = opened;
    await giveKey(page, apiKey);
    await page.until(isOpen);
    await connectPage(page);

    await page.click(".top button");
    await page.until(isAsking);

    expect(await page.evaluate<number>(`sessionStorage.length`)).toBe(0);
    await page.show(`${server.url}/`);
    await page.until(isAsking);
    await giveKey(page, apiKey);
    await untilText(page, "#sessions", "Nobody is connected.");
  });

  test("it is asked for again when it is valid no longer", async () => {
    await using folder = await makeFolder({ keys: apiKey });
    await using opened = await openWith(folder);
    const { page, server } = opened;
    await connectPage(page);

    await Bun.write(folder.file("keys"), "fedcba9876543210");
    server.signal("SIGHUP");

    await untilText(page, "#key-problem", "The key is no longer valid.");
    await giveKey(page, "fedcba9876543210");
    await page.until(isOpen);
    await untilText(page, "#connection", "Not connected");
  });

  test("the reason why it is asked for again stays, and nothing is asked without one meanwhile", async () => {
    await using folder = await makeFolder({ keys: apiKey });
    await using opened = await openWith(folder);
    const { page, server } = opened;
    // When the key has just been dropped, what asks with it is still there.
    await page.evaluate(`void (() => {
      const { fetch } = globalThis;
      globalThis.withoutKey = [];
      globalThis.fetch = (url, options) => {
        if (!options.headers.has("Authorization")) globalThis.withoutKey.push(url);
        return fetch(url, options);
      };
      Storage.prototype.removeItem = () => queueMicrotask(() => document.querySelector("#push")?.click());
    })()`);

    await Bun.write(folder.file("keys"), "fedcba9876543210");
    server.signal("SIGHUP");

    await untilText(page, "#key-problem", "The key is no longer valid.");
    expect(await page.evaluate<string[]>(`globalThis.withoutKey`)).toEqual([]);
  });
});
