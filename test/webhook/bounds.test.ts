/**
 * What waits for a back end that takes nothing is bounded, and what happens at the bound is said.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { openReceiver } from "../support/receiver.ts";
import { openRig, type WebhooksRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const maxBytes = 1024 * 1024;
const text = "x".repeat(1000);
const closes = "a webhook's queue is full: the oldest events of coming and going are dropped";
const closesTo = "a webhook's queue is full: the oldest events of what found nobody are dropped too";
const refuses = "a webhook's queue is full: messages of clients are refused";

function come(rig: WebhooksRig, from: number, to: number): void {
  for (let user = from; user < to; user++) rig.events.record("user.online", { userid: String(user) });
}

/** Sends as long as there is room, by turns of the event loop as clients do; tells how many it were. */
async function fill(rig: WebhooksRig): Promise<number> {
  let sent = 0;
  for (; sent < 10_000 && rig.webhooks.hasRoom(text.length); sent++) {
    rig.send(`s-${sent % 40}`, `${sent} ${text}`);
    if (sent % 10 === 0) await new Promise(setImmediate);
  }
  return sent;
}

function countLines(rig: WebhooksRig, line: string): number {
  return rig.log.filter(({ msg }) => msg === line).length;
}

test("over the bound the oldest of coming and going are dropped and counted, and the log says so once", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  await using rig = await openRig([receiver.url], { maxBytes });

  come(rig, 0, 10_000);
  await eventually("a queue that is full", () => rig.count("dropped") > 5000);
  const waiting = rig.webhooks.size;
  await receiver.begin();
  await rig.untilEmpty();

  expect(waiting * 512).toBeLessThan(maxBytes);
  expect(waiting * 700).toBeGreaterThan(maxBytes);
  expect(rig.count("dropped") + rig.count("taken")).toBe(10_000);
  const users = receiver.events.map(({ data }) => Number(data["userid"]));
  // Those that were tried when there was room for all were not among what could be dropped just then.
  const newest = users.filter((user) => user >= 10_000 - waiting + 100);
  expect(newest.toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: waiting - 100 }, (_, index) => 10_000 - waiting + 100 + index),
  );
  expect(countLines(rig, closes)).toBe(1);
});

/** So many pushes find nobody. */
function miss(rig: WebhooksRig, from: number, to: number): void {
  for (let push = from; push < to; push++) rig.events.record("message.unclaimed", { id: `push-${push}` });
}

test("what found nobody is not dropped while there is anything of coming and going", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  await using rig = await openRig([receiver.url], { maxBytes });
  miss(rig, 0, 500);
  come(rig, 0, 5000);
  await eventually("a queue that is full", () => rig.count("dropped") > 2000);
  miss(rig, 500, 1000);
  come(rig, 5000, 10_000);
  await eventually("all have arrived", () => rig.count("dropped") + rig.webhooks.size >= 11_000);

  await receiver.begin();
  await rig.untilEmpty();

  const unclaimed = receiver.events.filter(({ type }) => type === "message.unclaimed");
  expect(unclaimed).toHaveLength(1000);
  expect(rig.count("dropped") + rig.count("taken")).toBe(11_000);
  expect([countLines(rig, closes), countLines(rig, closesTo)]).toEqual([1, 0]);
});

test("when nothing else is left, the oldest of what found nobody are dropped, for such and for messages alone, and the log says so once", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  await using rig = await openRig([receiver.url], { maxBytes });

  miss(rig, 0, 5000);
  await eventually("a queue that is full", () => rig.count("dropped") > 2000);
  await eventually("all have arrived", () => rig.count("dropped") + rig.webhooks.size === 5000);
  const dropped = rig.count("dropped");
  come(rig, 0, 100);
  await eventually("none of coming and going", () => rig.count("dropped") === dropped + 100);
  rig.send("s", text);
  await eventually("room for a message", () => rig.count("dropped") > dropped + 100);
  await receiver.begin();
  await rig.untilEmpty();

  expect(Array.from(receiver.messages.values()).flat()).toEqual([text]);
  const ids = receiver.events.map(({ data }) => String(data["id"]));
  expect(ids).toContain("push-4999");
  // Those that were tried just then were not among what could be dropped.
  expect(ids.filter((id) => Number(id.slice(5)) < 2000).length).toBeLessThan(100);
  expect([countLines(rig, closes), countLines(rig, closesTo)]).toEqual([1, 1]);
});

test("messages make room for themselves, are never dropped, and are refused when nothing else waits", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  await using rig = await openRig([receiver.url], { maxBytes });
  come(rig, 0, 1000);

  const sent = await fill(rig);

  expect(sent * 1500).toBeLessThan(maxBytes * 1.01);
  expect(sent * 1800).toBeGreaterThan(maxBytes);
  await eventually("all that came is dropped", () => rig.count("dropped") >= 1000 - 32);
  expect(rig.webhooks.hasRoom(text.length)).toBe(false);
  expect([countLines(rig, closes), countLines(rig, refuses)]).toEqual([1, 1]);

  await receiver.begin();
  await eventually("room", () => rig.webhooks.hasRoom(text.length));
  await rig.untilEmpty();
  expect(Array.from(receiver.messages.values()).flat()).toHaveLength(sent);
  expect(rig.webhooks.hasRoom(maxBytes / 2)).toBe(true);
});

test("a message as large as the queue is taken when nothing else waits, also as base64", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url], { maxBytes });

  for (let round = 1; round <= 3; round++) {
    expect(rig.webhooks.hasRoom(maxBytes)).toBe(true);
    rig.events.record("message.received", {
      session: "s",
      base64: Buffer.alloc(maxBytes).toString("base64"),
    });
    await rig.untilEmpty();
    expect(receiver.taken).toHaveLength(round);
  }
});

test("a queue that was full and emptied has as much room as before, many times over", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url], { maxBytes: 100_000 });
  const counts: number[] = [];
  for (let round = 0; round < 5; round++) {
    await receiver.end();
    come(rig, 0, 500);
    counts.push(await fill(rig));
    await receiver.begin();
    await rig.untilEmpty();
  }

  const [first = 0] = counts;
  for (const count of counts) expect(Math.abs(count - first)).toBeLessThanOrEqual(10);
});

test("hundreds of thousands of events of coming and going during an outage take no more memory than the bound", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  await using rig = await openRig([receiver.url], { maxBytes, retention: { count: 100 } });
  const rounds = 60;
  const oneRound = async (round: number) => {
    come(rig, round * 5000, (round + 1) * 5000);
    await rig.events.written();
    await eventually("they have arrived", () => rig.webhooks.size < 2000);
  };
  for (let round = 0; round < 20; round++) await oneRound(round);
  Bun.gc(true);
  const before = process.memoryUsage.rss();

  for (let round = 20; round < rounds; round++) await oneRound(round);

  Bun.gc(true);
  expect(process.memoryUsage.rss() - before).toBeLessThan(60 * 1024 * 1024);
  expect(rig.webhooks.size * 512).toBeLessThan(maxBytes);
});
