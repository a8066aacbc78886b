/**
 * Try it: what a new user does first. What the page shows to copy is run as it is written, in a shell and in another page.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { toVisible } from "../../src/console/format.ts";
import { openPage } from "../support/browser.ts";
import { push, untilSessions } from "../support/calls.ts";
import { run } from "../support/process.ts";
import { mustSkip } from "../support/system.ts";
import {
  connectPage,
  noteSaid,
  openConsole,
  pushFromPage,
  refusals,
  textOf,
  untilReceived,
  untilText,
} from "./console.ts";

setDefaultTimeout(60_000);

const isMissing = mustSkip("chromium");
const isIncomplete = isMissing || mustSkip("curl");

/** What would end quotes, be run, be markup, or be decoded once too often. */
const nasty = [
  `it's "quoted" \`and\` \\ more`,
  "$(touch /tmp/x) ${HOME} $HOME ; & | > < !! # ~ *",
  "<script>alert(1)</script><!-- </script -->",
  "100 % %41 +plus+ a=b&c=d @file",
  "\u{1F600} \u00e9\u4e16\u2028",
];

describe.skipIf(isMissing)("the page", () => {
  test("says where to push to, and connects, pushes and shows the message", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;

    expect(await textOf(page, ".address code")).toBe(`${server.url}/push`);
    await connectPage(page);
    await pushFromPage(page);

    await untilReceived(page, "hello");
    expect(await textOf(page, "#connection")).toStartWith("Connected as 123 / inbox, over a WebSocket");
    expect(await textOf(page, "#outcome")).toMatch(/^Sent to 1 session, as \w+-1$/);
  });

  test("shows an event's name, and bytes as what they are", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);

    await page.fill("#event", "order");
    await pushFromPage(page);
    await untilReceived(page, "hello");
    expect(await textOf(page, "#received b")).toBe("order");

    const bytes = { "Content-Type": "application/octet-stream" };
    await fetch(`${server.url}/push?userid=123`, {
      method: "POST",
      headers: bytes,
      body: new Uint8Array([0, 1, 255]),
    });
    await untilReceived(page, "3 bytes: 00 01 ff");
  });

  test.each([
    ["user", "user", 1],
    ["component", "component", 1],
    ["all", "everybody", 1],
  ])("pushes to %s", async (target) => {
    await using opened = await openConsole();
    const { page } = opened;
    await connectPage(page);

    await page.click(`input[value="${target}"]`);
    await page.fill("#message", `to ${target}`);
    await pushFromPage(page);

    await untilReceived(page, `to ${target}`);
  });

  test("says that nobody was there, and what is wrong with a push that is refused", async () => {
    await using opened = await openConsole({ mayComplain: refusals });
    const { page } = opened;

    await pushFromPage(page);
    expect(await textOf(page, "#outcome")).toBe(
      "No page is connected as 123 / inbox. The message is kept for whoever comes back. Connect first to see it arrive.",
    );

    // It must not become a push to all of the user's components.
    await page.fill("#compid", "");
    await page.click("#push");
    await untilText(page, "#outcome", "parameter compid is empty");
  });

  test("with tokens of another issuer alone it says that it can get none, and what its snippet needs", async () => {
    await using opened = await openConsole({
      settings: { "jwt-secret": "s".repeat(32) },
    });
    const { page } = opened;

    await page.click("#connect");

    await untilText(page, "#connection", "Not connected: clients need a token");
    expect(await textOf(page, "#connect")).toBe("Connect");
    expect(await textOf(page, "#try .hint")).toContain("Pages need a token here");
    expect(await textOf(page, "#page code")).toContain(`connect({ compid: "inbox", token: getToken })`);
    expect(await textOf(page, "#curl code")).not.toContain("Authorization");
    await pushFromPage(page);
    expect(await textOf(page, "#outcome")).toStartWith("No page is connected");
  });

  test("where no token is needed to be nobody, it connects as nobody", async () => {
    await using opened = await openConsole({
      settings: { "jwt-secret": "s".repeat(32), anonymous: "true" },
    });
    const { page } = opened;

    await page.fill("#userid", "");
    await page.fill("#compid", "");
    await connectPage(page);
    await page.click(`input[value="all"]`);
    await pushFromPage(page);

    await untilReceived(page, "hello");
  });

  test("is somebody else only when it is nobody first", async () => {
    await using opened = await openConsole();
    const { page } = opened;
    const isReadOnly = `Array.from(document.querySelectorAll("#userid, #compid"), ({ readOnly }) => readOnly).join()`;
    expect(await page.evaluate<string>(isReadOnly)).toBe("false,false");

    await connectPage(page);
    expect(await page.evaluate<string>(isReadOnly)).toBe("true,true");
    await untilText(page, "#try", "Disconnect to be somebody else.");
    await page.click("#connect");

    await page.until(`${isReadOnly} === "false,false"`);
  });

  test("takes a double click on Connect for one", async () => {
    await using opened = await openConsole();
    const { page } = opened;

    const click = (detail: number) =>
      page.evaluate(
        `void document.querySelector("#connect").dispatchEvent(new MouseEvent("click", { detail: ${detail}, bubbles: true, cancelable: true }))`,
      );

    await click(1);
    await untilText(page, "#connect", "Disconnect");
    await click(2);

    await untilText(page, "#connection", "Connected");
  });

  test("stays connected when Enter is pressed in a field again, and moves nothing when it connects", async () => {
    await using opened = await openConsole({ screen: { width: 1280, height: 800, scheme: "light" } });
    const { page } = opened;
    const place = `Math.round(document.querySelector("#push").getBoundingClientRect().top + scrollY)`;
    const before = await page.evaluate<number>(place);

    await page.evaluate(`document.querySelector("#userid").focus()`);
    await page.press("Enter");
    await untilText(page, "#connection", "Connected");
    expect(await page.evaluate<number>(place)).toBe(before);
    await page.press("Enter");
    await pushFromPage(page);

    await untilReceived(page, "hello");
    expect(await textOf(page, "#connection")).toStartWith("Connected");
    await page.click("#connect");
    await untilText(page, "#connection", "Not connected");
  });

  test("tells who cannot see the messages how many there are, and the newest", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);
    for (const text of ["first", "second", "third"]) await push(server, "userid=123", text);

    await untilReceived(page, "third");
    await untilText(page, `#try .unseen[role="status"]`, "3 messages, the newest: third");
    expect(await page.evaluate<number>(`document.querySelectorAll("#received[aria-live]").length`)).toBe(0);
  });

  test("goes away when it is told to", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);

    await page.click("#connect");

    await untilText(page, "#connection", "Not connected");
    await untilSessions(server, 0);
    expect((await push(server, "userid=123", "hello")).sessions).toBe(0);
  });

  test("connects where clients have a port of their own", async () => {
    await using opened = await openConsole({ settings: { "api-port": "0" } });
    const { page, server } = opened;

    await connectPage(page);
    await pushFromPage(page);

    await untilReceived(page, "hello");
    expect(page.requests).toContain(`${server.url.replace("http", "ws")}/ws?userid=123&compid=inbox`);
    expect(await textOf(page, "#page code")).toContain(`src="${server.url}/client.js"`);
    expect(await textOf(page, "#curl code")).toContain(`${server.apiUrl}/push`);
  });

  test.each([true, false])("copies the call with one click, whether it has a clipboard: %p", async (has) => {
    await using opened = await openConsole();
    const { page } = opened;
    const button = `button[aria-label="Copy: The same push, from a shell"]`;
    await page.evaluate(`void Object.defineProperty(globalThis, "isSecureContext", { value: ${has} })`);
    await page.evaluate(
      `void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })`,
    );
    await page.evaluate(
      `void document.addEventListener("copy", ({ target }) => { globalThis.copied = target.value; })`,
    );

    await page.click(button);

    await page.until(`globalThis.copied === document.querySelector("#curl code").textContent`);
    await untilText(page, ".snippet .said", "Copied");
    expect(await page.evaluate<boolean>(`document.activeElement.matches('${button}')`)).toBe(true);
  });
});

test.skipIf(isMissing)("a second copy is said like the first, and for as long", async () => {
  await using opened = await openConsole();
  const { page } = opened;
  const button = `button[aria-label="Copy: The same push, from a shell"]`;
  // What is to be done in two seconds is done when the test says so.
  await page.evaluate(`void (() => {
    navigator.clipboard.writeText = async () => {};
    const { setTimeout, clearTimeout } = globalThis;
    globalThis.due = new Map();
    globalThis.setTimeout = (run, ms, ...rest) => {
      const timer = setTimeout(run, ms === 2000 ? 2 ** 30 : ms, ...rest);
      if (ms === 2000) due.set(timer, run);
      return timer;
    };
    globalThis.clearTimeout = (timer) => {
      due.delete(timer);
      clearTimeout(timer);
    };
  })()`);
  await page.click(button);
  await untilText(page, ".snippet .said", "Copied");
  await noteSaid(page, ".snippet .said");
  await page.evaluate(`void (globalThis.ofFirst = [...due.keys()])`);

  await page.click(button);
  await page.until(`globalThis.said.join() === "Copied"`);
  const left = await page.evaluate<string>(`(async () => {
    ofFirst.forEach((timer) => due.get(timer)?.());
    // Shown is what has changed in the next frame.
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    return document.querySelector(".snippet .said").textContent;
  })()`);

  expect(left).toBe("Copied");
  await page.evaluate(`due.forEach((run) => run())`);
  await page.until(`document.querySelector(".snippet .said").textContent === ""`);
});

describe.skipIf(isIncomplete)("the line for a shell, run as it is written,", () => {
  test("pushes what the form says", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    await connectPage(page);

    const shown = await textOf(page, "#curl code");
    const { status, stdout } = await run(["sh", "-c", shown]);

    expect(shown).toBe(`curl '${server.url}/push?userid=123&compid=inbox&message=hello'`);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sessions: 1 });
    await untilReceived(page, "hello");
  });

  test("pushes whatever is typed, byte for byte", async () => {
    await using opened = await openConsole();
    const { page } = opened;

    for (const [index, text] of nasty.entries()) {
      await page.fill("#userid", `${index} ${text}`);
      await page.fill("#compid", text);
      await page.fill("#event", text.slice(0, 20));
      await page.fill("#message", `${text}\n\nlast ${index}\n`);
      await connectPage(page);
      const { stdout } = await run(["sh", "-c", await textOf(page, "#curl code")]);

      expect(JSON.parse(stdout)).toMatchObject({ sessions: 1 });
      await untilReceived(page, `${text}\n\nlast ${index}\n`);
      expect(await textOf(page, "#received b")).toBe(toVisible(text.slice(0, 20)));
      await page.click("#connect");
      await untilText(page, "#connection", "Not connected");
    }
  });
});

describe.skipIf(isMissing)("the page to copy, opened as it is,", () => {
  test("gets what is pushed to whatever is typed", async () => {
    await using opened = await openConsole();
    const { page, server } = opened;
    let shown = "";
    await using site = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () =>
        new Response(`<script>logged = []; console.log = (it) => logged.push(it);</script>${shown}`, {
          headers: { "Content-Type": "text/html; charset=utf-8" },
        }),
    });
    await using copy = await openPage();

    for (const text of ["123", ...nasty]) {
      await page.fill("#userid", text);
      await page.fill("#compid", text);
      await page.fill("#event", text === "123" ? "" : text.slice(0, 20));
      shown = await textOf(page, "#page code");
      await copy.show(site.url.href);
      const query = new URLSearchParams({ userid: text, compid: text }).toString();
      await copy.until(
        `fetch("${server.url}/presence?${query.replaceAll("'", "%27")}").then(() => true, () => true)`,
      );
      await page.until(
        `fetch("/presence?${query}").then((answer) => answer.json()).then(({ online }) => online)`,
      );
      await pushFromPage(page);

      await copy.until(`logged.includes("hello")`);
    }
    // The nasty ones are the ids of no scripts that ran.
    expect(
      copy.complaints.filter((text) => !text.includes("CORS") && !text.includes("Failed to load")),
    ).toEqual([]);
  });
});
