/**
 * The table of sessions: who is there, and the end of one, by mouse and by keyboard alone.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Page } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import { connectAll, connectPage, openConsole, textOf, untilText } from "./console.ts";

setDefaultTimeout(30_000);

const untilRows = (page: Page, count: number) =>
  page.until(`document.querySelectorAll("tbody tr").length === ${count}`);

const isAsking = `document.querySelector("dialog")?.open === true`;

describe.skipIf(mustSkip("chromium"))("the table of sessions", () => {
  test("shows who is there, and which of them is this page", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using other = await connect(server, "userid=7&compid=chart");
    await connectPage(page);

    await untilRows(page, 2);

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
    await untilText(page, "#sessions", "No session is of these.");
  });

  test("has pages", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await using _ = await connectAll(
      server,
      Array.from({ length: 30 }, (__, index) => `userid=${index}`),
    );
    await untilRows(page, 25);

    await page.click(".pages button:last-child");
    await untilRows(page, 5);
    expect(await textOf(page, "tbody td")).toBe("25 ");
    await page.click(".pages button:first-child");
    await untilRows(page, 25);
    expect(await textOf(page, "tbody td")).toBe("0 ");
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
    await page.click("dialog .danger");

    await untilText(page, "#connection", "Not connected: the back end has ended the session (code 4500)");
  });
});
