/**
 * How a page is told: events, an iterator, and an end that is one at once.
 */
import { describe, expect, test } from "bun:test";
import { open } from "../../src/client/client.ts";
import type { PushMessage } from "../../src/client/contract.d.ts";
import { push, type Target, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openLibrary, quick } from "../support/listening.ts";
import { openRelay } from "../support/relay.ts";
import { startServer } from "../support/server.ts";

const address = { userid: "123", compid: "inbox" };
const transports = ["websocket", "sse", "poll"] as const;

/** Pushes in one call, so that they come in one piece where that can be. */
async function pushBatch({ url }: Target, messages: readonly object[]): Promise<string[]> {
  const body = JSON.stringify(messages.map((message) => ({ userid: "123", ...message })));
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${url}/batch`, { method: "POST", headers, body });
  return ((await answer.json()) as { readonly id: string }[]).map(({ id }) => id); // a receipt each
}

const numbered = (count: number, more: object = {}) =>
  Array.from({ length: count }, (_, index) => ({ message: `${index}`, ...more }));

describe("an event", () => {
  test("is of its name, and comes to all who listen for it, once each", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    const heard: string[] = [];
    const twice = ({ data }: PushMessage) => heard.push(`twice ${String(data)}`);
    page.push.addEventListener("order", twice);
    page.push.addEventListener("order", twice);
    page.push.addEventListener("order", ({ type, data }) => heard.push(`${type} ${String(data)}`));
    page.push.addEventListener("order", { handleEvent: ({ type }: Event) => heard.push(`object ${type}`) });
    page.push.addEventListener("order", () => heard.push("once"), { once: true });
    page.push.addEventListener("order", null);
    page.push.onmessage = ({ data }) => heard.push(`on ${String(data)}`);
    await page.until("open");

    await pushBatch(server, [
      { event: "order", message: "1" },
      { message: "2" },
      { event: "order", message: "3" },
    ]);
    await eventually("all", () => heard.includes("object order") && heard.includes("twice 3"));
    await page.untilMessages(1);

    const first = ["twice 1", "order 1", "object order", "once"];
    expect(heard).toEqual([...first, "on 2", "twice 3", "order 3", "object order"]);
  });

  test("comes to nobody who has gone", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    const heard: string[] = [];
    const listener = () => heard.push("listener");
    const object = { handleEvent: () => heard.push("object") };
    for (const one of [listener, object]) {
      page.push.addEventListener("message", one);
      page.push.removeEventListener("message", one);
    }
    page.push.onmessage = listener;
    page.push.onmessage = null;
    await page.until("open");

    await push(server, "userid=123", "m");
    await page.untilMessages(1);

    expect(heard).toEqual([]);
    expect(page.push.onmessage).toBeNull();
  });

  test.each(transports)("named as one of the connection's is a message, over %s", async (transport) => {
    await using server = await startServer();
    using page = openLibrary(server, { ...address, transports: [transport] });
    await page.until("open");
    // The other two are names that nothing can be pushed with.
    const names = ["close", "reset", "message", "constructor", "__proto__", "toString"];

    const ids = await pushBatch(
      server,
      names.map((event) => ({ event, message: event })),
    );
    await page.untilMessages(3);
    await eventually("the last one", () => page.push.position === ids.at(-1));

    expect(page.messages).toEqual(
      ["close", "reset", "message"].map((data, index) => ({ id: ids[index] ?? "", type: "message", data })),
    );
    expect(page.told.map(({ type }) => type)).toEqual(["open"]);
  });

  test("has what MessageEvent has", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    const come = Promise.withResolvers<PushMessage>();
    page.push.addEventListener("order", come.resolve);
    await page.until("open");

    const { id } = await push(server, "userid=123&event=order", "m");
    const event = await come.promise;

    expect(event).toBeInstanceOf(MessageEvent);
    expect(event).toMatchObject({ type: "order", data: "m", lastEventId: id, origin: server.url });
  });
});

describe("a page that iterates", () => {
  test.each(transports)(
    "has all messages, of whatever name, in order, until it is closed, over %s",
    async (transport) => {
      await using server = await startServer();
      const page = openLibrary(server, { ...address, transports: [transport] });
      const had: string[] = [];
      const iterating = (async () => {
        for await (const { type, data, lastEventId } of page.push) {
          had.push(`${lastEventId} ${type} ${String(data)}`);
          if (had.length === 120) page.push.close();
        }
      })();
      await page.until("open");

      const ids = await pushBatch(server, numbered(60));
      ids.push(...(await pushBatch(server, numbered(60, { event: "order" }))));
      await iterating;

      expect(had).toEqual(ids.map((id, index) => `${id} ${index < 60 ? "message" : "order"} ${index % 60}`));
    },
  );

  test("two have all of them each, and who leaves takes no more", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    const take = async (count: number) => {
      const had: string[] = [];
      for await (const { data } of page.push) if (had.push(String(data)) === count) break;
      return had;
    };
    const taking = Promise.all([take(2), take(4)]);
    await page.until("open");

    await pushBatch(server, numbered(5));

    expect(await taking).toEqual([
      ["0", "1"],
      ["0", "1", "2", "3"],
    ]);
  });

  test("has handled a message when it asks for the next one, and not before", async () => {
    await using server = await startServer();
    const page = open({ url: server.url, userid: "123" }, undefined, quick);
    const messages = page[Symbol.asyncIterator]();
    const first = messages.next();
    await untilSessions(server, 1);
    const pushAndWait = async (message: string, wait: number) => {
      const answer = await fetch(`${server.url}/push?userid=123&wait=${wait}&message=${message}`);
      return ((await answer.json()) as { readonly received: number }).received;
    };

    const unhandled = pushAndWait("1", 1);
    expect((await first).value?.data).toBe("1");
    expect(await unhandled).toBe(0);
    const handled = pushAndWait("2", 30);
    expect((await messages.next()).value?.data).toBe("2");
    const last = messages.next();
    expect(await handled).toBe(1);

    page.close();
    expect(await last).toEqual({ done: true, value: undefined });
  });

  test("and falls too far behind is told, when it has handled what it has", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    const [slow, quicker] = [page.push[Symbol.asyncIterator](), page.push[Symbol.asyncIterator]()];
    const [first, second] = [slow.next(), quicker.next()];
    await page.until("open");

    await pushBatch(server, [{ message: "first" }]);
    await first;
    await second;
    await pushBatch(server, numbered(9_999));
    await page.untilMessages(10_000);
    expect((await quicker.next()).value?.data).toBe("0");
    await pushBatch(server, numbered(2));
    await page.untilMessages(10_002);

    expect((await quicker.next()).value?.data).toBe("1");
    await expect(slow.next()).rejects.toThrow(RangeError);
    expect(await slow.next()).toEqual({ done: true, value: undefined });
    await slow.return?.();
  });

  test("waits over a loss of the connection", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    using page = openLibrary(relay, address);
    const messages = page.push[Symbol.asyncIterator]();
    const first = messages.next();
    await page.until("open");

    relay.cut();
    await page.until("close");
    await push(server, "userid=123", "away");
    relay.mend();

    expect((await first).value?.data).toBe("away");
  });

  test("of one that is closed ends at once", async () => {
    await using server = await startServer();
    using page = openLibrary(server, address);
    page.push.close();

    for await (const message of page.push) expect(message).toBeUndefined();
  });
});

describe("close() is an end at once", () => {
  test.each(transports)("in the middle of many messages that came together, over %s", async (transport) => {
    await using server = await startServer();
    const ids = await pushBatch(server, numbered(100));
    const page = openLibrary(server, { ...address, since: "all", transports: [transport] });
    page.push.addEventListener("message", ({ data }) => void (data === "4" && page.push.close()));

    await page.until("close");
    await untilSessions(server, 0);

    expect(page.messages.map(({ data }) => data)).toEqual(["0", "1", "2", "3", "4"]);
    expect(page.push.position).toBe(ids[4]);
    expect(page.told.map(({ type }) => type)).toEqual(["open", "close"]);
  });

  test.each(transports)("when it opens, also where a reset would follow, over %s", async (transport) => {
    await using server = await startServer();
    const page = openLibrary(server, { ...address, since: "other-7", transports: [transport] });
    page.push.onopen = () => page.push.close();

    await page.until("close");
    await untilSessions(server, 0);

    expect(page.told.filter(({ type }) => type === "reset")).toEqual([]);
    expect(page.push.state).toBe("closed");
  });

  test.each(["close", "error"])("in a listener for %s", async (type) => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    const page = openLibrary(relay, { ...address, times: { first: 1, cap: 1 } });
    await page.until("open");
    page.push.addEventListener(type, () => page.push.close());

    relay.cut();
    await eventually("its end", () => page.push.state === "closed");
    relay.mend();

    expect(page.of("close").at(-1)).toMatchObject({ code: 1000, willReconnect: false });
    expect(page.of("close").filter(({ willReconnect }) => willReconnect === false).length).toBe(1);
  });

  test("asks for no token any more, also between two connections", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    let asked = 0;
    const token = () => {
      asked++;
      return "";
    };
    const page = openLibrary(relay, { ...address, token, times: { first: 60_000, cap: 60_000 } });
    await page.until("open");
    relay.cut();
    await page.until("close");
    relay.mend();

    page.push.close();
    page.push.close();
    using other = openLibrary(relay, address);
    await other.until("open");

    expect(asked).toBe(1);
    expect(page.of("close").map(({ code }) => code)).toEqual([1006, 1000]);
  });
});

/** What only browsers have, and some pages may not use. */
async function withStorage(storage: object, work: () => Promise<void>): Promise<void> {
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, ...storage });
  try {
    await work();
  } finally {
    Reflect.deleteProperty(globalThis, "sessionStorage");
  }
}

function openNotes() {
  const notes = new Map<string, string>();
  const storage = {
    getItem: (key: string) => notes.get(key) ?? null,
    setItem: (key: string, value: string) => void notes.set(key, value),
  };
  return { notes, storage: { value: storage } };
}

function refuse(): never {
  throw new Error("SecurityError");
}

describe("where a page keeps its position", () => {
  test("is what it has handled, also by an iterator that is slow", async () => {
    await using server = await startServer({ ping: "100ms" });
    const { notes, storage } = openNotes();
    await withStorage(storage, async () => {
      using page = openLibrary(server, { ...address, resume: "tab" });
      const messages = page.push[Symbol.asyncIterator]();
      const first = messages.next();
      await page.until("open");
      const ids = await pushBatch(server, numbered(2));
      await first;
      await push(server, "userid=456", "for another user");
      await eventually("a later position", () => page.push.position !== ids[1]);
      expect([...notes.values()]).not.toContain(ids[0]);

      await messages.next();
      expect([...notes.values()]).toEqual([ids[0] ?? ""]);
    });
  });

  test("a page that is loaded again goes on from there", async () => {
    await using server = await startServer();
    const { storage } = openNotes();
    await withStorage(storage, async () => {
      const page = openLibrary(server, { ...address, resume: "tab" });
      await page.until("open");
      await push(server, "userid=123", "before");
      await page.untilMessages(1);
      page.push.close();
      const { id } = await push(server, "userid=123", "meanwhile");

      using again = openLibrary(server, { ...address, resume: "tab" });
      await again.untilMessages(1);

      expect(again.messages).toEqual([{ id, type: "message", data: "meanwhile" }]);
    });
  });

  test("may be closed to it, which holds up nothing", async () => {
    await using server = await startServer();
    await withStorage({ get: refuse }, async () => {
      using page = openLibrary(server, { ...address, resume: "tab" });
      await page.until("open");
      await push(server, "userid=123", "m");
      await page.untilMessages(1);
    });
  });
});

test("a page without a server to go to is told so at once", () => {
  expect(() => open({ userid: "123" })).toThrow(TypeError);
});
