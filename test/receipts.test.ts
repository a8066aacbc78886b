import { expect, test } from "bun:test";
import { toTopic } from "../src/address.ts";
import { Receipts } from "../src/receipts.ts";
import type { Session } from "../src/session.ts";
import { createRig, createSession } from "./support/hub.ts";

const topic = toTopic({ userid: "7" });

/** Time stands still, but for who lets it pass. */
function createClock() {
  const clock = { ms: 1_000_000 };
  const receipts = new Receipts(10, () => clock.ms);
  const begin = (openedAt = clock.ms): Session => {
    const session = { ...createSession(), openedAt };
    receipts.began(session);
    return session;
  };
  const wait = (ttl?: number) => {
    receipts.takePlace();
    return receipts.wait({ topic, offset: 1, ...(ttl !== undefined && { ttl }) }, 60_000);
  };
  return { clock, receipts, begin, wait };
}

test("a session that began before the end of the ttl counts, and one that began after it does not", async () => {
  const { clock, receipts, begin, wait } = createClock();
  const answered = wait(60);
  clock.ms += 59_999;
  const inTime = begin();
  clock.ms += 2;
  const late = begin();

  receipts.acknowledge(late, 0, 1);
  await Promise.resolve();
  expect(receipts.size).toBe(1);

  receipts.acknowledge(inTime, 0, 1);
  expect(await answered).toBe(1);
});

test("with ttl=0 only a session that was there counts, be it of the same millisecond", async () => {
  const { clock, receipts, begin, wait } = createClock();
  const there = begin(clock.ms + 0.001);
  const answered = wait(0);
  const late = begin(clock.ms + 0.002);

  receipts.acknowledge(late, 0, 1);
  await Promise.resolve();
  expect(receipts.size).toBe(1);

  receipts.acknowledge(there, 0, 1);
  expect(await answered).toBe(1);
});

test("a clock that is set back makes no session too late", async () => {
  const { clock, receipts, begin, wait } = createClock();
  const before = begin();
  clock.ms -= 500_000;
  const first = wait(1);
  receipts.acknowledge(before, 0, 1);
  expect(await first).toBe(1);

  const second = wait(1);
  receipts.acknowledge(begin(before.openedAt + 0.001), 0, 1);
  expect(await second).toBe(1);
});

test("who has gone waits no longer, be it before the wait began", async () => {
  const { receipts } = createClock();
  const gone = new AbortController();
  receipts.takePlace();
  const answered = receipts.wait({ topic, offset: 1 }, 60_000, gone.signal);

  gone.abort();
  expect(await answered).toBe(0);
  receipts.takePlace();
  expect(await receipts.wait({ topic, offset: 2 }, 60_000, gone.signal)).toBe(0);
  expect(receipts.size).toBe(0);
});

test("an id that is ahead of all that was sent is no receipt", async () => {
  const { hub } = createRig({});
  const session = createSession();
  hub.attach(session, hub.head);
  const { id } = await hub.publish({ topic, body: "hello" });
  hub.receipts.takePlace();
  const answered = hub.receipts.wait({ topic, offset: hub.head }, 60_000);

  hub.acknowledge(session, 0, hub.toId(hub.head + 1));
  await Promise.resolve();
  expect(hub.receipts.size).toBe(1);

  hub.acknowledge(session, 0, id);
  expect(await answered).toBe(1);
});
