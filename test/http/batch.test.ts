/**
 * Many messages in one call: whom they reach, in which order, and what the publisher is told.
 */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { batchForms, type BatchItem, postBatch, toArray, toReceipts } from "../support/batches.ts";
import { push, pushToAll, receiveUntil, toOffset, toProblem, toReceipt } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, textsOf } from "../support/poll.ts";
import { toQuery } from "../support/pushes.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { type Item, type Receiver, transports } from "../support/transports.ts";

const epochOf = ({ id }: { readonly id: string }) => id.slice(0, id.indexOf("-"));
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each(batchForms)("a batch as $name", ({ toBatch }) => {
  test("reaches each of its addresses, in the order in which its messages stand", async () => {
    await using server = await startServer();
    await using inbox = await connect(server, "userid=1&compid=inbox");
    await using chart = await connect(server, "userid=1&compid=chart");
    await using other = await connect(server, "userid=2&compid=inbox");
    await using nobody = await connect(server);

    await postBatch(
      server,
      toBatch([
        { userid: "1", compid: "inbox", message: "to the inbox" },
        { userid: "1", message: "to the user" },
        { compid: "inbox", message: "to every inbox" },
        { all: true, message: "to all" },
        { userid: "3", message: "to somebody else" },
        { userid: "1", compid: "inbox", message: "to the inbox again" },
        { all: true, message: "end" },
      ]),
    );

    expect(await receiveUntil(inbox, "end")).toEqual([
      "to the inbox",
      "to the user",
      "to every inbox",
      "to all",
      "to the inbox again",
    ]);
    expect(await receiveUntil(chart, "end")).toEqual(["to the user", "to all"]);
    expect(await receiveUntil(other, "end")).toEqual(["to every inbox", "to all"]);
    expect(await receiveUntil(nobody, "end")).toEqual(["to all"]);
  });

  test("is answered with a place for each message: its id, and the sessions that it was sent to", async () => {
    await using server = await startServer();
    await using inbox = await connect(server, "userid=1&compid=inbox");
    await using chart = await connect(server, "userid=1&compid=chart");
    const before = await push(server, "userid=1", "before");

    const answer = await postBatch(
      server,
      toBatch([
        { userid: "1", compid: "inbox", message: "a" },
        { userid: "1", message: "b" },
        { userid: "3", message: "c" },
        { all: true, message: "d" },
      ]),
    );

    expect(answer.status).toBe(200);
    expect(await toReceipts(answer)).toEqual(
      [1, 2, 0, 2].map((sessions, index) => ({ id: `${epochOf(before)}-${index + 2}`, sessions })),
    );
    expect([inbox.socket.readyState, chart.socket.readyState]).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
  });

  test("is answered with 202 when none of its messages reached anybody, and it is kept", async () => {
    await using server = await startServer();

    const answer = await postBatch(
      server,
      toBatch([
        { userid: "1", message: "a" },
        { all: true, message: "b" },
      ]),
    );

    expect(answer.status).toBe(202);
    expect((await toReceipts(answer)).map(({ sessions }) => sessions)).toEqual([0, 0]);
    expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual(["a", "b"]);
  });

  test("is answered with 200 when only its last message reached somebody", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=2");

    const answer = await postBatch(
      server,
      toBatch([
        { userid: "1", message: "a" },
        { userid: "2", message: "b" },
      ]),
    );

    expect(answer.status).toBe(200);
    expect(await client.next()).toBe("b");
  });

  test("is answered as JSON that no cache keeps", async () => {
    await using server = await startServer();

    const { headers } = await postBatch(server, toBatch([{ userid: "1", message: "a" }]));

    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("cache-control")).toBe("no-store");
  });

  test("may be of one message, which is answered in an array like any", async () => {
    await using server = await startServer();

    const receipts = await toReceipts(await postBatch(server, toBatch([{ userid: "1", message: "a" }])));

    expect(receipts).toEqual([{ id: expect.stringMatching(/^[0-9a-z]{8}-1$/), sessions: 0 }]);
  });

  test("has the messages of one batch after one another, however many come at once", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");

    const answers = await Promise.all(
      upTo(20).map(async (batch) => {
        const items = upTo(50).map((index) => ({ userid: "1", message: `${batch}:${index}` }));
        return { batch, receipts: await toReceipts(await postBatch(server, toBatch(items))) };
      }),
    );
    await push(server, "userid=1", "end");

    const order = answers.toSorted((a, b) => first(a.receipts) - first(b.receipts));
    for (const { receipts } of order)
      expect(receipts.map(toOffset)).toEqual(upTo(50).map((index) => first(receipts) + index));
    expect(await receiveUntil(client, "end")).toEqual(
      order.flatMap(({ batch }) => upTo(50).map((index) => `${batch}:${index}`)),
    );
  });
});

describe.each(transports)("over $name", ({ open }) => {
  test("10,000 messages of one batch arrive in order", async () => {
    await using server = await startServer();
    await using receiver = await open(server, { query: "userid=1" });
    const sent = upTo(10_000).map((index) => `${index}`);

    const answering = postBatch(server, toArray(sent.map((message) => ({ userid: "1", message }))));

    expect(await takeTexts(receiver, sent.length)).toEqual(sent);
    expect((await toReceipts(await answering)).map(toOffset)).toEqual(upTo(10_000).map((index) => index + 1));
  }, 30_000);
});

describe("with --data", () => {
  test("10,000 messages of one batch are there in order after a restart", async () => {
    await using folder = await makeFolder();
    const settings = { data: folder.file("journal.db") };
    const sent = upTo(10_000).map((index) => `${index}`);
    await using before = await startServer(settings);
    const receipts = await toReceipts(
      await postBatch(before, toArray(sent.map((message) => ({ userid: "1", message })))),
    );
    await before.drain();

    await using after = await startServer(settings);
    await using receiver = await openTransport("SSE", after, "all");

    const received = await takeItems(receiver, sent.length);
    expect(received).toEqual(receipts.map(({ id }, index) => ({ id, data: `${index}` })));
  }, 60_000);

  test("a batch that the journal cannot take is refused with 503 as a whole, and can be sent again", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    await using server = await startServer({ data: file });
    await using client = await connect(server, "userid=1");
    await push(server, "userid=1", "before");
    using other = new Database(file);
    other.run("BEGIN IMMEDIATE");
    const batch = toArray([
      { userid: "1", message: "a" },
      { userid: "1", message: "b" },
    ]);

    const refused = await postBatch(server, batch);
    other.run("ROLLBACK");
    await eventually("it takes messages again", async () => (await fetch(`${server.url}/readyz`)).ok);
    const taken = await toReceipts(await postBatch(server, batch));
    await push(server, "userid=1", "end");

    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    const problem = await toProblem(refused);
    expect(problem).toMatchObject({ code: "unavailable" });
    expect(problem).not.toHaveProperty("item");
    expect(taken.map(toOffset)).toEqual([2, 3]);
    expect(await receiveUntil(client, "end")).toEqual(["before", "a", "b"]);
  }, 30_000);
});

const id = fc.constantFrom("1", "2", "é 日", "__proto__");
const name = fc
  .string({ unit: "binary", minLength: 1, maxLength: 12 })
  .filter((text) => !/[\p{Cc}\ufffd]/u.test(text) && !text.startsWith("push."));
const options = {
  event: name,
  key: fc.constantFrom("progress", "price"),
  // Not so short that it could be over before the test is.
  ttl: fc.constantFrom(0, 600, 31_536_000),
};
const message = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
const all = fc.constant(true as const);
const item: fc.Arbitrary<BatchItem> = fc.oneof(
  fc.record({ userid: id, message, ...options }, { requiredKeys: ["userid", "message"] }),
  fc.record({ compid: id, message, ...options }, { requiredKeys: ["compid", "message"] }),
  fc.record(
    { userid: id, compid: id, message, ...options },
    { requiredKeys: ["userid", "compid", "message"] },
  ),
  fc.record({ all, message, ...options }, { requiredKeys: ["all", "message"] }),
);

test("any batch, in either form, gives what the same pushes one after another give", async () => {
  await using batched = await startServer();
  await using single = await startServer();
  const clients = ["userid=1&compid=1", "userid=2", `compid=${encodeURIComponent("é 日")}`, ""];
  const openAll = (server: TestServer) =>
    Promise.all(clients.map((query) => openTransport("push.v1", server, undefined, query)));
  const ofBatch = await openAll(batched);
  const alone = await openAll(single);

  await fc.assert(
    fc.asyncProperty(
      fc.array(item, { minLength: 1, maxLength: 8 }),
      fc.constantFrom(...batchForms),
      async (items, { toBatch }) => {
        const begun = await pushToAll(batched, "begin");
        const begunAlone = await pushToAll(single, "begin");

        const receipts = await toReceipts(await postBatch(batched, toBatch(items)));
        const receiptsAlone = [];
        for (const one of items) receiptsAlone.push(await pushAlone(single, one));
        await pushToAll(batched, "end");
        await pushToAll(single, "end");

        const live = await Promise.all(ofBatch.map(takeUntilEnd));
        const liveAlone = await Promise.all(alone.map(takeUntilEnd));
        expect(receipts.map(toPlace)).toEqual(receiptsAlone.map(toPlace));
        expect(live).toEqual(liveAlone);
        for (const query of clients) {
          const kept = await poll(batched, { query: `${query}&since=${begun.id}` });
          const keptAlone = await poll(single, { query: `${query}&since=${begunAlone.id}` });
          expect(kept.messages.map(toPlace)).toEqual(keptAlone.messages.map(toPlace));
        }
      },
    ),
    { numRuns: 100, verbose: 1 },
  );

  for (const receiver of [...ofBatch, ...alone]) await receiver[Symbol.asyncDispose]();
}, 60_000);

async function pushAlone(server: TestServer, { message: body, all: toAll, ...query }: BatchItem) {
  const path = toAll ? "pushtoall" : "push";
  return await toReceipt(
    await fetch(`${server.url}/${path}?${toQuery(query)}`, {
      method: "POST",
      body,
    }),
  );
}

/** The same but for the epoch, which is another one in every server. */
function toPlace<Value extends { readonly id?: string }>({ id: own = "", ...rest }: Value) {
  return { ...rest, offset: own.slice(own.indexOf("-") + 1) };
}

async function takeUntilEnd(receiver: Receiver) {
  const items = [];
  for (;;) {
    const one = await receiver.next();
    if (one.data === "end") return items;
    items.push(toPlace(one));
  }
}

async function openTransport(wanted: string, server: TestServer, since?: string, query = "userid=1") {
  const transport = transports.find((one) => one.name === wanted);
  if (transport === undefined) throw new Error(`there is no transport ${wanted}`);
  return await transport.open(server, { query, ...(since !== undefined && { since }) });
}

async function takeItems(receiver: Receiver, count: number): Promise<Item[]> {
  const items: Item[] = [];
  while (items.length < count) items.push(await receiver.next());
  return items;
}

async function takeTexts(receiver: Receiver, count: number): Promise<string[]> {
  return (await takeItems(receiver, count)).map(({ data }) => data);
}

function first(receipts: readonly { readonly id: string }[]): number {
  const [receipt] = receipts;
  return receipt === undefined ? Number.NaN : Number(receipt.id.slice(receipt.id.indexOf("-") + 1));
}
