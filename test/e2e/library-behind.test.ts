/**
 * Tabs of one origin that share a connection, where one of them is behind or cannot have what it needs, such as a token.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { postBatch, toArray } from "../support/batches.ts";
import { closeBrowser, openPage } from "../support/browser.ts";
import { disconnect, push } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { type Call, openGateway } from "../support/gateway.ts";
import {
  complaintsOf,
  openSite,
  receivedUntil,
  toldOf,
  toLibraryPage,
  toLocal,
  toPage,
} from "../support/pages.ts";
import { startServer } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";
import { openTab, shared } from "../support/tabs.ts";

const isMissing = mustSkip("chromium");

// Chromium takes seconds to start on a busy machine.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

/** Chance has no say: every pause is as short as it may be. */
const hasty = "<script>Math.random = () => 0.01;</script>";

const noToken = `() => { throw new Error("signed out"); }`;
const isPoll = (call: Call) => call === "poll";
const withoutConnections = { "Content-Security-Policy": "connect-src 'none'" };

/** A page whose token is made by this function. */
function toPageOf(server: { readonly port: number }, token: string, options: object = shared): string {
  return hasty + toPage(toLocal(server), `{ ...${JSON.stringify(options)}, token: ${token} }`);
}

test.concurrent.skipIf(isMissing)(
  "more than may wait while a tab catches up is fetched, too, whatever comes after it",
  async () => {
    await using server = await startServer({ ping: "1s" });
    await using site = openSite();
    await using leader = await openTab(server, site);
    await push(server, "userid=123", "kept");
    // The second answer says that nothing more was missed, and comes when that is not true any more.
    const late = `<script>
const own = fetch;
let polls = 0;
fetch = async (url, options) => {
  const answer = await own(url, options);
  if (String(url).includes("/poll") && ++polls === 2) await new Promise((resolve) => (globalThis.answerPoll = resolve));
  return answer;
};
</script>`;
    await using follower = await openPage();
    await follower.show(site.add(late + toLibraryPage(server, { ...shared, since: "all" })));
    await follower.until("globalThis.answerPoll !== undefined");

    const items = Array.from({ length: 1001 }, (_, index) => ({ userid: "123", message: `${index}` }));
    await postBatch(server, toArray(items));
    await leader.until("received.length === 1002");
    // Of this, the tabs are told where the journal is.
    const { id: elsewhere } = await push(server, "userid=456", "for somebody else");
    await leader.until(`push.position === "${elsewhere}"`);
    await follower.evaluate("void answerPoll()");

    const { id } = await push(server, "userid=123", "end");
    const texts = ["kept", ...items.map(({ message }) => message), "end"];
    expect((await receivedUntil(follower, id)).map(({ data }) => data)).toEqual(texts);
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab without a token says so, and goes when all are told to",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using leader = await openTab(server, site);
    await push(server, "userid=123", "kept");
    await using follower = await openPage();
    await follower.show(site.add(toPageOf(server, noToken, { ...shared, since: "all" })));
    await follower.until(`told.some(({ type }) => type === "error")`);

    await disconnect(server, "userid=123");
    await follower.until(`push.state === "closed"`);

    const [error] = await toldOf(follower, "error");
    expect(error).toMatchObject({ code: "failed", detail: "Error: signed out", willReconnect: true });
    const closes = await toldOf(follower, "close");
    expect(closes).toMatchObject([{ code: 4500, willReconnect: false }]);
    expect(await leader.evaluate("push.state")).toBe("closed");
  },
);

test.concurrent.skipIf(isMissing).each([
  ["has no token", noToken, {}],
  ["has a token that is refused", `() => "of.last.week"`, {}],
  ["may not connect, by its policy", `() => ""`, withoutConnections],
])("a tab that %s lets another one lead", async (_, token, headers) => {
  await using server = await startServer({ "api-key": apiKey });
  const good = await mint(server, "userid=123");
  await using site = openSite();
  await using leader = await openPage();
  await leader.show(site.add(toPageOf(server, token), headers));
  await leader.until(`told.some(({ type }) => type === "error")`);
  await using follower = await openPage();
  await follower.show(site.add(toPageOf(server, `() => "${good}"`)));

  for (const page of [follower, leader]) await page.until(`push.state === "open"`);

  expect(await pushWithKey(server, "userid=123", "for both")).toBe(1);
  for (const page of [follower, leader]) await page.until(`received.at(-1)?.data === "for both"`);
});

test.concurrent.skipIf(isMissing)("a tab that may not connect takes the lead once at most", async () => {
  await using server = await startServer();
  await using site = openSite();
  await using leader = await openTab(server, site);
  await push(server, "userid=123", "kept");
  await using follower = await openPage();
  const behind = toPageOf(server, `() => ""`, { ...shared, since: "all" });
  const count = "<script>let barred = 0; document.onsecuritypolicyviolation = () => barred++;</script>";
  await follower.show(site.add(count + behind, withoutConnections));

  // It asks for what it lacks, leads, lets go, and has asked again more often than it would take to lead once more.
  await follower.until("barred >= 30");
  await leader.until(`push.state === "open"`);

  const { id } = await push(server, "userid=123", "live");
  expect((await receivedUntil(leader, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
  expect(await toldOf(leader, "reset")).toEqual([]);
  expect((await toldOf(leader, "close")).length).toBeLessThanOrEqual(1);
});

test.concurrent.skipIf(isMissing)(
  "a tab that is behind leads where it may connect, but not poll",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using leader = await openTab(server, site);
    await push(server, "userid=123", "kept");
    await using follower = await openPage();
    const behind = toPageOf(server, `() => ""`, { ...shared, since: "all" });
    const policy = `connect-src ${toLocal(server).replace("http", "ws")}`;
    await follower.show(site.add(behind, { "Content-Security-Policy": policy }));
    await follower.until(`received.length === 1`);

    const { id } = await push(server, "userid=123", "live");

    for (const page of [leader, follower])
      expect((await receivedUntil(page, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab that is behind fetches what it lacks also where its user may have one session",
  async () => {
    await using server = await startServer({ "max-sessions-per-user": "1" });
    await using site = openSite();
    await using _ = await openTab(server, site);
    await push(server, "userid=123", "kept");
    await using follower = await openPage();
    await follower.show(site.add(toLibraryPage(server, { ...shared, since: "all" })));
    await follower.until(`push.state === "open"`);

    const { id } = await push(server, "userid=123", "live");

    expect((await receivedUntil(follower, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
    expect(await toldOf(follower, "error")).toEqual([]);
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab that is behind, and has the network back, does not wait to fetch what it lacks",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using _ = await openTab(server, site);
    const { id } = await push(server, "userid=123", "kept");
    await using follower = await openPage();
    // Polls are answered by the test; the pauses between them are of 30 s, and then of 60.
    const slow = `<script>
Math.random = () => 30;
const [ownFetch, ownTimeout] = [fetch, setTimeout];
fetch = (url, options) =>
  String(url).includes("/poll") ? new Promise((resolve) => (globalThis.answer = resolve)) : ownFetch(url, options);
setTimeout = (call, ms) => {
  globalThis.longest = Math.max(globalThis.longest ?? 0, ms);
  return ownTimeout(call, ms);
};
const refuse = () => {
  const refused = answer;
  answer = undefined;
  refused(new Response("", { status: 403 }));
};
</script>`;
    await follower.show(site.add(slow + toLibraryPage(server, { ...shared, since: "all" })));
    const isAsking = `document.readyState === "complete" && globalThis.answer !== undefined`;
    const online = `dispatchEvent(new Event("online"))`;
    await follower.until(isAsking);

    await follower.evaluate(`void (${online}, refuse())`);
    await follower.until(isAsking, 10_000);
    await follower.evaluate(`void (longest = 0, refuse())`);
    await follower.until("longest === 60_000");
    await follower.evaluate(`void (fetch = ownFetch, ${online})`);

    await follower.until(`received.at(-1)?.id === "${id}"`, 10_000);
  },
);

test.concurrent.skipIf(isMissing).each([
  ["alone", {}],
  ["of no origin, which nobody shares with,", { "Content-Security-Policy": "sandbox allow-scripts" }],
])("a tab %s that had no token goes on as soon as it has one, and sends what waits", async (_, headers) => {
  await using server = await startServer();
  await using site = openSite();
  await using page = await openPage();
  const failing = `() => { if (told.length < 4) throw new Error("not yet"); return ""; }`;
  await page.show(site.add(toPageOf(server, failing), headers));
  await page.evaluate(`void (globalThis.sent = push.send("hello"))`);

  // Every pause is short here, unless it waits for others to lead.
  await page.until(`push.state === "open"`, 15_000);

  expect((await toldOf(page, "error")).length).toBe(4);
  expect(await page.evaluate("sent")).toBe(true);
  expect(complaintsOf(page)).toEqual([]);
});

test.concurrent.skipIf(isMissing)(
  "a tab that has taken the lead from one that hangs does not give way to itself",
  async () => {
    await using server = await startServer();
    await using site = openSite();
    await using leader = await openTab(server, site);
    await using follower = await openPage();
    const asking = `() => new Promise((give, fail) => Object.assign(globalThis, { give, fail, asked: ++asked }))`;
    await follower.show(site.add("<script>var asked = 0;</script>" + toPageOf(server, asking)));
    await follower.until(`push.state === "open"`);
    await leader.halt();

    await follower.evaluate(`void dispatchEvent(new Event("online"))`);
    await follower.until("asked === 1");
    await follower.evaluate(`void (globalThis.sent = push.send("hello"))`);
    // More often than others bear it.
    for (let count = 1; count <= 4; count++) {
      await follower.evaluate(`void fail(new Error("not yet"))`);
      await follower.until(`asked === ${count + 1}`);
    }
    await follower.evaluate(`void give("")`);
    await follower.until(`push.state === "open"`);

    expect(await follower.evaluate("sent")).toBe(true);
    await leader.goOn();
  },
);

test.concurrent.skipIf(isMissing)(
  "a tab whose polls are not let through leads itself, and so has what it has missed",
  async () => {
    await using server = await startServer();
    await using gateway = await openGateway(server);
    gateway.polls = "refuse";
    await using site = openSite();
    await using leader = await openTab(gateway, site);
    await push(server, "userid=123", "kept");
    await using follower = await openPage();
    await follower.show(site.add(hasty + toLibraryPage(gateway, { ...shared, since: "all" })));
    await eventually("polls that are refused", () => gateway.calls.some(isPoll));

    const { id } = await push(server, "userid=123", "live");

    for (const page of [follower, leader])
      expect((await receivedUntil(page, id)).map(({ data }) => data)).toEqual(["kept", "live"]);
  },
);
