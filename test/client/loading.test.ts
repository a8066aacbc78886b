/**
 * A page that would share its connection with other tabs, but cannot have the file that this takes: here, where nothing is imported
 * from a server, nobody can.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { push, untilSessions } from "../support/calls.ts";
import { openLibrary } from "../support/listening.ts";
import { openRelay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox", shared: true };
const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

// All that is asked before the file is loaded is whether it is a page, and whether there are locks.
const ofPage = { location: { origin: "null" } };
beforeAll(() => {
  Object.defineProperty(navigator, "locks", { value: {}, configurable: true });
  Object.assign(globalThis, ofPage);
});
afterAll(() => {
  Reflect.deleteProperty(navigator, "locks");
  Reflect.deleteProperty(globalThis, "location");
});

test("it has its own connection after a few tries", async () => {
  await using server = await startServer();
  using page = openLibrary(server, address);
  await page.until("open");

  const { id } = await push(server, "userid=123", "hello");
  await page.untilMessages(1);

  expect(page.messages).toEqual([{ id, type: "message", data: "hello" }]);
  expect(page.told.map(({ type }) => type)).toEqual(["open"]);
});

test("it comes back also when the server was away all the time", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  relay.cut();
  using page = openLibrary(relay, address);
  await page.until("error", 2);

  relay.mend();

  await page.until("open");
});

test("what it sends meanwhile goes when it is connected, but no more than 400", async () => {
  await using server = await startServer({ "max-receive-rate": "1000" });
  using page = openLibrary(server, address);

  const sent = numbers(400).map((text) => page.push.send(text));
  expect(await page.push.send("401st")).toBe(false);

  expect(new Set(await Promise.all(sent))).toEqual(new Set([true]));
  expect(await page.push.send("after")).toBe(true);
});

test("nothing more is heard of one that is closed meanwhile", async () => {
  await using server = await startServer();
  let tokens = 0;
  const token = () => `${tokens++}`;
  using page = openLibrary(server, { ...address, token });
  const early = page.push.send("early");
  page.push.close();
  expect([await early, await page.push.send("late")]).toEqual([false, false]);

  // Which takes all the steps that the closed one would have taken.
  using other = openLibrary(server, address);
  await other.until("open");

  expect(page.told).toEqual([{ type: "close", code: 1000, reason: "", willReconnect: false }]);
  expect(tokens).toBe(0);
});

test("it can be closed when it asks for its token", async () => {
  await using server = await startServer();
  const close = () => {
    page.push.close();
    return "";
  };
  using page = openLibrary(server, { ...address, token: close });
  await page.until("close");

  using other = openLibrary(server, address);
  await other.until("open");

  await untilSessions(server, 1);
  expect(page.told.map(({ type }) => type)).toEqual(["close"]);
});

test("where there are locks but no page, as in Node 24, nothing is loaded", async () => {
  await using server = await startServer();
  Reflect.deleteProperty(globalThis, "location");
  using stack = new DisposableStack();
  stack.defer(() => Object.assign(globalThis, ofPage));
  let connects = 0;
  const token = () => `${connects++}`;

  using page = openLibrary(server, { ...address, token });
  await Promise.resolve();

  // A file would have to be waited for.
  expect(connects).toBe(1);
  await page.until("open");
});
