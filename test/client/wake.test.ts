/**
 * How the library comes back at once, when something tells that it may.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { type Library, noteConnects, openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { openRelay, type Relay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };

setDefaultTimeout(60_000);

/** Waits for longer each time, and soon for minutes. */
const patient = { ...address, times: { first: 100, cap: 600_000 } };

const surroundings = globalThis as unknown as EventTarget & { document?: object }; // Bun's is one, and has no document

/** What a browser does when it has a network again. */
function goOnline(): void {
  surroundings.dispatchEvent(new Event("online"));
}

/** A document as pages have one. */
function openDocument(visibilityState: "visible" | "hidden"): EventTarget & Disposable {
  const document = Object.assign(new EventTarget(), {
    visibilityState,
    [Symbol.dispose]: () => void delete surroundings.document,
  });
  surroundings.document = document;
  return document;
}

/** Cuts the page off until it waits, which it does for half a minute, as long as this is not over. */
async function cutOff(page: Library, relay: Relay): Promise<Disposable> {
  {
    using _ = fixChance(0.001);
    relay.cut();
    await page.until("error", 8);
  }
  const chance = fixChance(0.999);
  await page.until("error", page.of("error").length + 1);
  return chance;
}

/** Longer than what should not happen would take. */
async function passed(ms: number): Promise<void> {
  const since = performance.now();
  await eventually(`${ms} ms`, () => performance.now() - since > ms);
}

test.each([
  ["online", "window", "visible"],
  ["online", "window", "hidden"],
  ["pageshow", "window", "visible"],
  ["visibilitychange", "document", "visible"],
  ["resume", "document", "visible"],
] as const)(
  "%s, told to the %s of a page that is %s, brings it back at once",
  async (type, target, visibility) => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    using document = openDocument(visibility);
    using page = openLibrary(relay, patient);
    await page.until("open");
    using _ = await cutOff(page, relay);
    relay.mend();
    const since = performance.now();

    (target === "document" ? document : surroundings).dispatchEvent(new Event(type));
    await page.until("open", 2);

    expect(performance.now() - since).toBeLessThan(15_000);
  },
);

test("a page that nobody looks at waits on when it is told of nothing but itself", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using document = openDocument("hidden");
  const connects = noteConnects();
  using page = openLibrary(relay, { ...patient, token: connects.token });
  await page.until("open");
  using _ = await cutOff(page, relay);
  const { length } = connects.at;

  surroundings.dispatchEvent(new Event("pageshow"));
  for (const type of ["visibilitychange", "resume"]) document.dispatchEvent(new Event(type));
  await passed(500);

  expect(connects.at).toHaveLength(length);
});

test("a clock that is set back while it is away does not keep it away", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  using stack = new DisposableStack();
  stack.use(await cutOff(page, relay));
  const { now } = Date;
  stack.defer(() => (Date.now = now));
  Date.now = () => now() - 3_600_000;
  relay.mend();

  goOnline();

  await page.until("open", 2);
});

test("however often it is told, it tries once a second at the most", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  const connects = noteConnects();
  // The second is of 200 ms here.
  const times = { ...patient.times, first: 200 };
  using page = openLibrary(relay, { ...address, times, token: connects.token });
  await page.until("open");
  using _ = await cutOff(page, relay);
  const { length } = connects.at;

  await eventually("four tries", () => {
    goOnline();
    return connects.at.length >= length + 4;
  });

  for (const pause of connects.pauses().slice(-4)) expect(pause).toBeGreaterThan(times.first - 5);
});

test("a page that fails again waits again, for a time of its own", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  const connects = noteConnects();
  using page = openLibrary(relay, { ...patient, token: connects.token });
  await page.until("open");
  using _ = await cutOff(page, relay);
  const { length } = connects.at;

  goOnline();
  await eventually("another try", () => connects.at.length > length);
  await passed(500);

  expect(connects.at).toHaveLength(length + 1);
});

test("a connection that has been silent for too long is found lost at once", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  using stack = new DisposableStack();
  relay.silence();
  const { now } = Date;
  stack.defer(() => (Date.now = now));
  // As of a page that has slept: no timer of it has ended.
  Date.now = () => now() + 3_600_000;

  goOnline();

  await page.until("open", 2);
});

test("a connection that is lost just after, as that of a page that a browser has kept, is no reason to wait", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  using page = openLibrary(relay, patient);
  await page.until("open");
  // It waits as long after the next connection, which has not lasted.
  using _ = await cutOff(page, relay);
  relay.mend();
  goOnline();
  await page.until("open", 2);
  const since = performance.now();

  goOnline();
  relay.cut();
  relay.mend();
  await page.until("open", 3);

  expect(performance.now() - since).toBeLessThan(15_000);
});

test("a page that is closed just after asks for nothing any more", async () => {
  await using server = await startServer();
  await using relay = await openRelay(server);
  const connects = noteConnects();
  using page = openLibrary(relay, { ...patient, token: connects.token });
  await page.until("open");
  using _ = fixChance(0.999);

  goOnline();
  relay.cut();
  await page.until("close");
  page.push.close();
  const { length } = connects.at;
  await passed(500);

  expect(connects.at).toHaveLength(length);
});
