/**
 * Tabs of one origin that share a connection where the network is bad, or who should see to it is looked at by nobody.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeBrowser, openPage } from "../support/browser.ts";
import { push, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openGateway } from "../support/gateway.ts";
import {
  openSite,
  receivedUntil,
  recorder,
  type Site,
  toLibraryPage,
  toLocal,
  toPage,
} from "../support/pages.ts";
import { poll } from "../support/poll.ts";
import { openRelay } from "../support/relay.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";
import { openTab, shared } from "../support/tabs.ts";

const isMissing = mustSkip("chromium");

// Chromium takes seconds to start on a busy machine.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

/** A page that connects when it is told to. */
function toLatePage(server: { readonly port: number }): string {
  return `<!doctype html>
<script src="${toLocal(server)}/client.js"></script>
<script>${recorder}
let push;
const go = () => (push = record(ServerPush.connect(${JSON.stringify(shared)})));
</script>`;
}

/** A page with options and handlers of its own. */
function toPageWith(server: { readonly port: number }, options: string, handlers = ""): string {
  return `${toPage(toLocal(server), `{ ...${JSON.stringify(shared)}, ${options} }`)}<script>${handlers}</script>`;
}

test.concurrent.skipIf(isMissing)(
  "what a tab has missed and cannot be fetched just then is fetched later",
  async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    await using site = openSite();
    await using _ = await openTab(gateway, site);
    await push(server, "userid=123", "kept");
    gateway.polls = "hang";
    await using follower = await openPage();
    // Not every browser that has locks has this.
    const old = "<script>delete AbortSignal.any</script>";
    await follower.show(site.add(old + toLibraryPage(gateway, { ...shared, since: "all" })));
    await eventually("a poll that hangs", () => gateway.calls.includes("poll"));

    gateway.polls = "pass";
    const { id } = await push(server, "userid=123", "live");

    expect((await receivedUntil(follower, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
  },
);

test.concurrent.skipIf(isMissing)("the tab that is looked at does not wait for one that is not", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  await using site = openSite();
  // Chance has no say: every pause is as long as it may be.
  const page = `<script>Math.random = () => 0.999</script>${toPage(toLocal(relay), JSON.stringify(shared))}`;
  const url = site.add(page);
  await using leader = await openPage();
  await leader.show(url);
  await leader.until(`push.state === "open"`);
  await using follower = await openPage();
  await follower.show(url);
  await follower.until(`push.state === "open"`);
  await leader.evaluate(`void Object.defineProperty(document, "visibilityState", { get: () => "hidden" })`);
  relay.cut();
  // After these it waits for sixteen seconds.
  await leader.until(`told.filter(({ type }) => type === "error").length >= 4`, 40_000);
  relay.mend();

  await follower.evaluate(`dispatchEvent(new Event("online"))`);

  await follower.until(`push.state === "open"`, 8000);
});

test.concurrent.skipIf(isMissing)("what only another tab handles counts as handled", async () => {
  await using server = await startServer();
  await using site = openSite();
  const url = `${toLocal(server)}/client.js`;
  const toListener = (listens: string) => `<!doctype html><script src="${url}"></script>
<script>const push = ServerPush.connect(${JSON.stringify(shared)}); ${listens}</script>`;
  await using leader = await openPage();
  await leader.show(site.add(toListener("")));
  await leader.until(`push.state === "open"`);
  await using follower = await openPage();
  await follower.show(site.add(toListener(`push.addEventListener("order", () => {});`)));
  await follower.until(`push.state === "open"`);

  const answer = await fetch(`${server.url}/push?userid=123&event=order&message=17&wait=20`);

  expect(await answer.json()).toMatchObject({ sessions: 1, received: 1 });
});

test.concurrent.skipIf(isMissing)(
  "tabs that begin while the server is away share when it is back",
  async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using site = openSite();
    const url = site.add(toLatePage(relay));
    await using one = await openPage();
    await one.show(url);
    await using two = await openPage();
    await two.show(url);

    relay.cut();
    for (const page of [one, two]) await page.evaluate("void go()");
    await eventually("they ask", () => relay.refused >= 2);
    relay.mend();

    for (const page of [one, two]) await page.until(`push.state === "open"`, 30_000);
    await untilSessions(server, 1);
    const { id } = await push(server, "userid=123", "for both");
    for (const page of [one, two]) expect((await receivedUntil(page, id)).length).toBe(1);
  },
);

test.concurrent.skipIf(isMissing)(
  "one that is closed before it has anything to share is closed at once",
  async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using site = openSite();
    await using page = await openPage();
    await page.show(site.add(toLatePage(relay)));
    relay.cut();

    const said = await page.evaluate("go(), push.close(), [push.state, told]");

    expect(said).toEqual(["closed", [{ type: "close", code: 1000, reason: "", willReconnect: false }]]);
  },
);

test.concurrent.skipIf(isMissing)("a tab whose file hangs has its own connection before long", async () => {
  await using server = await startServer();
  await using gateway = await openGateway(server);
  await using site = openSite();
  await using page = await openPage();
  await page.show(site.add(toLatePage(gateway)));
  gateway.files = "hang";

  await page.evaluate("void go()");
  await page.until(`push.state === "open"`, 20_000);

  const { id } = await push(server, "userid=123", "hello");
  expect((await receivedUntil(page, id)).map(({ data }) => data)).toEqual(["hello"]);
  expect(gateway.calls.filter((call) => call === "file")).toHaveLength(1);
});

test.concurrent.skipIf(isMissing)("a tab that may not speak to others has its own connection", async () => {
  await using server = await startServer();
  await using site = openSite();
  await using page = await openPage();
  const refusing = `<script>BroadcastChannel = class { constructor() { throw new DOMException("", "SecurityError"); } }</script>`;
  await page.show(site.add(refusing + toLibraryPage(server, shared)));

  await page.until(`push.state === "open"`);
});

test.concurrent.skipIf(isMissing)("what many tabs send at once ends nobody's session", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  await using site = openSite();
  const url = site.add(toLibraryPage(relay, shared));
  await using leader = await openPage();
  await leader.show(url);
  await leader.until(`push.state === "open"`);
  await using follower = await openPage();
  await follower.show(url);
  await follower.until(`push.state === "open"`);
  const both = [leader, follower];
  relay.cut();
  for (const page of both) await page.until(`push.state === "connecting"`);
  const send = "Promise.all(Array.from({ length: 700 }, (_, index) => push.send(String(index))))";
  for (const page of both)
    await page.evaluate(`void (globalThis.sent = ${send}.then((all) => all.filter(Boolean).length))`);

  relay.mend();

  const taken = await Promise.all(both.map((page) => page.evaluate<number>("sent")));
  expect(taken.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(400);
  const { id } = await push(server, "userid=123", "for both");
  for (const page of both)
    expect((await receivedUntil(page, id)).map(({ data }) => data)).toEqual(["for both"]);
});

test.concurrent.skipIf(isMissing)(
  "what a tab has handled before another one leads is not what that one has",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using page = await openPage();
    const waiting = fetch(`${server.url}/push?userid=123&message=17&wait=20`);
    const token = "token: () => new Promise((resolve) => (globalThis.give = resolve))";
    const options = `{ ...${JSON.stringify(shared)}, since: "all", ${token} }`;
    await page.show(site.add(toPage(toLocal(server), options)));
    await page.until("globalThis.give !== undefined");
    const { id } = await poll(server, { query: "userid=123&wait=0&since=all" });

    const name = `server-push ${toLocal(server)}/?userid=123&compid=inbox`;
    await page.evaluate(`void new BroadcastChannel(${JSON.stringify(name)}).postMessage({ ack: "${id}" })`);
    // Which is heard before this is.
    await page.evaluate(`new Promise((resolve) => setTimeout(resolve)).then(() => give(""))`);

    expect(await (await waiting).json()).toMatchObject({ received: 1 });
  },
);

test.concurrent.skipIf(isMissing)(
  "an answer of somebody on the way is not taken for what was missed",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using _ = await openTab(server, site);
    await push(server, "userid=123", "kept");
    const strange = `<script>
const own = fetch;
let isFirst = true;
fetch = (url, options) => {
  if (!String(url).includes("/poll") || !isFirst) return own(url, options);
  isFirst = false;
  return Promise.resolve(new Response("{}"));
};
</script>`;
    await using follower = await openPage();
    await follower.show(site.add(strange + toLibraryPage(server, { ...shared, since: "all" })));
    await follower.until(`push.state === "open"`);

    const { id } = await push(server, "userid=123", "live");

    expect((await receivedUntil(follower, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
    expect(follower.complaints).toEqual([]);
  },
);

/** The session of a tab that comes now is the only one that there is. */
async function expectAlone(server: TestServer, site: Site): Promise<void> {
  await using _ = await openTab(server, site);

  expect(await push(server, "userid=123", "hello")).toMatchObject({ sessions: 1 });
}

describe.skipIf(isMissing)("a tab that is closed by its own page leaves nothing behind", () => {
  test.concurrent("when it leads and is asked for its token", async () => {
    await using server = await startServer();
    await using site = openSite();
    await using page = await openPage();
    await page.show(site.add(toPageWith(server, `token() { push.close(); return ""; }`)));
    await page.until(`push.state === "closed"`);

    await expectAlone(server, site);
  });

  test.concurrent("when it is to lead and is told of the end before", async () => {
    await using server = await startServer();
    await using site = openSite();
    const leader = await openPage();
    await leader.show(site.add(toLibraryPage(server, shared)));
    await leader.until(`push.state === "open"`);
    await using page = await openPage();
    await page.show(site.add(toPageWith(server, "", "push.onclose = () => push.close();")));
    await page.until(`push.state === "open"`);
    await leader[Symbol.asyncDispose]();
    await page.until(`push.state === "closed"`);

    await expectAlone(server, site);
  });

  test.concurrent("when it is told of what it has missed", async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    await using site = openSite();
    await using leader = await openTab(gateway, site);
    for (const text of ["first", "second"]) await push(server, "userid=123", text);
    const options = `since: "all", token() { (globalThis.asked ??= []).push(push.state); return ""; }`;
    await using page = await openPage();
    await page.show(site.add(toPageWith(gateway, options, "push.onmessage = () => push.close();")));
    await page.until(`push.state === "closed"`);

    // Which takes longer than what the closed one would have done.
    await using next = await openTab(gateway, site);

    for (const tab of [leader, next]) expect(await tab.evaluate("push.state")).toBe("open");
    expect(await page.evaluate("asked")).toEqual(["open"]);
    expect(gateway.calls.filter((call) => call === "poll")).toHaveLength(1);
  });
});
