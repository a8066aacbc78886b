/**
 * What the journal is for: a client that was away gets exactly what it missed, in order, then what is live, once. On every
 * transport, and from any to any.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, type Receipt, toReceipt, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";
import { type Item, type Receiver, transports } from "../support/transports.ts";

async function take(receiver: Receiver, count: number): Promise<Item[]> {
  const items: Item[] = [];
  while (items.length < count) items.push(await receiver.next());
  return items;
}

async function takeUntil(receiver: Receiver, last: string): Promise<string[]> {
  const texts: string[] = [];
  for (let { data } = await receiver.next(); data !== last; { data } = await receiver.next())
    texts.push(data);
  return texts;
}

async function pushBytes(
  server: TestServer,
  query: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<Receipt> {
  return await toReceipt(
    await fetch(`${server.url}/push?${query}`, {
      method: "POST",
      body: bytes,
      headers: { "Content-Type": "application/octet-stream" },
    }),
  );
}

/** Waits until a message with a ttl of one second has expired, by the server's own word. */
async function untilExpired(server: TestServer, open: (typeof transports)[number]["open"]): Promise<void> {
  await eventually("the end of its ttl", async () => {
    await using probe = await open(server, { query: "userid=ttl", since: "all" });
    await pushToAll(server, "probed");
    return (await probe.next()).data === "probed";
  });
}

describe.each(transports)(
  "over $name, a client that comes back",
  ({ open, hasIds, hasEvents, showBytes }) => {
    /** As the transport shows it. */
    const toItem = (id: string, data: string, event?: string): Item => ({
      ...(hasIds && { id }),
      ...(hasEvents && event !== undefined && { event }),
      data,
    });

    test("gets exactly what it missed, in order, then what is live, once", async () => {
      await using server = await startServer();
      const missed: Receipt[] = [];
      const last = await push(server, "userid=1", "had");
      for (let index = 0; index < 10; index++) missed.push(await push(server, "userid=1", `missed ${index}`));

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      const items = await take(receiver, 10);
      const live = await push(server, "userid=1", "live");
      items.push(await receiver.next());

      expect(receiver.resumed).toBe(true);
      expect(items).toEqual([
        ...missed.map(({ id }, index) => toItem(id, `missed ${index}`)),
        toItem(live.id, "live"),
      ]);
    });

    test("gets what all four of its topics got, in the order in which it was pushed, and nothing else", async () => {
      await using server = await startServer();
      const last = await pushToAll(server, "had");
      const addresses = ["userid=1&compid=a", "userid=1", "compid=a"];
      const others = ["userid=2&compid=a", "userid=1&compid=b", "userid=2", "compid=b"];
      for (let round = 0; round < 5; round++) {
        for (const address of [...addresses, ...others]) await push(server, address, `${round} ${address}`);
        await pushToAll(server, `${round} all`);
      }

      await using receiver = await open(server, { query: "userid=1&compid=a", since: last.id });
      await pushToAll(server, "end");

      const expected = [0, 1, 2, 3, 4].flatMap((round) =>
        [...addresses, "all"].map((address) => `${round} ${address}`),
      );
      expect(await takeUntil(receiver, "end")).toEqual(expected);
    });

    test.each([
      ["a user alone", "userid=1", ["user", "all"]],
      ["a component alone", "compid=a", ["component", "all"]],
      ["neither", "", ["all"]],
    ])("with %s gets what was for it", async (_, query, expected) => {
      await using server = await startServer();
      const last = await pushToAll(server, "had");
      await push(server, "userid=1&compid=a", "both");
      await push(server, "userid=1", "user");
      await push(server, "compid=a", "component");
      await pushToAll(server, "all");

      await using receiver = await open(server, { query, since: last.id });
      await pushToAll(server, "end");

      expect(await takeUntil(receiver, "end")).toEqual(expected);
    });

    test("gets bytes and the names of events as one that was there does", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      const bytes = Uint8Array.of(0, 10, 13, 128, 255);
      const missed = [
        await push(server, "userid=1&event=order", '{"order":17}'),
        await pushBytes(server, "userid=1", bytes),
        await pushBytes(server, "userid=1&event=thumb", bytes),
      ];

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      const replayed = await take(receiver, 3);
      const [live] = await Promise.all([receiver.next(), pushBytes(server, "userid=1&event=thumb", bytes)]);

      const [order, plain, thumb] = missed.map(({ id }) => id);
      expect(replayed).toEqual([
        toItem(order ?? "", '{"order":17}', "order"),
        toItem(plain ?? "", showBytes(bytes)),
        toItem(thumb ?? "", showBytes(bytes), "thumb"),
      ]);
      expect({ ...live, id: "" }).toEqual({ ...toItem("", showBytes(bytes), "thumb"), id: "" });
    });

    test("gets any text as it was pushed", async () => {
      const texts = [
        "\uFEFFmark",
        "line\nbreak\n",
        "\n",
        " ",
        "\u0001\u2028😀",
        '"quoted\\"',
        "é".repeat(1000),
      ];
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      for (const text of texts) await push(server, "userid=1", text);

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      for (const text of texts) expect((await receiver.next()).data).toBe(text);
      for (const text of texts) {
        const [live] = await Promise.all([receiver.next(), push(server, "userid=1", text)]);
        expect(live.data).toBe(text);
      }
    });

    test("does not get what a later one replaced, and loses nothing by it", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      await push(server, "userid=1&key=progress", "10 %");
      await push(server, "userid=1", "between");
      await push(server, "userid=1&key=price", "5");
      await push(server, "userid=1&key=progress", "90 %");

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      await push(server, "userid=1", "end");

      expect(receiver.resumed).toBe(true);
      expect(await takeUntil(receiver, "end")).toEqual(["between", "5", "90 %"]);
    });

    test("does not get what has expired, and loses nothing by it", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      await push(server, "userid=1&ttl=1", "short-lived");
      await push(server, "userid=1&ttl=60", "long-lived");
      await push(server, "userid=ttl&ttl=1", "later than it");
      await untilExpired(server, open);

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      await push(server, "userid=1", "end");

      expect(receiver.resumed).toBe(true);
      const texts = await takeUntil(receiver, "end");
      expect(texts.filter((text) => text !== "probed")).toEqual(["long-lived"]);
    });

    test("has missed what was for those connected alone, and loses nothing by it", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      const { sessions } = await push(server, "userid=1&ttl=0", "now or never");

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      await push(server, "userid=1", "end");

      expect([sessions, receiver.resumed]).toEqual([0, true]);
      expect(await takeUntil(receiver, "end")).toEqual([]);
    });

    test("gets what is for those connected alone from then on", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");

      await using receiver = await open(server, { query: "userid=1", since: last.id });
      const next = receiver.next();
      await untilSessions(server, 1);
      const { sessions } = await push(server, "userid=1&ttl=0", "now or never");

      expect([(await next).data, sessions]).toEqual(["now or never", 1]);
    });

    test("is counted, by whether what it missed could be proven", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");

      await using proven = await open(server, { query: "userid=1", since: last.id });
      await using not = await open(server, { query: "userid=1", since: "00000000-1" });
      await using fresh = await open(server, { query: "userid=1" });

      expect([proven.resumed, not.resumed, fresh.resumed]).toEqual([true, false, undefined]);
      const figures = await readMetrics(server);
      expect(figures.get('server_push_resumes_total{proven="true"}')).toBe(1);
      expect(figures.get('server_push_resumes_total{proven="false"}')).toBe(1);
    });

    test("while messages keep coming gets each of them once, in order", async () => {
      await using server = await startServer();
      const last = await push(server, "userid=1", "had");
      const over = new AbortController();
      let pushed = 0;
      const publisher = (async () => {
        while (!over.signal.aborted) await push(server, "userid=1", `${pushed++}`);
        await push(server, "userid=1", "end");
      })();
      await eventually("some messages", () => pushed > 50);

      await using first = await open(server, { query: "userid=1", since: last.id });
      await eventually("some more", () => pushed > 150);
      await using second = await open(server, { query: "userid=1", since: last.id });
      await eventually("and more", () => pushed > 250);
      over.abort();
      await publisher;

      const expected = Array.from({ length: pushed }, (_, index) => `${index}`);
      expect(await takeUntil(first, "end")).toEqual(expected);
      expect(await takeUntil(second, "end")).toEqual(expected);
    });
  },
);

describe.each(transports.filter(({ hasIds }) => hasIds))("an id that $name gave", (from) => {
  test.each(transports)("resumes over $name", async (to) => {
    await using server = await startServer();
    await using first = await from.open(server, { query: "userid=1" });
    const [{ id }] = await Promise.all([first.next(), push(server, "userid=1", "had")]);
    await first[Symbol.asyncDispose]();
    await push(server, "userid=1", "missed");

    await using second = await to.open(server, { query: "userid=1", since: id ?? "" });

    expect(second.resumed).toBe(true);
    expect((await second.next()).data).toBe("missed");
  });

  test("at its start resumes over every transport", async () => {
    await using server = await startServer();
    await pushToAll(server, "before");
    await using first = await from.open(server, { query: "userid=1" });
    await push(server, "userid=1", "missed");

    for (const { open } of transports) {
      await using second = await open(server, { query: "userid=1", since: first.start });
      expect([second.resumed, (await second.next()).data]).toEqual([true, "missed"]);
    }
  });
});
