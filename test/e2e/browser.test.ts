/**
 * A real browser against the compiled file: the three steps that the whole product is about, and the API's documentation.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { closeBrowser, openPage } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { compiledFile, root, run, type ServerProcess, startProcess } from "../support/process.ts";
import { readMetrics } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";

const isMissing = mustSkip("chromium");
const readme = await Bun.file(join(root, "README.md")).text();

// Chromium itself takes seconds to start on a busy machine.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

async function startServer(): Promise<ServerProcess> {
  return await startProcess([compiledFile, "--port=0", "--log-format=json"]);
}

/** The page of the README, with the port of the server under test. */
function toPage({ port }: ServerProcess): string {
  const [, page = ""] = /^```html\n([\s\S]*?)^```/m.exec(readme) ?? [];
  return page.replace(":8888", `:${port}`);
}

/** A page that keeps its socket, and what has arrived on it. */
function toOpenPage({ port }: ServerProcess): string {
  return `<script>
const socket = new WebSocket("ws://localhost:${port}/ws?userid=123&compid=inbox"), received = [];
socket.binaryType = "arraybuffer";
socket.onmessage = (e) => received.push(e.data);
</script>`;
}

async function write(page: string): Promise<Folder & { url: string }> {
  const folder = await makeFolder({ "page.html": page });
  return { ...folder, url: pathToFileURL(folder.file("page.html")).href };
}

describe("the page of the README gets what curl pushes", () => {
  const isIncomplete = isMissing || mustSkip("curl");

  test.skipIf(isIncomplete)("when it is opened from a file", async () => {
    await using server = await startServer();
    await using file = await write(toPage(server));
    await using page = await openPage();
    await page.show(file.url);
    await untilSessions(server, 1);

    await run(["curl", `http://localhost:${server.port}/push?userid=123&compid=inbox&message=hello`]);

    await page.until(`document.body?.textContent === "hello"`);
    expect(page.complaints).toEqual([]);
  });

  test.skipIf(isIncomplete)("when it comes from another port of localhost", async () => {
    await using server = await startServer();
    const headers = { "Content-Type": "text/html" };
    await using site = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(toPage(server), { headers }),
    });
    await using page = await openPage();
    await page.show(`http://localhost:${site.port}/page`);
    await untilSessions(server, 1);

    await run(["curl", `http://localhost:${server.port}/push?userid=123&compid=inbox&message=hello`]);

    await page.until(`document.body?.textContent === "hello"`);
    expect(page.requests).toContain(`ws://localhost:${server.port}/ws?userid=123&compid=inbox`);
  });
});

test.skipIf(isMissing)(
  "a page of another port reads why it is refused, and may say where to start",
  async () => {
    await using server = await startServer();
    const headers = { "Content-Type": "text/html" };
    await using site = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("<p>", { headers }),
    });
    await using page = await openPage();
    await page.show(`http://localhost:${site.port}/page`);
    const read = (path: string, shown: string, init = "{}") =>
      page.evaluate<unknown>(
        `fetch("${server.url}${path}", ${init}).then(async (answer) => [answer.status, ${shown}])`,
      );

    expect(await read("/ws", "(await answer.json()).code")).toEqual([426, "upgrade_required"]);
    expect(await read("/sse?user=1", "(await answer.json()).code")).toEqual([400, "unknown_parameter"]);
    const remembered = '{ headers: { "Last-Event-ID": "00000000-1" } }';
    expect(await read("/sse", 'answer.headers.get("Server-Push-Resumed")', remembered)).toEqual([
      200,
      "false",
    ]);
  },
);

test.skipIf(isMissing)("messages arrive in order, every character as it is", async () => {
  await using server = await startServer();
  await using file = await write(toOpenPage(server));
  await using page = await openPage();
  await page.show(file.url);
  await untilSessions(server, 1);
  const messages = [
    "\u00fc \u4f60\u597d \u{1f600}",
    "\u0000\r\n\t\u2028",
    "<b>&amp;</b>",
    "x".repeat(65_536),
  ];

  for (const message of messages) await push(server, "userid=123", message);

  await page.until(`received.length === ${messages.length}`);
  expect(await page.evaluate<string[]>("received")).toEqual(messages);
});

test.skipIf(isMissing)("a binary message arrives as bytes", async () => {
  await using server = await startServer();
  await using file = await write(toOpenPage(server));
  await using page = await openPage();
  await page.show(file.url);
  await untilSessions(server, 1);
  const body = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const headers = { "Content-Type": "application/octet-stream" };

  await fetch(`${server.url}/push?compid=inbox`, { method: "POST", body, headers });

  await page.until("received.length === 1");
  expect(await page.evaluate<number[]>("[...new Uint8Array(received[0])]")).toEqual([...body]);
});

test.skipIf(isMissing)("what a page sends reaches the server", async () => {
  await using server = await startServer();
  await using file = await write(toOpenPage(server));
  await using page = await openPage();
  await page.show(file.url);
  await untilSessions(server, 1);

  await page.until("socket.readyState === WebSocket.OPEN");
  await page.evaluate(`socket.send("hello, server")`);

  await eventually(
    "the message",
    async () => (await readMetrics(server)).get("server_push_received_total") === 1,
  );
});

test.skipIf(isMissing)("of two tabs of one user, the one that stays still gets everything", async () => {
  await using server = await startServer();
  await using file = await write(toOpenPage(server));
  await using stays = await openPage();
  await stays.show(file.url);
  {
    await using leaves = await openPage();
    await leaves.show(file.url);
    await untilSessions(server, 2);
  }
  await untilSessions(server, 1);

  expect(await push(server, "userid=123&compid=inbox", "still there?")).toMatchObject({ sessions: 1 });

  await stays.until(`received.includes("still there?")`);
});

test.skipIf(isMissing)(
  "a page that goes elsewhere is no session any more, and comes back as a new one",
  async () => {
    await using server = await startServer();
    await using file = await write(toOpenPage(server));
    await using page = await openPage();
    await page.show(file.url);
    await untilSessions(server, 1);

    await page.show("about:blank");
    await untilSessions(server, 0);
    await page.show(file.url);
    await untilSessions(server, 1);

    await pushToAll(server, "welcome back");
    await page.until(`received.includes("welcome back")`);
  },
);

test.skipIf(isMissing)("a page is told why its session ends when the server restarts", async () => {
  await using server = await startServer();
  await using file = await write(toOpenPage(server));
  await using page = await openPage();
  await page.show(file.url);
  await untilSessions(server, 1);
  await page.evaluate(
    "void (socket.onclose = ({ code, reason }) => { document.title = `${code} ${reason}` })",
  );

  await server.drain();

  await page.until(`document.title === "1012 the server restarts"`);
});

describe("the API's documentation", () => {
  interface ApiDocument {
    readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string }>>>>;
  }

  test.skipIf(isMissing)("shows every operation", async () => {
    await using server = await startServer();
    const api: ApiDocument = JSON.parse(await (await fetch(`${server.url}/swagger/json`)).text());
    const operations = Object.values(api.paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId }) => operationId),
    );
    await using page = await openPage();

    await page.show(`${server.url}/swagger`);
    await page.until(`document.querySelectorAll(".opblock").length >= ${operations.length}`);

    const shown = await page.evaluate<string[]>(
      `[...document.querySelectorAll(".opblock")].map(({ id }) => id.split("-").at(-1))`,
    );
    expect(shown.toSorted()).toEqual(operations.toSorted());
    await save(await page.screenshot());
  });

  test.skipIf(isMissing)("asks nobody but its own server, and has nothing to complain about", async () => {
    await using server = await startServer();
    await using page = await openPage();

    await page.show(`${server.url}/swagger`);
    await page.until(`document.querySelector(".opblock") !== null`);
    await page.evaluate(
      `document.querySelectorAll(".opblock-summary-control").forEach((button) => button.click())`,
    );
    await page.until(`document.querySelectorAll(".opblock:not(.is-open)").length === 0`);

    const elsewhere = page.requests.filter(
      (url) => ![server.url, "data:", "about:"].some((own) => url.startsWith(own)),
    );
    expect(elsewhere).toEqual([]);
    expect(page.complaints).toEqual([]);
  });

  test.skipIf(isMissing)("can push: what is tried out there arrives", async () => {
    await using server = await startServer();
    await using file = await write(toOpenPage(server));
    await using listener = await openPage();
    await listener.show(file.url);
    await untilSessions(server, 1);
    await using page = await openPage();
    await page.show(`${server.url}/swagger#/publishers/getPush`);
    await page.until(`document.querySelector("#operations-publishers-getPush .try-out__btn") !== null`);

    await page.evaluate(`document.querySelector("#operations-publishers-getPush .try-out__btn").click()`);
    await page.until(`document.querySelector("#operations-publishers-getPush .execute") !== null`);
    await page.evaluate(`document.querySelector("#operations-publishers-getPush .execute").click()`);

    await listener.until(`received.includes("hello")`);
  });
});

/** Keeps a picture of the page where the variable says, for whoever wants to look at it. */
async function save(picture: Uint8Array): Promise<void> {
  const path = process.env["TEST_SCREENSHOT"];
  if (path !== undefined) await Bun.write(path, picture);
}
