/**
 * How the library comes back at once, when something tells that it may.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { noteConnects, openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { openRelay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };

setDefaultTimeout(60_000);

/** Waits for longer each time, and soon for minutes. */
const patient = { ...address, times: { first: 100, cap: 600_000 } };

/** What a browser does when it has a network again. */
function goOnline(): void {
  (globalThis as unknown as EventTarget).dispatchEvent(new Event("online")); // Bun's is one
}

test("a clock that is set back while it is away does not keep it away", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  using stack = new DisposableStack();
  stack.use(fixChance(0.999));
  relay.cut();
  await page.until("error", 2);
  const { now } = Date;
  stack.defer(() => (Date.now = now));
  Date.now = () => now() - 3_600_000;
  relay.mend();

  goOnline();

  await page.until("open", 2);
});

test("a page that nobody looks at comes back at once, too, when the network does", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  using stack = new DisposableStack();
  stack.use(fixChance(0.999));
  const surroundings = globalThis as { document?: object }; // Bun has none
  surroundings.document = { visibilityState: "hidden" };
  stack.defer(() => delete surroundings.document);
  relay.cut();
  // After these it waits for more than six seconds.
  await page.until("error", 6);
  relay.mend();
  const since = performance.now();

  goOnline();
  await page.until("open", 2);

  expect(performance.now() - since).toBeLessThan(3000);
});

test("a connection that is lost just after, as that of a page that a browser has kept, is no reason to wait", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  using _ = fixChance(0.999);
  relay.cut();
  // After these it waits for more than six seconds, as the next connection has not lasted.
  await page.until("error", 6);
  relay.mend();
  goOnline();
  await page.until("open", 2);
  const since = performance.now();

  goOnline();
  relay.cut();
  relay.mend();
  await page.until("open", 3);

  expect(performance.now() - since).toBeLessThan(3000);
});

test("a page that is closed just after asks for nothing any more", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  const connects = noteConnects();
  using page = openLibrary(relay, { ...patient, token: connects.token });
  await page.until("open");
  using _ = fixChance(0.999);
  relay.cut();
  await page.until("error", 3);

  goOnline();
  page.push.close();
  const closedAt = performance.now();
  const { length } = connects.at;
  await eventually("more than the time that it would take", () => performance.now() - closedAt > 500);

  expect(connects.at).toHaveLength(length);
});
