/**
 * The library in pages of a real browser, as the compiled file serves it: from wherever a page comes, and whatever is wrong with it.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { pathToFileURL } from "node:url";
import { closeBrowser, openPage } from "../support/browser.ts";
import { type Problem, push, toProblem, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import {
  complaintsOf,
  openSite,
  receivedUntil,
  recorder,
  toldOf,
  toLibraryPage,
  toLocal,
  toPage,
  type Told,
} from "../support/pages.ts";
import { everyKind, pushRound } from "../support/rounds.ts";
import { type Service, startService } from "../support/service.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";

const isMissing = mustSkip("chromium");
const inbox = { userid: "123", compid: "inbox" };

// Chromium takes seconds to start on a busy machine.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

const toModulePage = (server: { readonly port: number }) => `<!doctype html>
<script>${recorder}</script>
<script type="module">
import { connect } from "${toLocal(server)}/client.mjs";
window.push = record(connect(${JSON.stringify(inbox)}));
</script>`;

test.concurrent.skipIf(isMissing).each([
  { name: "the script", write: (server: { readonly port: number }) => toLibraryPage(server, inbox) },
  { name: "the module", write: toModulePage },
])(
  "a page with $name connects to where that is from, out of a file and from another port",
  async ({ write }) => {
    await using service = await startService();
    await using folder = await makeFolder({ "page.html": write(service) });
    await using site = openSite();
    await using fromFile = await openPage();
    await fromFile.show(pathToFileURL(folder.file("page.html")).href);
    await using fromSite = await openPage();
    await fromSite.show(site.add(write(service)));
    await untilSessions(service, 2);

    const expected = await pushRound(service, "round");

    for (const page of [fromFile, fromSite]) {
      expect(await receivedUntil(page, expected.at(-1)?.id)).toEqual(expected);
      expect(await toldOf(page, "open")).toEqual([
        { type: "open", session: expect.any(String), transport: "websocket" },
      ]);
      expect(page.complaints).toEqual([]);
    }
  },
);

test.concurrent.skipIf(isMissing)(
  "a page with a strict policy needs to allow the server alone, and asks nobody else",
  async () => {
    await using service = await startService();
    await using site = openSite();
    const [http, ws] = [toLocal(service), toLocal(service).replace("http", "ws")];
    const script = site.add(
      `${recorder}
const push = record(ServerPush.connect({ ...${JSON.stringify(inbox)}, shared: true, resume: "tab" }));`,
      { "Content-Type": "text/javascript" },
    );
    const page = `<!doctype html><script src="${http}/client.js"></script><script src="${script}"></script>`;
    const policy = [
      "default-src 'none'",
      `script-src 'self' ${http}`,
      `connect-src ${http} ${ws}`,
      "require-trusted-types-for 'script'",
    ];
    await using view = await openPage();
    await view.show(site.add(page, { "Content-Security-Policy": policy.join("; ") }));
    await untilSessions(service, 1);

    const expected = await pushRound(service, "round");

    expect(await receivedUntil(view, expected.at(-1)?.id)).toEqual(expected);
    expect(view.complaints).toEqual([]);
    expect(view.requests.filter((url) => ![http, ws, site.url].includes(new URL(url).origin))).toEqual([]);
    expect(view.requests).toContain(`${http}/client-shared.mjs?userid=123&compid=inbox&pause=0`);
  },
);

test.concurrent.skipIf(isMissing)(
  "a handler that throws is reported as any other, and its message counts as not handled",
  async () => {
    await using service = await startService();
    await using site = openSite();
    await using page = await openPage();
    await page.show(
      site.add(`${toLibraryPage(service, inbox)}<script>
const thrown = [];
window.onerror = (text) => thrown.push(text);
push.addEventListener("message", ({ data }) => {
  if (data === "bad") throw new Error("cannot handle it");
});
</script>`),
    );
    await untilSessions(service, 1);
    const pushAndWait = async (text: string, wait = 30): Promise<number> => {
      const answer = await fetch(`${service.url}/push?${everyKind}&wait=${wait}&message=${text}`);
      return JSON.parse(await answer.text()).received;
    };

    expect(await pushAndWait("good")).toBe(1);
    expect(await pushAndWait("bad", 1)).toBe(0);
    expect(await pushAndWait("better")).toBe(1);

    expect(await page.evaluate<unknown>("[received.map(({ data }) => data), thrown]")).toEqual([
      ["good", "bad", "better"],
      ["Uncaught Error: cannot handle it"],
    ]);
  },
);

test.concurrent.skipIf(isMissing)(
  "a page is told to load its state anew, once, when the server has lost its journal",
  async () => {
    await using service = await startService();
    await using site = openSite();
    await using page = await openPage();
    await page.show(site.add(toLibraryPage(service, inbox)));
    await untilSessions(service, 1);
    const before = await push(service, everyKind, "before");
    await receivedUntil(page, before.id);

    await service.restart("SIGKILL");
    await untilSessions(service, 1);
    const after = await push(service, everyKind, "after");

    expect(await receivedUntil(page, after.id)).toEqual([
      { id: before.id, data: "before" },
      { id: after.id, data: "after" },
    ]);
    expect((await toldOf(page, "open", "reset")).map(({ type, resumed }) => [type, resumed])).toEqual([
      ["open", undefined],
      ["open", false],
      ["reset", undefined],
    ]);
    expect(complaintsOf(page)).toEqual([]);
  },
);

/** What the server says to this token, in its own words. */
async function askWith(service: Service, token?: string): Promise<Problem> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return await toProblem(await fetch(`${service.url}/ws?${everyKind}`, { headers }));
}

/** It says for how long a token has expired, which is longer by the second time. */
const withoutTime = (text = "") => text.replace(/\d+ s/, "");

async function mintExpired(service: Service): Promise<string> {
  const token = await mint(service, "userid=123&expires=1");
  await eventually("its end", async () => (await askWith(service, token)).status === 401);
  return token;
}

test.concurrent.skipIf(isMissing)("a page of another site is told that it may not connect", async () => {
  await using service = await startService(`--api-key=${apiKey}`);
  await using site = openSite();
  await using page = await openPage();
  const token = await mint(service, "userid=123");

  for (const options of [inbox, { ...inbox, token }, { ...inbox, token, transports: ["sse"] }]) {
    await page.show(site.add(toPage(`http://127.0.0.1:${service.port}`, JSON.stringify(options))));
    await page.until(`push.state === "closed"`);

    const [error] = await page.evaluate<readonly Told[]>("told");
    expect(error).toMatchObject({ type: "error", code: "foreign_origin", status: 403, willReconnect: false });
    expect(error?.detail).toContain("expected one of the same host, or of an allowed origin");
  }
});

test.concurrent.skipIf(isMissing)(
  "a page is told in the server's own words what is wrong with its token",
  async () => {
    await using service = await startService(`--api-key=${apiKey}`);
    await using site = openSite();
    await using page = await openPage();

    for (const [token, code] of [
      [undefined, "unauthorized"],
      ["wrong", "unauthorized"],
      [await mintExpired(service), "unauthorized"],
      [await mint(service, "userid=456"), "forbidden"],
    ] as const) {
      const { detail, status } = await askWith(service, token);
      await page.show(site.add(toLibraryPage(service, { ...inbox, token })));
      await page.until(`push.state === "closed"`);

      const [error, close, ...rest] = await page.evaluate<readonly Told[]>("told");
      expect({ ...error, detail: withoutTime(error?.detail) }).toEqual({
        type: "error",
        code,
        status,
        willReconnect: false,
        detail: withoutTime(detail),
      });
      expect(close).toEqual({ type: "close", code: 1006, reason: error?.detail ?? "", willReconnect: false });
      expect(rest).toEqual([]);
    }
    expect(complaintsOf(page)).toEqual([]);
  },
);

test.concurrent.skipIf(isMissing)(
  "a page asks for another token when one is refused, and before one expires, and stays the same session",
  async () => {
    await using service = await startService(`--api-key=${apiKey}`);
    await using site = openSite();
    await using page = await openPage();
    const tokens = JSON.stringify([
      await mintExpired(service),
      await mint(service, "userid=123&expires=10"),
      await mint(service, "userid=123"),
    ]);
    const options = `{ compid: "inbox", token: async () => ${tokens}[asked++] }`;
    await page.show(site.add(`<script>let asked = 0;</script>${toPage(toLocal(service), options)}`));

    await page.until("asked === 3", 30_000);
    await pushWithKey(service, everyKind, "for who has the last one");

    await page.until("received.length === 1");
    expect(await page.evaluate<unknown>("told")).toEqual([
      expect.objectContaining({ type: "error", code: "unauthorized", status: 401, willReconnect: true }),
      expect.objectContaining({ type: "open", transport: "websocket" }),
    ]);
    expect(complaintsOf(page)).toEqual([]);
  },
);
