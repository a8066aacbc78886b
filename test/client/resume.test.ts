/**
 * Nothing lost and nothing repeated, over cuts and restarts; and what counts as handled.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { MessageContent } from "../../src/protocol.ts";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { openLibrary } from "../support/listening.ts";
import { pushAtPace } from "../support/pace.ts";
import { root, run } from "../support/process.ts";
import { openRelay } from "../support/relay.ts";
import { everyKind, pushOn, pushRound } from "../support/rounds.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";
import { type Ending, startService } from "../support/service.ts";

setDefaultTimeout(60_000);

const address = { userid: "123", compid: "inbox" };
const transports = ["websocket", "sse", "poll"] as const;
const endings: readonly Ending[] = ["SIGTERM", "SIGKILL"];

const toMessages = (contents: readonly MessageContent[]) =>
  contents.map(({ id, event = "message", data = "" }) => ({ id, type: event, data }));

describe.concurrent.each(transports)("over %s a page", (transport) => {
  const options = { ...address, transports: [transport], events: ["order"] };

  test("misses nothing while its connection is cut again and again", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    using page = openLibrary(relay, options);
    await page.until("open");

    const expected: MessageContent[] = [];
    for (let round = 0; round < 20; round++) {
      expected.push(...(await pushRound(server, `${round} before`)));
      relay.cut();
      expected.push(...(await pushRound(server, `${round} away`)));
      relay.mend();
      expected.push(...(await pushRound(server, `${round} after`)));
    }
    await page.untilMessages(expected.length);

    expect(page.messages).toEqual(toMessages(expected));
    expect(page.of("open").every(({ resumed }) => resumed !== false)).toBe(true);
    expect(page.of("reset")).toEqual([]);
  });

  test("is cut in the middle of a stream of messages, anywhere", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    using page = openLibrary(relay, { ...options, times: { first: 1, cap: 5 } });
    await page.until("open");
    await using publishing = pushOn(server);

    for (let round = 1; round <= 30; round++) {
      const before = page.messages.length;
      await eventually("some messages", () => page.messages.length > before + 20);
      relay.cut();
      relay.mend();
    }
    await publishing.stop();
    const last = await push(server, "userid=123", "last");
    await eventually("the last one", () => page.messages.at(-1)?.id === last.id);

    expect(page.messages.map(({ data }) => data)).toEqual([
      ...Array.from({ length: page.messages.length - 1 }, (_, index) => `${index}`),
      "last",
    ]);
  });

  test.each(endings)("misses nothing over restarts by %s", async (ending) => {
    await using folder = await makeFolder();
    await using service = await startService(`--data=${folder.file("messages.db")}`);
    using page = openLibrary(service, options);
    await page.until("open");

    const expected = await pushRound(service, "before");
    for (const round of ["first", "second"]) {
      await service.restart(ending, async (elsewhere) => {
        expected.push(...(await pushRound(elsewhere, `${round} away`)));
      });
      expected.push(...(await pushRound(service, `${round} start`)));
    }
    await page.untilMessages(expected.length, 30_000);

    expect(page.messages).toEqual(toMessages(expected));
    expect(page.of("reset")).toEqual([]);
  });

  test("is told to load anew when the journal is another one, once, and goes on from there", async () => {
    await using service = await startService();
    using page = openLibrary(service, options);
    await page.until("open");
    await push(service, everyKind, "before");
    await page.untilMessages(1);
    const { position } = page.push;

    await service.restart("SIGKILL");
    await page.until("reset");
    const { id } = await push(service, everyKind, "after");
    await page.untilMessages(2);

    expect(page.messages.map(({ data }) => data)).toEqual(["before", "after"]);
    expect(page.push.position).toBe(id);
    expect(page.push.position).not.toBe(position);
    expect(page.of("reset")).toEqual([{ type: "reset" }]);
    expect(page.of("open").filter(({ resumed }) => resumed === false).length).toBe(1);
    expect(page.told.findIndex(({ type }) => type === "reset")).toBe(
      page.told.findIndex(({ resumed }) => resumed === false) + 1,
    );
  });

  test("is told to load anew when the journal has moved on too far", async () => {
    await using server = await startServer({ "retain-count": "2" });
    await using relay = await openRelay(server);
    using page = openLibrary(relay, { ...options, times: { cap: 20 } });
    await page.until("open");
    await push(server, everyKind, "had");
    await page.untilMessages(1);

    relay.cut();
    await untilSessions(server, 0);
    for (const message of ["1", "2", "3", "4"]) await push(server, everyKind, message);
    relay.mend();
    await page.until("reset");
    await push(server, everyKind, "live");
    await page.untilMessages(2);

    expect(page.messages.map(({ data }) => data)).toEqual(["had", "live"]);
  });

  test("gets a backlog of many pages", async () => {
    await using server = await startServer();
    const count = 3000;
    const lines = Array.from({ length: count }, (_, index) =>
      JSON.stringify({ userid: "123", message: `${index}` }),
    );
    await fetch(`${server.url}/batch`, {
      method: "POST",
      headers: { "Content-Type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    using page = openLibrary(server, { ...options, since: "all" });

    await page.untilMessages(count);

    expect(page.messages.map(({ data }) => data)).toEqual(lines.map((_, index) => `${index}`));
  });
});

test("a page for which nothing was goes on from the position that it was told", async () => {
  await using server = await startServer({ "retain-count": "2", ping: "100ms" });
  await using relay = await openRelay(server);
  for (const transport of ["websocket", "sse"] as const) {
    using page = openLibrary(relay, { ...address, transports: [transport] });
    await page.until("open");
    for (const message of ["1", "2", "3", "4"]) await push(server, "userid=456", message);
    const { id } = await push(server, "userid=456", "5");
    await eventually("its position", () => page.push.position === id);

    relay.cut();
    await untilSessions(server, 0);
    const { id: away } = await pushToAll(server, "away");
    relay.mend();
    await page.untilMessages(1);

    expect(page.messages).toEqual([{ id: away, type: "message", data: "away" }]);
    expect(page.of("reset")).toEqual([]);
  }
});

interface Receipt {
  readonly received: number;
}

async function pushAndWait({ url }: TestServer, query: string): Promise<number> {
  const answer = await fetch(`${url}/push?${query}`);
  return ((await answer.json()) as Receipt).received; // with `wait` it has it
}

/** Runs a page of its own, as what is thrown and not caught ends others. */
const throwing = (url: string, listener: string) => `
  import { connect } from ${JSON.stringify(join(root, "src/client/module.ts"))};
  const caught = [];
  const received = [];
  process.on("uncaughtException", ({ message }) => caught.push(message));
  const push = connect({ url: "${url}", userid: "123" });
  push.addEventListener("message", ({ data }) => received.push(data));
  ${listener}
  push.onopen = () => fetch("${url}/push?userid=123&wait=1&message=bad").then(async (answer) => {
    const { received: bad } = await answer.json();
    const { received: good } = await (await fetch("${url}/push?userid=123&wait=30&message=good")).json();
    console.log(JSON.stringify({ bad, good, caught, received }));
    push.close();
  });`;

describe("a message counts as received", () => {
  test("when it was handled, by whatever listener", async () => {
    await using server = await startServer();
    using page = openLibrary(server, { userid: "1" });
    using named = openLibrary(server, { userid: "2", events: ["order"] });
    await page.until("open");
    await named.until("open");

    expect(await pushAndWait(server, "userid=1&wait=30&message=m")).toBe(1);
    expect(await pushAndWait(server, "userid=2&wait=30&message=m&event=order")).toBe(1);
  });

  test("not when nobody listens for it", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    await page.until("open");

    expect(await pushAndWait(server, "userid=123&wait=1&message=m&event=unknown")).toBe(0);
    expect(await pushAndWait(server, "userid=123&wait=30&message=m")).toBe(1);
  });

  const fails = 'if (data === "bad") throw new Error("cannot");';

  test.each([
    `push.onmessage = ({ data }) => { ${fails} };`,
    `push.addEventListener("message", ({ data }) => { ${fails} });`,
    `push.addEventListener("message", { handleEvent({ data }) { ${fails} } });`,
  ])("not when a listener throws, which holds up nothing and is no secret: %s", async (listener) => {
    await using server = await startServer();

    const { status, stdout } = await run([process.execPath, "-e", throwing(server.url, listener)]);

    expect(JSON.parse(stdout)).toEqual({ bad: 0, good: 1, caught: ["cannot"], received: ["bad", "good"] });
    expect(status).toBe(0);
  });
});

test("a flood is acknowledged a few times a second, and never more than may be sent", async () => {
  await using server = await startServer({ "max-receive-rate": "10" });
  using page = openLibrary(server, address);
  await page.until("open");
  const send = spySend();

  const count = await pushAtPace({
    perSecond: 500,
    ms: 3000,
    lanes: 8,
    push: async (number) => void (await push(server, "userid=123", `${number}`)),
  });
  await page.untilMessages(count);
  await eventually("the last one acknowledged", () => send.ids.at(-1) === page.push.position);

  expect(send.ids.length).toBeGreaterThan(10);
  expect(send.ids.length).toBeLessThan(40);
  expect((await readMetrics(server)).get("server_push_sessions")).toBe(1);
  expect([page.of("error"), page.of("close")]).toEqual([[], []]);
  send.restore();
});

/** Notes what is acknowledged over every WebSocket. */
function spySend() {
  const { send } = WebSocket.prototype;
  const ids: string[] = [];
  WebSocket.prototype.send = function note(data) {
    const frame = JSON.parse(String(data));
    if (frame.type === "ack") ids.push(frame.id);
    return send.call(this, data);
  };
  return { ids, restore: () => void (WebSocket.prototype.send = send) };
}
