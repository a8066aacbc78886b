/**
 * The table of sessions: who is there, and the end of one, by mouse and by keyboard alone.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { connectAll, connectPage, openConsole, refusals, textOf, untilText } from "./console.ts";

setDefaultTimeout(60_000);

const untilRows = (page: Page, count: number) =>
  page.until(`document.querySelectorAll("tbody tr").length === ${count}`);

/** A session each of the users 0 to `count - 1`. */
const connectUsers = (server: Parameters<typeof connectAll>[0], count: number) =>
  connectAll(
    server,
    Array.from({ length: count }, (_, index) => `userid=${index}`),
  );

/** Lets no call about sessions of the page out until `release()`, and notes their methods as `asked`. */
async function holdSessions({ evaluate }: Page): Promise<void> {
  await evaluate(`void (() => {
    const { promise, resolve } = Promise.withResolvers();
    const { fetch } = globalThis;
    Object.assign(globalThis, { asked: [], release: resolve });
    globalThis.fetch = async (url, options) => {
      if (!String(url).startsWith("/sessions")) return await fetch(url, options);
      globalThis.asked.push(options.method);
      await promise;
      return await fetch(url, options);
    };
  })()`);
}

const isAsking = `document.querySelector("dialog")?.open === true`;

describe.skipIf(mustSkip("chromium"))("the table of sessions", () => {
  test("shows who is there, and which of them is this page", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7&compid=chart");
    await connectPage(page);

    await untilRows(page, 2);

    expect(
      await page.evaluate<string[]>(
        `Array.from(document.querySelectorAll("th"), (cell) => cell.textContent)`,
      ),
    ).toEqual(["User", "Component", "Transport", "Connected for", "Address", "Session", "Action"]);
    expect(await textOf(page, "tbody tr:not(.own)")).toMatch(
      /^7 chartwebsocket\d+ sloopback[\w-]{22}Disconnect$/,
    );
    expect(await textOf(page, "tbody tr.own")).toStartWith("123 this page");
    expect(other.waiting).toEqual([]);
  });

  test("shows those of a user, of a component, or of both", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    const queries = ["userid=7&compid=chart", "userid=7&compid=inbox", "userid=8&compid=inbox"];
    await using _ = await connectAll(server, queries);
    await untilRows(page, 3);

    await page.fill("#sessions-userid", "7");
    await untilRows(page, 2);
    await page.fill("#sessions-compid", "inbox");
    await untilRows(page, 1);
    await page.fill("#sessions-userid", "nobody");
    await untilText(page, "#sessions", "No session matches.");
  });

  test("has pages", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectUsers(server, 30);
    await untilRows(page, 25);

    await page.click(".pages button:last-of-type");
    await untilRows(page, 5);
    expect(await textOf(page, "tbody td")).toBe("25 ");
    await page.click(".pages button:first-of-type");
    await untilRows(page, 25);
    expect(await textOf(page, "tbody td")).toBe("0 ");
  });

  test("goes back to the page before when all on the last have gone", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectUsers(server, 25);
    await using others = new AsyncDisposableStack();
    others.use(await connect(server, "userid=last"));
    await untilRows(page, 25);
    await page.click(".pages button:last-of-type");
    await untilRows(page, 1);

    await others.disposeAsync();

    await untilRows(page, 25);
    expect(await textOf(page, "#sessions")).not.toContain("Nobody is connected.");
  });

  test("has this page on top, whoever came before, and says how many there are", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectUsers(server, 30);
    await untilRows(page, 25);

    await connectPage(page);

    await untilText(page, "tbody tr:first-child.own", "123 this page");
    await untilText(page, "#sessions .pages", "1–25 of 31, with this page on top");
    await page.click(".pages button:last-of-type");
    await untilText(page, "#sessions .pages", "26–31 of 31");
    await untilRows(page, 6);
    expect(await textOf(page, "#sessions .pages")).not.toContain("this page");
    expect(await textOf(page, "tbody tr:first-child")).toStartWith("123 this page");
    await page.fill("#sessions-userid", "7");
    await untilRows(page, 1);
    expect(await textOf(page, "tbody tr")).toStartWith("7 ");
  });

  test("goes one page on however often one asks for it before it is there, and has its number with it", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectUsers(server, 60);
    await untilText(page, "#sessions .pages", "1–25 of 60");
    await holdSessions(page);

    for (let index = 0; index < 2; index++) await page.click(".pages button:last-of-type");
    await page.until(`asked.length >= 2`);
    expect(await textOf(page, "#sessions .pages")).toContain("1–25 of");
    await page.evaluate(`void release()`);

    await untilText(page, "#sessions .pages", "26–50 of 60");
    expect(await textOf(page, "tbody td")).toBe("25 ");
    await page.click(".pages button:first-of-type");
    await untilText(page, "#sessions .pages", "1–25 of 60");
  });

  test("keeps the focus where it was at the last page and at the first", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectUsers(server, 30);
    await untilRows(page, 25);

    for (const [place, rows] of [
      ["last", 5],
      ["first", 25],
    ] as const) {
      await page.evaluate(`document.querySelector(".pages button:${place}-of-type").focus()`);
      await page.press("Enter");
      await untilRows(page, rows);
      await page.until(
        `document.activeElement.matches(".pages button:${place}-of-type[aria-disabled=true]")`,
      );
    }
  });

  test("shows nobody as the result of a filter that the server has not answered, and no time that went on", async () => {
    await using opened = await openConsole({ mayComplain: /^Failed to load/ });
    const { page, server } = opened;
    await using _ = await connectAll(server, ["userid=1", "userid=2"]);
    await untilRows(page, 2);
    const age = `document.querySelector("tbody time").textContent`;

    server.signal("SIGKILL");
    await untilText(page, "#sessions h2", "as of");
    await page.evaluate(`void (Date.now = () => ${Date.now() + 3_600_000})`);
    await page.click("tbody button");
    await page.until(isAsking);
    expect(await page.evaluate<string>(age)).toMatch(/^\d+ s$/);
    await page.press("Escape");
    await page.fill("#sessions-userid", "1");

    await untilRows(page, 0);
    await untilText(page, "#sessions", "Who is connected is not known while the server does not answer.");
  });

  test("is asked for once when the page opens, and not at every letter of a filter", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await untilText(page, "#sessions", "Nobody is connected.");
    expect(page.requests.filter((url) => url.includes("/sessions?"))).toHaveLength(1);
    await using _ = await connect(server, "userid=somebody");

    for (const text of ["s", "so", "som", "somebody"]) await page.fill("#sessions-userid", text);
    await untilRows(page, 1);

    expect(page.requests.filter((url) => url.includes("userid=so")).length).toBeLessThan(4);
    expect(page.requests.filter((url) => /userid=som?(&|$)/.test(url)).length).toBeLessThanOrEqual(1);
  });

  test("says of a filter that none can be what is wrong with it, and nothing else", async () => {
    await using opened = await openConsole({ mayComplain: refusals });
    const { page } = opened;

    await untilText(page, "#sessions", "Nobody is connected.");

    await page.fill("#sessions-userid", "x".repeat(129));

    await untilText(page, "#sessions .problem", "userid");
    expect(await textOf(page, "#sessions")).not.toContain("No session matches.");
  });

  test("shows what cannot be seen in an id, and keeps it apart from what stands around it", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connect(server, `userid=${encodeURIComponent("a\u202eb  c")}`);

    await untilText(page, "tbody bdi", "a‹U+202E›b  c");
    await untilText(page, "#tail bdi", "a‹U+202E›b  c");
    await page.click("tbody button");
    await untilText(page, "dialog h2 bdi", "a‹U+202E›b  c");
    expect(
      await page.evaluate<string>(`getComputedStyle(document.querySelector("tbody bdi")).whiteSpace`),
    ).toBe("pre-wrap");
  });

  test.each([
    ["stay away", 4500, 1],
    ["come back", 4000, 2],
  ])("ends a session that is to %s, with close code %d", async (_, code, choice) => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7");
    await untilRows(page, 1);

    await page.click("tbody button");
    await page.until(isAsking);
    await page.click(`dialog label:nth-of-type(${choice}) input`);
    await page.click("dialog .danger");

    expect((await other.closed).code).toBe(code);
    await untilRows(page, 0);
    await untilText(page, "#sessions", "Nobody is connected.");
  });

  test("ends a session once, however often one clicks, and shows that it is at it", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7");
    await untilRows(page, 1);
    await page.click("tbody button");
    await page.until(isAsking);
    await holdSessions(page);

    for (let index = 0; index < 2; index++) await page.click("dialog .danger");
    await page.until(`document.querySelector("dialog .danger[aria-busy=true]") !== null`);
    expect(await textOf(page, "dialog .danger")).toBe("Disconnecting…");
    expect(await page.evaluate<number>(`asked.filter((method) => method === "DELETE").length`)).toBe(1);
    await page.evaluate(`void release()`);

    expect((await other.closed).code).toBe(4500);
    await page.until(`document.querySelector("dialog") === null`);
  });

  test("ends none that one has thought better of", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7");
    await untilRows(page, 1);

    await page.click("tbody button");
    await page.until(isAsking);
    await page.click("dialog .actions button:first-child");

    await page.until(`document.querySelector("dialog") === null`);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
  });

  test("is usable with the keyboard alone", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7");
    await untilRows(page, 1);

    await page.evaluate(`document.querySelector("#sessions-compid").focus()`);
    await page.press("Tab");
    await page.until(`document.activeElement.closest("tbody") !== null`);
    await page.press("Enter");
    await page.until(isAsking);
    await page.press("Escape");
    await page.until(`document.querySelector("dialog") === null`);
    // Where it was left, it goes on.
    await page.until(`document.activeElement.closest("tbody") !== null`);
    await page.press("Enter");
    await page.until(`document.activeElement.closest("dialog") !== null`);
    for (const text of ["Cancel", "Disconnect"]) {
      await page.press("Tab");
      await page.until(`document.activeElement.textContent === ${JSON.stringify(text)}`);
    }
    await page.press("Enter");

    expect((await other.closed).code).toBe(4500);
    await page.until(`document.activeElement.id === "sessions-title"`);
  });

  test("tells this page when its own session is ended", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    await connectPage(page);
    await untilRows(page, 1);

    await page.click("tr.own button");
    await untilText(page, "dialog p", ": this page");
    await page.click("dialog .danger");

    await untilText(page, "#connection", "Not connected: the back end has ended the session (code 4500)");
  });
});
