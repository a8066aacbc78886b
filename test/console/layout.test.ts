/**
 * Where things are, on screens of different widths: measured, as a picture shows it and no text does.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { connectPage, openConsole, phone, pushFromPage, smallest, untilText } from "./console.ts";

setDefaultTimeout(60_000);

const light = "light";

/** A figure of each of the elements, such as `top`, in whole pixels. */
async function measure(page: Page, selector: string, figure: "top" | "bottom" | "right" | "height") {
  return await page.evaluate<number[]>(
    `Array.from(document.querySelectorAll(${JSON.stringify(selector)}), (it) => Math.round(it.getBoundingClientRect().${figure}))`,
  );
}

const countEach = (values: readonly number[]) =>
  [...Map.groupBy(values, (value) => value).values()].map(({ length }) => length);

describe.skipIf(mustSkip("chromium"))("the page", () => {
  test("has the figures in one row, or in rows that come out even, and each of their lines is one", async () => {
    await using opened = await openConsole({ settings: { webhook: "http://127.0.0.1:9/" } });
    const { page } = opened;
    await pushFromPage(page);
    await untilText(page, ".tiles", "oldest");
    await untilText(page, ".tile.bad", "none gets through");

    for (const [width, rows] of [
      [2560, [7]],
      [1280, [7]],
      [1000, [4, 3]],
      [390, [2, 2, 2, 1]],
    ] as const) {
      await page.emulate({ width, height: 800, scheme: light });
      expect(countEach(await measure(page, ".tile", "top"))).toEqual([...rows]);
      expect(countEach(await measure(page, ".tile dt", "height"))).toEqual([7]);
      expect(
        await page.evaluate<number>(
          `Array.from(document.querySelectorAll(".tile")).filter((tile) => tile.scrollWidth > tile.clientWidth).length`,
        ),
      ).toBe(0);
      // The last one fills what is left.
      const ends = await measure(page, ".tile", "right");
      expect(ends.at(-1)).toBe(Math.max(...ends));
    }
  });

  test("has on the smallest phone room for a figure's longer lines, which move nothing when they come", async () => {
    await using opened = await openConsole({ screen: { ...smallest, scheme: light } });
    const { page } = opened;
    await page.until(`document.querySelector(".tiles:not(.unknown)") !== null`);

    // At once, as the next figures are there in a moment.
    const [short, long] = await page.evaluate<object[]>(`["–", "99 % within 0.55 ms"].map((line) => {
      const tile = document.querySelector(".tile:nth-child(4)");
      tile.querySelector("small").lastChild.data = line;
      return { height: document.querySelector(".tiles").offsetHeight, tooWide: tile.scrollWidth - tile.clientWidth };
    })`);

    expect(long).toEqual({ ...short, tooWide: 0 });
  });

  test("has on the smallest phone the ids of sessions in one line each, whatever hyphens are in them", async () => {
    await using opened = await openConsole({ screen: { ...smallest, scheme: light } });
    const { page, server } = opened;
    await using _ = await connect(server, "");
    await connectPage(page);
    await page.click("tbody tr:not(.own) button");
    await page.until(`document.querySelector("dialog")?.open === true`);

    for (const place of ["#connection + .hint", "dialog h2", "dialog h2 + p"]) {
      const lines = await page.evaluate<number>(`(() => {
        const texts = document.createTreeWalker(document.querySelector("${place}"), NodeFilter.SHOW_TEXT);
        while (!/[\\w-]{22}/.test(texts.nextNode().data));
        const { currentNode: text } = texts;
        text.data = text.data.replace(/[\\w-]{22}/, "oo--xoWNWW-WWWW-WWWW-M");
        const range = document.createRange();
        range.setStart(text, text.data.indexOf("oo--"));
        range.setEnd(text, text.data.indexOf("oo--") + 22);
        return range.getClientRects().length;
      })()`);
      expect({ place, lines }).toEqual({ place, lines: 1 });
    }
    const [taken, room] = await page.evaluate<[number, number]>(
      `(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.querySelector("dialog"))`,
    );
    expect(taken).toBeLessThanOrEqual(room);
  });

  test("has the charts side by side at one height, with their legends", async () => {
    await using opened = await openConsole({ screen: { width: 1280, height: 800, scheme: light } });
    const { page } = opened;

    for (const part of [".plot", ".legend"]) expect(countEach(await measure(page, part, "top"))).toEqual([3]);
  });

  test.each([705, 740, 800])(
    "of %d px has one head, and nothing that is jumped to is behind it",
    async (width) => {
      await using opened = await openConsole({
        settings: { "api-key": apiKey },
        screen: { width, height: 700, scheme: light },
        mayComplain: /^Failed to load/,
      });
      const { page, server } = opened;
      await page.fill("#key", apiKey);
      await page.click(".key button");
      await page.until(`document.querySelector("#userid") !== null`);
      server.signal("SIGKILL");
      await untilText(page, ".top .banner", "The server does not answer");

      const [end = 0] = await measure(page, ".top", "bottom");
      const [banner] = await measure(page, ".banner", "bottom");
      const [inner = 0] = await measure(page, ".top .inner", "bottom");
      expect(await measure(page, ".top", "top")).toEqual([0]);
      expect(end - (banner ?? 0)).toBeLessThanOrEqual(1);
      expect(await measure(page, ".banner", "top")).toEqual([inner]);
      // What is scrolled to follows the head with the next frame.
      await page.until(
        `(document.querySelector("#live").scrollIntoView(), document.querySelector("#live").getBoundingClientRect().top >= ${end})`,
      );
    },
  );

  test("has all buttons of the table in one line, and ids in no more than three", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    const [userid, compid] = ["u".repeat(128), "c".repeat(128)];
    await using _ = await connect(server, `userid=${userid}&compid=${compid}`);
    await connectPage(page);
    await page.until(`document.querySelectorAll("tbody tr").length === 2`);

    expect(countEach(await measure(page, "tbody button", "right"))).toEqual([2]);
    await page.emulate({ ...phone, scheme: light });
    const lines = await page.evaluate<number[]>(
      `Array.from(document.querySelectorAll("td bdi"), (id) => Math.round(id.offsetHeight / parseFloat(getComputedStyle(id).lineHeight)))`,
    );
    expect(Math.max(...lines)).toBe(3);
    expect(
      await page.evaluate<string[]>(
        `Array.from(document.querySelectorAll("tbody tr:not(.own) bdi"), ({ title }) => title)`,
      ),
    ).toEqual([userid, compid]);
  });

  test("has the fields of a row and their labels in one line each", async () => {
    await using opened = await openConsole();

    expect(countEach(await measure(opened.page, "#events .field label", "top"))).toEqual([2]);
    expect(countEach(await measure(opened.page, "#events .field :is(input, select)", "top"))).toEqual([2]);
  });

  test("has beside each other on a wide screen what is below each other elsewhere", async () => {
    await using opened = await openConsole({ screen: { width: 2560, height: 1300, scheme: light } });
    const { page } = opened;
    const columns = ".column:first-child, .column:last-child > .card";

    expect(countEach(await measure(page, columns, "top"))).toEqual([3]);
    expect(countEach(await measure(page, "#sessions, #events", "top"))).toEqual([2]);
    await page.emulate({ width: 1440, height: 900, scheme: light });
    expect(countEach(await measure(page, columns, "top"))).toEqual([2, 1]);
    expect(countEach(await measure(page, "#sessions, #events", "top"))).toEqual([1, 1]);
  });

  test("has on a phone the setting that it names, and whom an event is about, in one line each", async () => {
    await using opened = await openConsole({
      settings: { "api-key": apiKey },
      screen: { ...phone, scheme: light },
    });
    const { page } = opened;
    expect(await page.evaluate<number>(`document.querySelector(".key code").getClientRects().length`)).toBe(
      1,
    );
    await page.fill("#key", apiKey);
    await page.click(".key button");
    await page.until(`document.querySelector("#userid") !== null`);

    await pushFromPage(page);
    await untilText(page, "#tail .kind", "message.unclaimed");

    expect(
      await page.evaluate<number>(`document.querySelector("#tail .subject").getBoundingClientRect().height`),
    ).toBeLessThan(30);
  });

  test("has letters on a phone that are large enough for it not to zoom in on a field", async () => {
    await using opened = await openConsole({ screen: { ...phone, scheme: light } });

    const sizes = await opened.page.evaluate<number[]>(
      `Array.from(document.querySelectorAll("input:not([type=radio]), select, textarea"), (field) => parseFloat(getComputedStyle(field).fontSize))`,
    );

    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(16);
  });
});
