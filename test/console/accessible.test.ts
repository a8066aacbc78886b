/**
 * Every state of the page, in light and dark, on a phone and on a large screen: axe finds nothing serious, and nothing is wider than
 * the screen.
 *
 *   TEST_SCREENSHOT=a.png npm test -- test/console/accessible.test.ts      also keeps a-STATE-SCREEN-SCHEME.png of each
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import {
  connectPage,
  type ConsoleOptions,
  desktop,
  type OpenedConsole,
  openConsole,
  phone,
  pushFromPage,
  refusals,
  smallest,
  untilReceived,
  untilText,
} from "./console.ts";

setDefaultTimeout(60_000);

const axe = await Bun.file(Bun.resolveSync("axe-core/axe.min.js", import.meta.dir)).text();

interface State extends Pick<ConsoleOptions, "settings" | "mayComplain"> {
  /** Brings the page there; what others do is undone at the end. */
  readonly reach: (opened: OpenedConsole, others: AsyncDisposableStack) => Promise<void>;
  /** Only what is on the screen is kept as a picture: the rest is behind it. */
  readonly isModal?: boolean;
}

const locked = { settings: { "api-key": apiKey } };

const states: Readonly<Record<string, State>> = {
  first: { reach: async ({ page }) => await page.until(`document.querySelector(".tile") !== null`) },
  busy: { reach: fill },
  dialog: {
    isModal: true,
    async reach(opened, others) {
      await fill(opened, others);
      await opened.page.click("tbody button");
      await opened.page.until(`document.querySelector("dialog")?.open === true`);
    },
  },
  paused: {
    async reach(opened, others) {
      await fill(opened, others);
      await opened.page.click("#events button[aria-pressed]");
      await untilText(opened.page, "#events", "Paused.");
      await opened.page.fill("#event", "push.");
      await opened.page.click("#push");
      await untilText(opened.page, "#outcome", "push.");
    },
    mayComplain: refusals,
  },
  key: { ...locked, reach: async () => {} },
  "key-wrong": {
    ...locked,
    mayComplain: refusals,
    async reach({ page }) {
      await giveKey(page, "fedcba9876543210");
      await untilText(page, "#key-problem", "This is not one of the server's API keys.");
    },
  },
  foreign: {
    settings: { "jwt-secret": "s".repeat(32), webhook: "http://127.0.0.1:9/" },
    async reach({ page }) {
      await page.click("#connect");
      await untilText(page, "#connection", "clients need a token");
      await pushFromPage(page);
      await page.until(`document.querySelectorAll(".tile").length === 7`);
    },
  },
  "with-key": {
    ...locked,
    async reach({ page }) {
      await giveKey(page, apiKey);
      await page.until(`document.querySelector("#userid") !== null`);
      await connectPage(page);
      await pushFromPage(page);
      await untilReceived(page, "hello");
    },
  },
  down: {
    mayComplain: /^Failed to load|^WebSocket connection/,
    async reach(opened, others) {
      await fill(opened, others);
      opened.server.signal("SIGKILL");
      await untilText(opened.page, "[role=alert]", "The server does not answer");
      await untilText(opened.page, "#connection", "Connecting again");
    },
  },
};

/**
 * What reaches out of the cell, the tile, the card or the button that it stands in, and so lies over what is beside it. A plot cuts off
 * what it holds, which has its size a frame later; and what is only read aloud lies nowhere.
 */
async function findOutside(page: Page): Promise<readonly string[]> {
  return await page.evaluate(`Array.from(document.querySelectorAll("th, td, .tile, .card, button, .badge")).flatMap((box) => {
    const room = box.getBoundingClientRect();
    const walker = document.createTreeWalker(box);
    const outside = [];
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      if (node.parentElement.closest(".plot, .unseen") !== null) continue;
      const range = document.createRange();
      range.selectNode(node);
      const isOutside = Array.from((node.nodeType === Node.TEXT_NODE ? range : node).getClientRects()).some(({ left, right, width }) =>
        width > 0 && (left < room.left - 0.5 || right > room.right + 0.5));
      if (isOutside) outside.push(box.tagName + "." + box.className + ": " + (node.textContent.trim() || node.outerHTML));
    }
    return outside;
  })`);
}

/** Sessions, messages and events, with names as long as they may be. */
async function fill({ page, server }: OpenedConsole, others: AsyncDisposableStack): Promise<void> {
  for (const query of ["userid=7", "compid=chart", "", `userid=${"u".repeat(128)}&compid=${"c".repeat(128)}`])
    others.use(await connect(server, query));
  await connectPage(page);
  await page.fill("#message", `it's <b>bold</b>\n${"long".repeat(60)}`);
  await page.fill("#event", "order");
  await pushFromPage(page);
  await page.until(`document.querySelectorAll("tbody tr").length === 5`);
  await page.until(`document.querySelectorAll("#tail li").length >= 7`);
}

async function giveKey(page: Page, key: string): Promise<void> {
  await page.fill("#key", key);
  await page.click(".key button");
}

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly targets: readonly string[];
}

async function findViolations(page: Page): Promise<readonly Violation[]> {
  if (await page.evaluate<boolean>(`typeof axe === "undefined"`)) await page.evaluate(`(() => { ${axe} })()`);
  return await page.evaluate(
    `axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations
      .map(({ id, impact, nodes }) => ({ id, impact, targets: nodes.map(({ target }) => String(target)) })))`,
  );
}

const screens = { desktop, phone };

describe.skipIf(mustSkip("chromium"))("the page", () => {
  test.each(Object.entries(states))("is accessible, and fits the screen: %s", async (name, state) => {
    await using opened = await openConsole(state);
    await using others = new AsyncDisposableStack();
    const { page } = opened;
    await state.reach(opened, others);

    for (const [size, screen] of Object.entries(screens))
      for (const scheme of ["light", "dark"] as const) {
        await page.emulate({ ...screen, scheme });
        await keepPicture(page, `${name}-${size}-${scheme}`, state);
        const found = await findViolations(page);
        const grave = found.filter(({ impact }) => impact === "serious" || impact === "critical");
        const tooWide = await page.evaluate<number>(
          `document.documentElement.scrollWidth - document.documentElement.clientWidth`,
        );
        expect({ size, scheme, grave, tooWide }).toEqual({ size, scheme, grave: [], tooWide: 0 });
      }
  });

  test("fits the smallest phone and the widest screen", async () => {
    await using opened = await openConsole();
    await using others = new AsyncDisposableStack();
    const { page } = opened;
    await fill(opened, others);
    await page.until(`document.querySelector(".unseen[role=status]").textContent !== ""`);

    for (const width of [smallest.width, 340, 360, 375, 390, 600, 768, 1024, 2560]) {
      await page.emulate({ width, height: 800, scheme: "light" });
      const found = {
        tooWide: await page.evaluate<boolean>(`document.documentElement.scrollWidth > ${width}`),
        outside: await findOutside(page),
      };
      expect({ width, ...found }).toEqual({ width, tooWide: false, outside: [] });
    }
  });

  test("says what happens to who listens, but not all of it", async () => {
    await using opened = await openConsole();

    const live = await opened.page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("#connection, #outcome, #tail, .tiles"), (element) => element.id + " " + (element.role ?? "") + " " + (element.ariaLive ?? ""))`,
    );

    expect(live).toEqual(["connection status ", "outcome status ", "  ", "tail region "]);
  });

  test("is left and entered by the keyboard in the order in which it stands", async () => {
    await using opened = await openConsole();
    const { page } = opened;

    const order: string[] = [];
    for (let index = 0; index < 20; index++) {
      await page.press("Tab");
      order.push(
        await page.evaluate(
          `[document.activeElement].map(({ id, value, textContent }) => id || value || textContent)[0]`,
        ),
      );
    }

    expect(order).toEqual([
      "Skip to the content",
      "Try it",
      "Live",
      "Sessions",
      "Events",
      "API",
      "Copy",
      "userid",
      "compid",
      "connect",
      "message",
      "both",
      "event",
      "push",
      "Copy",
      "curl",
      "Copy",
      "page",
      "sessions-userid",
      "sessions-compid",
    ]);
  });
});

async function keepPicture(page: Page, name: string, { isModal = false }: State): Promise<void> {
  const path = process.env["TEST_SCREENSHOT"];
  if (path === undefined) return;
  await Bun.write(
    path.replace(/(\.png)?$/, `-${name}.png`),
    await (isModal ? page.screenshot() : page.picture()),
  );
}
