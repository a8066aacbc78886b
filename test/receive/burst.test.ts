/**
 * Much for one session at once: a reader that reads is not taken for a slow one, however much comes in one call or in one commit.
 */
import { describe, expect, test } from "bun:test";
import { postBatch, toArray, toReceipts } from "../support/batches.ts";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { makeFolder } from "../support/folder.ts";
import { startServer } from "../support/server.ts";
import { streams } from "../support/transports.ts";

/** Together more than three times what may wait for a session. */
const messages = Array.from({ length: 60 }, (_, index) => `${index}`.padEnd(60_000, "-"));

describe.each(streams)("a reader over $name", ({ open }) => {
  test("gets all of a batch of several times --max-queued, in order", async () => {
    await using server = await startServer();
    await using reader = await open(server, { query: "userid=1" });

    const receipts = await toReceipts(
      await postBatch(server, toArray(messages.map((message) => ({ userid: "1", message })))),
    );

    const received: string[] = [];
    for (const _ of messages) received.push((await reader.next()).data);
    expect(received).toEqual(messages);
    expect(receipts.map(({ sessions }) => sessions)).toEqual(messages.map(() => 1));
  });

  test("gets all pushes that are committed to a file together", async () => {
    await using folder = await makeFolder();
    await using server = await startServer({ data: folder.file("journal.db") });
    await using reader = await open(server, { query: "userid=1" });

    const receipts = await Promise.all(messages.map((message) => push(server, "userid=1", message)));

    const received: string[] = [];
    for (const _ of messages) received.push((await reader.next()).data);
    expect(received.toSorted()).toEqual(messages.toSorted());
    expect(receipts.map(({ sessions }) => sessions)).toEqual(messages.map(() => 1));
  });
});

test("others are answered while a batch goes out to a thousand sessions", async () => {
  await using server = await startServer();
  await using first = await connect(server);
  const crowd = await Promise.all(Array.from({ length: 1000 }, () => connect(server)));
  const items = Array.from({ length: 2000 }, (_, index) => ({ all: true, message: `${index}` }));
  let isOver = false;

  const batch = postBatch(server, toArray(items)).then(() => (isOver = true));
  await first.next();
  const health = await fetch(`${server.url}/healthz`);
  const wasOver = isOver;
  await batch;

  expect([health.status, wasOver]).toEqual([200, false]);
  for (const client of crowd) await client[Symbol.asyncDispose]();
}, 30_000);
