/**
 * What flows: the figures, the charts, and the tail of events and messages.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { choose, connectAll, connectPage, openConsole, textOf, untilReceived, untilText } from "./console.ts";

setDefaultTimeout(30_000);

/** Waits until a figure is this. */
const untilFigure = (page: Page, title: string, value: string) =>
  page.until(
    `Array.from(document.querySelectorAll(".tile"), (tile) => tile.textContent).some((text) => text.startsWith(${JSON.stringify(title + value)}))`,
  );

const rows = `document.querySelectorAll("#tail li").length`;

/** As long as a poll waits that gets nothing, which is longer than the page waits before it asks again. */
async function untilPollEnds(server: { readonly url: string }): Promise<void> {
  await (await fetch(`${server.url}/poll?userid=nobody&wait=2`)).text();
}

async function pushMany(server: { readonly url: string }, count: number): Promise<void> {
  const items = Array.from({ length: count }, (_, index) => ({ userid: "123", message: `message ${index}` }));
  const { status } = await fetch(`${server.url}/batch`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(items),
  });
  expect(status).toBe(200);
}

describe.skipIf(mustSkip("chromium"))("the figures", () => {
  test("are those of the server, now and again a moment later", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await untilFigure(page, "Sessions", "0 0 users");

    await using _ = await connectAll(server, ["userid=1", "userid=1"]);
    await push(server, "userid=1", "hello");

    await untilFigure(page, "Sessions", "2 1 user");
    await untilFigure(page, "Journal", "1 ");
    await page.until(
      `/^Push answered[\\d.]+ ms 99 % within [\\d.]+ ms$/.test(document.querySelectorAll(".tile")[3].textContent)`,
    );
  });

  test("have charts, which say what they show to who cannot see them", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connect(server, "userid=1");

    await page.until(
      `document.querySelector(".plot").getAttribute("aria-label") === "Sessions over the last minutes. Now: open 1"`,
    );
    expect(await page.evaluate<number>(`document.querySelectorAll(".plot canvas").length`)).toBe(3);
  });

  test("are not asked for while nobody can see them, nor is anything else", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await untilFigure(page, "Sessions", "0");
    const turn = `document.dispatchEvent(new Event("visibilitychange"))`;

    await page.evaluate(
      `Object.defineProperty(document, "hidden", { configurable: true, value: true }) && ${turn}`,
    );
    // One of each may be on its way, and is answered before this.
    await page.evaluate(`fetch("/healthz").then(() => true)`);
    const before = page.requests.length;
    await using _ = await connect(server, "userid=1");
    await untilPollEnds(server);
    expect(page.requests.slice(before)).toEqual([]);
    expect(await textOf(page, "#tail")).not.toContain("websocket");
    await page.evaluate(`delete document.hidden && ${turn}`);

    await untilFigure(page, "Sessions", "1");
    await untilText(page, "#tail", "websocket");
  });
});

describe.skipIf(mustSkip("chromium"))("the tail", () => {
  test("shows what happens and what this page gets, the newest first", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);
    await push(server, "userid=123&event=order", "hello");
    await push(server, "userid=456", "nobody is there");

    await untilText(page, "#tail", "message.unclaimed");

    const kinds = await page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("#tail .kind"), (kind) => kind.textContent)`,
    );
    expect(kinds.toSorted()).toEqual(["message", "message.unclaimed", "session.opened", "user.online"]);
    expect(kinds[0]).toBe("message.unclaimed");
  });

  test("shows only what has a text in it, or is of a kind", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectAll(server, ["userid=first", "userid=second"]);
    await page.until(`${rows} === 4`);

    await page.fill("#events-filter", "SECOND");
    await page.until(`${rows} === 2`);
    await choose(page, "#events-kind", "user.online");
    await page.until(`${rows} === 1`);
    expect(await textOf(page, "#tail .subject")).toBe("second");
  });

  test("stands still while it is paused, and then has what came meanwhile", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using others = new AsyncDisposableStack();
    others.use(await connect(server, "userid=first"));
    await page.until(`${rows} === 2`);

    await page.click("#events button[aria-pressed=false]");
    others.use(await connect(server, "userid=second"));
    await untilText(page, "#events", "Paused. 2 have come since.");
    expect(await page.evaluate<number>(rows)).toBe(2);
    await page.click("#events button[aria-pressed=true]");

    await page.until(`${rows} === 4`);
  });

  test("keeps no more than the newest, whatever comes, and of a long text its beginning", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);

    await pushMany(server, 1000);
    await untilReceived(page, "message 999");
    await page.until(`${rows} === 300`);
    expect(await page.evaluate<number>(`document.querySelectorAll("#received li").length`)).toBe(20);

    await push(server, "userid=123", "x".repeat(60_000));
    await untilReceived(page, `${"x".repeat(2000)}… (60,000 characters)`);
  });
});
