/**
 * The server goes and comes back while the page is open: the page says so, and goes on by itself.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { openPage } from "../support/browser.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import {
  connectPage,
  openConsole,
  pushFromPage,
  startServer,
  textOf,
  untilReceived,
  untilText,
} from "./console.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");

test.skipIf(isMissing).each([
  [502, "text/html", false],
  [503, "text/html", false],
  [504, "text/html", false],
  [503, "application/problem+json", true],
])("an answer of %d in %s is one of the server: %p", async (status, type, isOfServer) => {
  await using opened = await openConsole();
  const { page } = opened;
  await page.until(`document.querySelector(".tiles:not(.unknown)") !== null`);

  // As what stands before a server answers in its place.
  await page.evaluate(`void (globalThis.fetch = async () =>
    new Response("{}", { status: ${status}, headers: { "Content-Type": "${type}" } }))`);
  await untilText(
    page,
    isOfServer ? "#live .problem" : "[role=alert]",
    isOfServer ? "503" : "does not answer",
  );

  expect(await textOf(page, ".status")).toStartWith(isOfServer ? "Running" : "Not reachable");
});

test.skipIf(isMissing)("a server that comes back without a key is gone on with without one", async () => {
  await using page = await openPage();
  const first = await startServer({ "api-key": apiKey });
  await page.show(`${first.url}/`);
  await page.fill("#key", apiKey);
  await page.click(".key button");
  await page.until(`document.querySelector("#token") !== null`);
  await connectPage(page);

  first.signal("SIGKILL");
  await first.exited;
  await first[Symbol.asyncDispose]();
  await using _ = await startServer({}, first.port);

  await page.until(`document.querySelector(".top button") === null`);
  await untilText(page, "#try", "Connected as 123 / inbox");
  expect(await page.evaluate<number>(`sessionStorage.length`)).toBe(0);
  expect(await textOf(page, "#curl code")).not.toContain("Authorization");
  expect(await textOf(page, "#page code")).toContain(`connect({ userid: "123", compid: "inbox" })`);
  expect(await textOf(page, "#try")).not.toContain("token");
  await pushFromPage(page);
  await untilReceived(page, "hello");
});

test.skipIf(isMissing)("a server that comes back with a key says so, and takes it", async () => {
  await using page = await openPage();
  const first = await startServer();
  await page.show(`${first.url}/`);
  await connectPage(page);

  first.signal("SIGKILL");
  await first.exited;
  await first[Symbol.asyncDispose]();
  await using _ = await startServer({ "api-key": apiKey }, first.port);

  await untilText(page, "#key-problem", "The server now asks for an API key.");
  await page.fill("#key", apiKey);
  await page.click(".key button");
  await page.until(`document.querySelector("#token") !== null`);
  await connectPage(page);
});

test.skipIf(isMissing).each(["SIGKILL", "SIGTERM"] as const)(
  "a server that ends by %s and is started anew is found again",
  async (signal) => {
    await using page = await openPage();
    const first = await startServer();
    await page.show(`${first.url}/`);
    await connectPage(page);
    await page.until(`document.querySelector("tbody tr") !== null`);

    first.signal(signal);
    await first.exited;
    await first[Symbol.asyncDispose]();
    await untilText(page, "[role=alert]", "The server does not answer");
    expect(await textOf(page, ".status")).toBe("Not reachable");
    expect(
      await page.evaluate<string>(
        `[getComputedStyle(document.querySelector(".plot"))].map(({ filter, opacity }) => filter + " " + opacity)[0]`,
      ),
    ).toBe("none 1");
    await untilText(page, "#connection", "Connecting again");
    await page.click("#push");
    await untilText(page, "#outcome", "the server does not answer");
    for (const part of ["live", "sessions", "events"])
      expect(await textOf(page, `#${part} h2 .as-of`)).toMatch(/^as of \d\d:\d\d:\d\d$/);

    await using second = await startServer({}, first.port);
    await page.until(`document.querySelector("[role=alert], .as-of") === null`);
    // It was about a server that was away.
    await page.until(`document.querySelector("#outcome").textContent === ""`);
    await untilText(page, "#connection", "Connected");
    await page.fill("#message", "after it");
    await pushFromPage(page);
    await untilReceived(page, "after it");
    await page.until(`document.querySelectorAll("tbody tr.own").length === 1`);
    // Events too, from where they went on: those of another log begin with saying so.
    await untilText(page, "#tail", "session.opened");
    expect(second.url).toBe(first.url);
    expect(page.complaints.filter((text) => !/^Failed to load|^WebSocket connection/.test(text))).toEqual([]);
  },
);
