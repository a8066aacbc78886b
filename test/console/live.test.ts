/**
 * What flows: the figures, the charts, and the tail of events and messages.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { choose, connectAll, connectPage, openConsole, textOf, untilReceived, untilText } from "./console.ts";

setDefaultTimeout(60_000);

/** Waits until a figure is this. */
const untilFigure = (page: Page, title: string, value: string) =>
  page.until(
    `Array.from(document.querySelectorAll(".tile"), (tile) => tile.textContent).some((text) => text.startsWith(${JSON.stringify(title + value)}))`,
  );

const tilesHeight = `document.querySelector(".tiles").offsetHeight`;

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
    await untilFigure(page, "Sessions", "0 0 users online");

    await using _ = await connectAll(server, ["userid=1", "userid=1"]);
    await push(server, "userid=1", "hello");

    await untilFigure(page, "Sessions", "2 1 user online");
    await untilFigure(page, "Journal", "1 ");
    await page.until(
      `/^Answer to a push[\\d.]+ ms 99 % within [\\d.]+ ms$/.test(document.querySelectorAll(".tile")[3].textContent)`,
    );
  });

  test("say of nothing that it is empty, and of no webhooks nothing", async () => {
    await using opened = await openConsole();
    const { page } = opened;

    await untilFigure(page, "Journal", "0 empty");
    expect(await textOf(page, ".tiles")).not.toContain("Webhook backlog");
    expect(await textOf(page, ".charts")).toContain("99 %");
  });

  test("say when nobody takes what is posted", async () => {
    // Nothing listens there.
    await using opened = await openConsole({ settings: { webhook: "http://127.0.0.1:9/" } });
    const { page, server } = opened;
    await untilFigure(page, "Webhook backlog", "0 events");

    await using _ = await connect(server, "userid=1");

    await untilText(page, ".tile.bad", "none gets through");
  });

  test("say nothing of a time in which nobody has looked", async () => {
    await using opened = await openConsole({ settings: { webhook: "http://127.0.0.1:9/" } });
    const { page, server } = opened;
    await using _ = await connect(server, "userid=1");
    await page.until(`!document.querySelector(".tile:last-child dd").textContent.startsWith("0")`);

    // As in a tab that was hidden for a minute.
    const turned = await page.evaluate<number>(`(() => {
      const now = performance.now.bind(performance);
      performance.now = () => now() + 60_000;
      return Date.now();
    })()`);
    await untilText(page, ".tile.bad", "none gets through");

    expect((await page.evaluate<number>(`Date.now()`)) - turned).toBeGreaterThan(4000);
  });

  test("have their room before they are there, and move nothing when they come", async () => {
    await using opened = await openConsole({ settings: { "api-key": apiKey } });
    const { page } = opened;
    const place = `document.querySelector(".charts").getBoundingClientRect().top + scrollY`;
    await page.evaluate(`void (() => {
      const { promise, resolve } = Promise.withResolvers();
      const { fetch } = globalThis;
      globalThis.release = resolve;
      globalThis.fetch = async (url, options) => {
        if (url === "/metrics") await promise;
        return await fetch(url, options);
      };
    })()`);
    await page.fill("#key", apiKey);
    await page.click(".key button");
    await page.until(`document.querySelector(".tiles") !== null`);
    const before = await page.evaluate<number>(place);

    await page.evaluate(`void release()`);
    await untilFigure(page, "Journal", "0 empty");
    expect(await page.evaluate<number>(place)).toBe(before);
    await page.click(`input[value="all"]`);
    const with0 = await page.evaluate<number>(tilesHeight);
    await page.click("#push");
    await untilFigure(page, "Journal", "1 ");
    expect(await page.evaluate<number>(tilesHeight)).toBe(with0);
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

  test("have charts that say of when a value is that one points at, and to who cannot see them the newest", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await untilFigure(page, "Sessions", "0");
    await using _ = await connect(server, "userid=1");
    await untilFigure(page, "Sessions", "1");

    // Before the first point there is none, so it is that one.
    await page.until(`(() => {
      const over = document.querySelector(".plot .u-over");
      const { left, top } = over.getBoundingClientRect();
      for (const type of ["mouseenter", "mousemove"])
        over.dispatchEvent(new MouseEvent(type, { clientX: left + 2, clientY: top + 20 }));
      return /^Sessions at \\d\\d:\\d\\d:\\d\\dopen 0$/.test(document.querySelector(".chart figcaption").textContent);
    })()`);
    expect(await page.evaluate<string>(`document.querySelector(".plot").ariaLabel`)).toEndWith("Now: open 1");
  });

  test("have charts in which two curves that are equal are both seen", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connect(server, "userid=1");
    await untilFigure(page, "Messages", "0");
    const countPixels = `(() => {
      const canvas = document.querySelectorAll(".plot canvas")[1];
      const { width, height } = canvas;
      const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      let count = 0;
      // --curve-1
      for (let at = 0; at < data.length; at += 4)
        if (data[at] === 0x0a && data[at + 1] === 0x5a && data[at + 2] === 0xb0 && data[at + 3] === 255) count++;
      return count;
    })()`;

    await page.until(`${countPixels} > 20`);
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
    // It comes another way than what happens.
    await untilText(page, "#tail", "hello");
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

  test("says whom a message is for, and that a filter finds nothing of what there is", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);
    await push(server, "userid=123&event=order", "hello");

    await choose(page, "#events-kind", "message");
    await page.until(`${rows} === 1`);
    expect(await textOf(page, "#tail .subject")).toBe("123 / inbox");
    expect(await textOf(page, "#tail .body bdi")).toBe("order");
    expect(await textOf(page, "#tail .text")).toBe("hello");
    await page.fill("#events-filter", "nothing has this");
    await untilText(page, "#tail", "Nothing of what is kept matches.");
  });

  test("tells a component of nobody's from a user", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connect(server, "compid=ticker");

    await untilText(page, "#tail .subject", "none / ticker");
  });

  test("says of a session that is nobody's that it is, and of a push to all nothing", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await fetch(`${server.url}/pushtoall?message=hello`);
    await using _ = await connect(server, "");
    await page.until(`${rows} === 2`);

    const subjects = await page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("#tail li"), (row) => row.querySelector(".kind").textContent + " " + row.querySelector(".subject").textContent)`,
    );

    expect(subjects).toEqual(["session.opened none", "message.unclaimed "]);
  });

  test("counts one that has come meanwhile as one, and says where it is, and of which kinds", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await page.click("#events button[aria-pressed=false]");

    await push(server, "userid=456", "nobody is there");

    await untilText(page, "#events", "Paused. 1 has come since.");
    expect(await textOf(page, "#tail")).toBe("What has come since is shown when it goes on.");
    await choose(page, "#events-kind", "user.online");
    await untilText(page, "#events", "Paused. 1 has come since, of all kinds.");
  });

  test("shows the others too when one is tall, and what turns a text around, as what it is", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);
    const event = encodeURIComponent("a\u202eb");

    await push(server, "userid=123", "first");
    await push(server, "userid=123", "\n".repeat(1500));
    await push(server, `userid=123&event=${event}`, "last");
    await untilReceived(page, "last");
    await page.until(`document.querySelectorAll("#tail .text").length >= 3`);

    expect(await textOf(page, "#received b")).toBe("a‹U+202E›b");
    expect(await textOf(page, "#tail .body bdi")).toBe("a‹U+202E›b");
    for (const list of ["#received", "#tail"])
      expect(
        await page.evaluate<boolean>(
          `Array.from(document.querySelectorAll("${list} .text.tall"), (text) => text.offsetHeight < 150 && text.tabIndex === 0).join() === "true"`,
        ),
      ).toBe(true);
  });

  test("ends a stream that it cannot read", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    await page.evaluate(`void (() => {
      const { fetch } = globalThis;
      globalThis.fetch = async (url, options) => {
        if (!String(url).startsWith("/events")) return await fetch(url, options);
        globalThis.fetch = fetch;
        globalThis.unread = options.signal;
        return new Response(new ReadableStream({ start: (it) => it.enqueue(new TextEncoder().encode("no JSON\\n")) }));
      };
      Object.defineProperty(document, "hidden", { configurable: true, value: true });
      document.dispatchEvent(new Event("visibilitychange"));
      delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    })()`);

    await page.until(`globalThis.unread?.aborted === true`);
  });

  test("and what this page gets are shown a few times a second, however many come", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);
    await page.evaluate(`void (globalThis.turns = 0, new MutationObserver(() => turns++).observe(
      document.querySelector("#received-title").parentElement, { childList: true, subtree: true, characterData: true }))`);

    await pushMany(server, 1000);

    await untilReceived(page, "message 999");
    expect(await page.evaluate<number>(`turns`)).toBeLessThan(50);
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
