/**
 * The documentation at /swagger, where it needs a key: it says what is wrong in the words of the console, which it leads to.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { openPage, type Page } from "../support/browser.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { desktop, startServer, textOf, untilText } from "./console.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");

/** The page of a server with an API key, which it asks for. */
async function openLocked() {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startServer({ "api-key": apiKey }));
  const page = stack.use(await openPage());
  await page.show(`${server.url}/swagger`);
  await page.until(`document.querySelector("#ask:not([hidden])") !== null`);
  return { server, page, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function giveKey(page: Page, key: string): Promise<void> {
  await page.fill("#key", key);
  await page.click("#ask button");
}

test.skipIf(isMissing).each([
  ["fedcba9876543210", "This is not one of the server's API keys."],
  ["two words", "This is not one of the server's API keys."],
  ["\u20ac", "The key has characters that no key has, expected printable ASCII."],
])("says what is wrong with the key %p, and asks again", async (key, problem) => {
  await using opened = await openLocked();
  const { page } = opened;
  expect(await textOf(page, "#problem")).toBe("");

  await giveKey(page, key);
  await page.until(`document.querySelector("#problem").textContent === ${JSON.stringify(problem)}`);
  await giveKey(page, ` ${apiKey} `);

  await page.until(`document.querySelector(".opblock") !== null`);
  expect(await page.evaluate<string>(`document.querySelector("nav a").pathname`)).toBe("/");
});

test.skipIf(isMissing)("says that the server does not answer", async () => {
  await using opened = await openLocked();
  const { page, server } = opened;

  server.signal("SIGKILL");
  await server.exited;
  await giveKey(page, apiKey);

  await untilText(page, "#problem", "the server does not answer");
});

test.skipIf(isMissing).each([
  [403, `{"detail":"not from here"}`, "not from here"],
  [429, `{"detail":"too many"}`, "too many"],
  [502, "<html>", "the answer is 502"],
])("takes an answer of %d for no document", async (status, body, problem) => {
  await using opened = await openLocked();
  const { page } = opened;
  await page.evaluate(
    `void (globalThis.fetch = async () => new Response(${JSON.stringify(body)}, { status: ${status} }))`,
  );

  await giveKey(page, apiKey);

  await untilText(page, "#problem", problem);
});

test.skipIf(isMissing)("is dark where the system is", async () => {
  await using opened = await openLocked();
  const { page } = opened;
  await giveKey(page, apiKey);
  await page.until(`document.querySelector(".opblock") !== null`);
  const background = `getComputedStyle(document.documentElement).backgroundColor`;

  await page.emulate({ ...desktop, scheme: "dark" });
  await page.until(`${background} === "rgb(28, 32, 34)"`);
  await page.emulate({ ...desktop, scheme: "light" });
  await page.until(`${background} !== "rgb(28, 32, 34)"`);
});
