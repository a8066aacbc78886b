/**
 * What a message can have besides its body and its address: a time to live, a key to be replaced by, and the name of an event. In
 * every form of a push, and for clients of every transport.
 */
import { describe, expect, test } from "bun:test";
import { postBatch, toArray, toReceipts } from "../support/batches.ts";
import { push, pushToAll, type Receipt, toOffset, toReceipt } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, textsOf } from "../support/poll.ts";
import { pushForms, toOnlyReceipt, toQuery } from "../support/pushes.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { type Item, type Receiver, streams, transports } from "../support/transports.ts";

const query = "userid=1&compid=inbox";

/** What it gets up to a message that is pushed now. */
async function takeUntilNow(receiver: Receiver, server: TestServer): Promise<Item[]> {
  await pushToAll(server, "now");
  const items: Item[] = [];
  for (;;) {
    const item = await receiver.next();
    if (item.data === "now") return items;
    items.push(item);
  }
}

const textsUntilNow = async (receiver: Receiver, server: TestServer) =>
  (await takeUntilNow(receiver, server)).map(({ data }) => data);

describe.each(pushForms)("$name", ({ push: send }) => {
  test("with an event reaches the clients of every transport, with the name where it has a place for one", async () => {
    await using server = await startServer();
    const receivers = await Promise.all(transports.map(({ open }) => open(server, { query })));
    const event = "order é 日";

    const { id } = await toOnlyReceipt(await send(server, { message: "hello", event }));

    for (const [index, { hasIds, hasEvents }] of transports.entries())
      expect(await receivers[index]?.next()).toEqual({
        data: "hello",
        ...(hasIds && { id }),
        ...(hasEvents && { event }),
      });
    for (const receiver of receivers) await receiver[Symbol.asyncDispose]();
  });

  test("with a ttl of 0 reaches who is connected, and nobody who comes later, who misses nothing by it", async () => {
    await using server = await startServer();
    const before = await push(server, "userid=1", "before");
    const connected = await Promise.all(streams.map(({ open }) => open(server, { query })));

    const answer = await send(server, { message: "now or never", ttl: 0 });

    expect([answer.status, (await toOnlyReceipt(answer)).sessions]).toEqual([200, streams.length]);
    for (const receiver of connected) {
      expect((await receiver.next()).data).toBe("now or never");
      await receiver[Symbol.asyncDispose]();
    }
    for (const { open } of transports)
      for (const since of [before.id, "all"]) {
        await using late = await open(server, { query, since });
        expect(late.resumed).toBe(since === "all" ? undefined : true);
        expect(await textsUntilNow(late, server)).not.toContain("now or never");
      }
  });

  test("with a ttl is there for who comes before it is over", async () => {
    await using server = await startServer();
    await send(server, { message: "for an hour", ttl: 3600 });
    await send(server, { message: "for a year", ttl: 31_536_000 });

    expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual([
      "for an hour",
      "for a year",
    ]);
  });

  test("with a key replaces the earlier one for who comes back, and nothing for who is connected", async () => {
    await using server = await startServer();
    const before = await push(server, "userid=1", "before");
    const connected = await Promise.all(streams.map(({ open }) => open(server, { query })));

    await send(server, { message: "10 %", key: "progress" });
    await send(server, { message: "something else" });
    await send(server, { message: "50 %", key: "progress" });
    await send(server, { message: "another", key: "price" });
    await send(server, { message: "90 %", key: "progress" });

    const all = ["10 %", "something else", "50 %", "another", "90 %"];
    for (const receiver of connected) expect(await textsUntilNow(receiver, server)).toEqual(all);
    for (const receiver of connected) await receiver[Symbol.asyncDispose]();
    for (const { open } of transports) {
      await using back = await open(server, { query, since: before.id });
      expect(back.resumed).toBe(true);
      expect(await textsUntilNow(back, server)).toEqual(["something else", "another", "90 %"]);
    }
  });

  test.each(["message", "Error", "opened"])("takes the event %s, which is nobody's own", async (event) => {
    await using server = await startServer();

    await send(server, { message: "hello", event });

    const { messages } = await poll(server, { query: "userid=1&since=all" });
    expect(messages).toEqual([{ id: expect.any(String), event, data: "hello" }]);
  });

  test("takes the longest event and key, in bytes of UTF-8", async () => {
    await using server = await startServer();
    const [event, key] = ["é".repeat(32), "é".repeat(64)];

    await send(server, { message: "a", event, key });
    await send(server, { message: "b", event, key });

    const { messages } = await poll(server, { query: "userid=1&since=all" });
    expect(messages).toEqual([{ id: expect.any(String), event, data: "b" }]);
  });
});

test("a message whose ttl is over is gone, however it was pushed, and is no loss to who comes back", async () => {
  await using server = await startServer();
  const before = await push(server, "userid=1", "before");
  for (const { push: send } of pushForms) await send(server, { message: "for a second", ttl: 1 });
  await push(server, "userid=1", "after");

  await eventually("all of them have expired", async () => {
    const { resumed, messages } = await poll(server, { query: `userid=1&since=${before.id}` });
    if (resumed !== true) throw new Error("it was taken for a loss");
    return messages.length === 1;
  });

  expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual(["before", "after"]);
}, 30_000);

test("a key is one of its address: the same key with another one replaces nothing", async () => {
  await using server = await startServer();
  const key = "key=progress";
  await push(server, `userid=1&compid=inbox&${key}`, "to the inbox");
  await push(server, `userid=1&${key}`, "to the user");
  await push(server, `compid=inbox&${key}`, "to every inbox");
  await fetch(`${server.url}/pushtoall?${key}&message=to%20all`);
  await push(server, `userid=1&compid=chart&${key}`, "to the chart");
  await push(server, `userid=2&${key}`, "to another user");

  expect(textsOf(await poll(server, { query: `${query}&since=all` }))).toEqual([
    "to the inbox",
    "to the user",
    "to every inbox",
    "to all",
  ]);
});

test("a key within one batch replaces what comes before it there", async () => {
  await using server = await startServer();
  await push(server, "userid=1&key=progress", "0 %");

  await postBatch(
    server,
    toArray([
      { userid: "1", message: "10 %", key: "progress" },
      { userid: "1", compid: "inbox", message: "for the inbox", key: "progress" },
      { userid: "1", message: "20 %", key: "progress" },
    ]),
  );

  expect(textsOf(await poll(server, { query: `${query}&since=all` }))).toEqual(["for the inbox", "20 %"]);
});

test("what was replaced does not come back when what replaced it has expired", async () => {
  await using server = await startServer();
  await push(server, "userid=1&key=progress", "10 %");
  await push(server, "userid=1", "kept");
  await push(server, "userid=1&key=progress&ttl=0", "20 %");

  expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual(["kept"]);
});

test("an event, a key and a ttl hold for each message of a batch on its own", async () => {
  await using server = await startServer();
  const client = streams.find(({ hasIds }) => hasIds);
  await using receiver = await client?.open(server, { query });

  const receipts = await toReceipts(
    await postBatch(
      server,
      toArray([
        { userid: "1", message: "a", event: "first", ttl: 0 },
        { all: true, message: "b" },
        { compid: "inbox", message: "c", event: "third" },
      ]),
    ),
  );

  const [a = "", b = "", c = ""] = receipts.map(({ id }) => id);
  const expected = [
    { id: a, event: "first", data: "a" },
    { id: b, data: "b" },
    { id: c, event: "third", data: "c" },
  ];
  for (const one of expected) expect(await receiver?.next()).toEqual(one);
  expect((await poll(server, { query: `${query}&since=all` })).messages).toEqual(expected.slice(1));
});

describe("bytes", () => {
  const bytes = Uint8Array.of(0, 255, 10, 13, 0xc3);

  async function pushBytes({ url }: TestServer, path: string, options: Record<string, string | number>) {
    return await toReceipt(
      await fetch(`${url}/${path}?${toQuery(options)}`, {
        method: "POST",
        body: bytes,
        headers: { "Content-Type": "application/octet-stream" },
      }),
    );
  }

  const paths: readonly (readonly [path: string, address: Record<string, string>])[] = [
    ["push", { userid: "1" }],
    ["pushtoall", {}],
  ];

  test.each(paths)("with an event arrive on every transport, pushed by POST /%s", async (path, address) => {
    await using server = await startServer();
    const receivers = await Promise.all(transports.map(({ open }) => open(server, { query })));

    await pushBytes(server, path, { ...address, event: "chart" });

    for (const [index, { showBytes, hasEvents }] of transports.entries())
      expect(await receivers[index]?.next()).toMatchObject({
        data: showBytes(bytes),
        ...(hasEvents && { event: "chart" }),
      });
    for (const receiver of receivers) await receiver[Symbol.asyncDispose]();
  });

  test.each(paths)(
    "with a key and a ttl are replaced and expire as texts do, pushed by POST /%s",
    async (path, address) => {
      await using server = await startServer();
      await pushBytes(server, path, { ...address, key: "chart" });
      await pushBytes(server, path, { ...address, ttl: 0 });
      const last = await pushBytes(server, path, { ...address, key: "chart", ttl: 60, event: "chart" });

      const { messages } = await poll(server, { query: `${query}&since=all` });

      expect(messages).toEqual([{ id: last.id, event: "chart", base64: bytes.toBase64() }]);
    },
  );
});

test("with --data, what is left after a restart is what was there: with its event, without what was replaced or has expired", async () => {
  await using folder = await makeFolder();
  const settings = { data: folder.file("journal.db") };
  await using before = await startServer(settings);
  const receipts: Receipt[] = [];
  for (const { push: send } of pushForms) {
    await send(before, { message: "never", ttl: 0 });
    await send(before, { message: "replaced", key: "progress" });
    receipts.push(
      await toOnlyReceipt(await send(before, { message: "kept", event: "order", key: "progress", ttl: 600 })),
    );
  }
  await before.drain();

  await using after = await startServer(settings);

  // The last ones to user 1 and to all, which replaced those of the other forms.
  const kept = [pushForms.findLastIndex(({ isToAll }) => !isToAll), pushForms.length - 1];
  const { messages } = await poll(after, { query: `${query}&since=all` });
  expect(messages).toEqual(
    kept.map((index) => ({ id: receipts[index]?.id ?? "", event: "order", data: "kept" })),
  );
  await push(after, "userid=1&key=progress", "replaces what came before the restart");
  const { messages: later } = await poll(after, { query: `${query}&since=all` });
  expect(later.map(({ id }) => toOffset({ id, sessions: 0 }))).toEqual([18, 19]);
});
