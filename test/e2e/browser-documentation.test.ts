/**
 * The API's documentation where it needs an API key, in a real browser: it asks for one, and gives it to nobody but its own server.
 *
 *   TEST_SCREENSHOT=a.png npm test -- test/e2e/browser-documentation.test.ts      also keeps a-form.png, a-problem.png and a-page.png
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { closeBrowser, openPage, type Page } from "../support/browser.ts";
import { startServer } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");

afterAll(closeBrowser);

const isAsked = `document.querySelector("#ask:not([hidden])") !== null`;
const isShown = `document.querySelector(".opblock") !== null`;

/** The page of a server with an API key, at one of its operations, where it asks for the key. */
async function openDocumentation(operation = "") {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startServer({ "api-key": apiKey }));
  const page = stack.use(await openPage());
  await page.show(`${server.url}/swagger${operation}`);
  await page.until(isAsked);
  return { server, page, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function giveKey(page: Page, key: string): Promise<void> {
  await page.evaluate(`document.querySelector("#key").value = ${JSON.stringify(key)}`);
  await click(page, "#ask button");
}

async function click(page: Page, selector: string): Promise<void> {
  const element = `document.querySelector(${JSON.stringify(selector)})`;
  await page.until(`${element} !== null`);
  await page.evaluate(`${element}.click()`);
}

const sentParts = [".curl-command", ".live-responses-table .response .response-col_status"];

/** Tries the operation out that the page was opened at, and gives the command for what it has sent, and the status. */
async function tryOut(page: Page): Promise<[command: string, status: string]> {
  await click(page, ".opblock.is-open .try-out__btn");
  await click(page, ".opblock.is-open .execute");
  const sent = `${JSON.stringify(sentParts)}.map((part) => document.querySelector(part)?.textContent)`;
  await page.until(`${sent}.every((text) => text !== undefined)`);
  return await page.evaluate(sent);
}

test.skipIf(isMissing)("the page asks for a key, in a field that says what it is", async () => {
  await using opened = await openDocumentation();

  const said = await opened.page.evaluate<string[]>(
    `[document.querySelector("#key").labels[0].textContent, document.activeElement.id, document.querySelector("#problem").textContent]`,
  );

  expect(said).toEqual(["API key", "key", ""]);
  await save(opened.page, "form");
});

test.skipIf(isMissing)("it says what is wrong with a key, and asks again", async () => {
  await using opened = await openDocumentation();
  const { page } = opened;

  for (const [key, problem] of [
    ["two words", "This is not one of the server's API keys."],
    ["\u20ac", "The key has characters that no key has"],
    ["fedcba9876543210", "This is not one of the server's API keys."],
  ] as const) {
    await giveKey(page, key);
    await page.until(`document.querySelector("#problem").textContent.includes(${JSON.stringify(problem)})`);
  }
  await save(page, "problem");
  await giveKey(page, ` ${apiKey} `);

  await page.until(isShown);
  expect(await page.evaluate<boolean>(`document.querySelector("#ask") === null`)).toBe(true);
});

test.skipIf(isMissing)("what is tried out there has the key", async () => {
  await using opened = await openDocumentation("#/publishers/getPresence");
  await giveKey(opened.page, apiKey);

  const [command, status] = await tryOut(opened.page);

  expect(status).toStartWith("200");
  expect(command).toContain(`Bearer ${apiKey}`);
  await save(opened.page, "page");
});

test.skipIf(isMissing)("a client's call is tried out without the key, which is no token", async () => {
  await using opened = await openDocumentation("#/clients/poll");
  await giveKey(opened.page, apiKey);

  const [command, status] = await tryOut(opened.page);

  expect(status).toStartWith("401");
  expect(command).not.toContain(apiKey);
});

test.skipIf(isMissing)("the key is in no storage, in no URL and nowhere in the page", async () => {
  await using opened = await openDocumentation();
  const { page, server } = opened;
  await giveKey(page, apiKey);
  await page.until(isShown);

  const kept = await page.evaluate<string>(
    `JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state, document.documentElement.outerHTML])`,
  );

  expect(kept).not.toContain(apiKey);
  expect(page.requests.filter((url) => url.includes(apiKey))).toEqual([]);
  expect(page.requests.filter((url) => !url.startsWith(server.url) && !/^(data|about):/.test(url))).toEqual(
    [],
  );
});

test.skipIf(isMissing)("a page that is loaded anew asks anew", async () => {
  await using opened = await openDocumentation();
  const { page, server } = opened;
  await giveKey(page, apiKey);
  await page.until(isShown);

  await page.show("about:blank");
  await page.show(`${server.url}/swagger`);

  await page.until(isAsked);
});

/** Keeps a picture of the page where the variable says, for whoever wants to look at it. */
async function save({ screenshot }: Page, name: string): Promise<void> {
  const path = process.env["TEST_SCREENSHOT"];
  if (path !== undefined) await Bun.write(path.replace(/(\.png)?$/, `-${name}.png`), await screenshot());
}
