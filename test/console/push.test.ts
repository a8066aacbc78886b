/**
 * Pushes from the form: one at a time, of any length, and what is said of each as long as it holds.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { run } from "../support/process.ts";
import { mustSkip } from "../support/system.ts";
import { connectPage, openConsole, pushFromPage, textOf, untilText } from "./console.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");

/** Lets no push of the page out until `release()`, and counts them as `pushes`. */
async function holdPushes(page: Page): Promise<void> {
  await page.evaluate(`void (() => {
    const { promise, resolve } = Promise.withResolvers();
    const { fetch } = globalThis;
    Object.assign(globalThis, { pushes: 0, release: resolve });
    globalThis.fetch = async (url, options) => {
      if (!String(url).startsWith("/push")) return await fetch(url, options);
      globalThis.pushes++;
      await promise;
      return await fetch(url, options);
    };
  })()`);
}

const outcomeClass = `document.querySelector("#outcome").className`;

describe.skipIf(isMissing)("a push", () => {
  test("that is not answered yet is not made again by more clicks", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    await connectPage(page);
    await holdPushes(page);

    for (let index = 0; index < 3; index++) await page.click("#push");
    await untilText(page, "#push", "Pushing…");
    expect(await page.evaluate<string>(`document.querySelector("#push").ariaBusy`)).toBe("true");
    await page.evaluate(`void release()`);

    await untilText(page, "#outcome", "Sent to 1 session");
    expect(await page.evaluate<number>(`pushes`)).toBe(1);
    expect(await textOf(page, "#push")).toBe("Push");
    await page.click("#push");
    await page.until(`pushes === 2`);
  });

  test("of what is in the fields no longer says nothing any more", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    await connectPage(page);
    await pushFromPage(page);

    await page.fill("#message", "another");
    await page.until(`document.querySelector("#outcome").textContent === ""`);
    await pushFromPage(page);
    await page.click(`input[value="user"]`);
    await page.until(`document.querySelector("#outcome").textContent === ""`);
  });

  test.each([
    ["user", "No page is connected as 123. The message is kept"],
    ["component", "No page is connected with the component inbox. The message is kept"],
    ["all", "No page is connected. The message is kept"],
  ])("to %s that reaches nobody says so, and is not shown as a success", async (target, said) => {
    await using opened = await openConsole();
    const { page } = opened;

    await page.click(`input[value="${target}"]`);
    await pushFromPage(page);

    expect(await textOf(page, "#outcome")).toStartWith(said);
    expect(await page.evaluate<string>(outcomeClass)).toBe("state unclaimed");
    expect(await textOf(page, "#outcome")).toEndWith("Connect first to see it arrive.");
  });
});

/** Longer than a URL may be where there is a proxy, and as a whole what a shell or curl could take for something else. */
const hostile = `@/etc/passwd 'it''s' "quoted" \`id\` $(id) \\ %41 +&=#\n--data @x\n\n`;
const long = `${hostile}${"\u00e9'x ".repeat(2000)}\n`;

describe.skipIf(isMissing || mustSkip("curl"))("a message that is too long for a URL", () => {
  test("is pushed as a body, by the form and by the line for a shell, byte for byte", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    await page.fill("#userid", hostile.trim().replaceAll("\n", " "));
    await page.fill("#event", "it's");
    await connectPage(page);
    await page.fill("#message", long);

    await pushFromPage(page);
    expect(await textOf(page, "#outcome")).toStartWith("Sent to 1 session");
    expect(page.requests.filter((url) => url.length > 8192)).toEqual([]);
    await page.until(`document.querySelectorAll("#received li").length === 1`);

    const { stdout } = await run(["sh", "-c", await textOf(page, "#curl code")]);
    expect(JSON.parse(stdout)).toMatchObject({ sessions: 1 });
    await page.until(`document.querySelectorAll("#received li").length === 2`);
    const texts = await page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("#received .text"), (text) => text.textContent)`,
    );
    const shown = `${long.slice(0, 2000)}… (${long.length.toLocaleString("en")} characters)`;
    expect(texts).toEqual([shown, shown]);
  });

  test("is the same to its end", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await page.click(`input[value="all"]`);
    await page.fill("#message", long);
    await using other = await connect(server);

    await run(["sh", "-c", await textOf(page, "#curl code")]);

    expect(await other.next()).toBe(long);
  });
});
