/**
 * What a webhook promises: every message at least once, in order per session, and nobody waits for somebody else.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { untilLogged } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { type Behaviour, openReceiver, type Receiver } from "../support/receiver.ts";
import { openRig, type WebhooksRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const connections = 32;

/** Each session sends as many messages, all of them by turns. */
function sendMany(rig: WebhooksRig, sessions: number, messages: number): void {
  for (let message = 0; message < messages; message++)
    for (let session = 0; session < sessions; session++) rig.send(`s-${session}`, String(message));
}

function expectAll(receiver: Receiver, sessions: number, messages: number): void {
  const all = Array.from({ length: messages }, (_, message) => String(message));
  expect(receiver.messages.size).toBe(sessions);
  for (const arrived of receiver.messages.values()) expect(arrived).toEqual(all);
}

/** How often each event came, and that it was the same each time. */
function expectSameUnderOneId({ letters }: Receiver): void {
  const texts = new Map<string, string>();
  for (const { id, text } of letters) {
    expect(texts.get(id) ?? text).toBe(text);
    texts.set(id, text);
  }
}

test("a back end that takes everything gets everything once, in order per session", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url]);

  sendMany(rig, 50, 40);
  await rig.untilEmpty();

  expectAll(receiver, 50, 40);
  expect(receiver.letters).toHaveLength(2000);
  expect(rig.count("taken")).toBe(2000);
  expect(receiver.connections).toBeLessThanOrEqual(connections);
  expect(rig.log).toEqual([]);
});

describe("a back end that fails at random", () => {
  const failures: Readonly<Record<string, () => Behaviour | Promise<Behaviour>>> = {
    "with 500": () => ({ status: 500, body: "no" }),
    "with 400": () => ({ status: 400 }),
    "with a redirect": () => ({ status: 302, headers: { Location: "/elsewhere" } }),
    "with a body that never ends": async () => ({ status: 503, body: "x".repeat(500_000) }),
    "by cutting the connection": () => "reset",
    "by no answer": () => "hang",
    "in every way": () => {
      const ways: Behaviour[] = [{ status: 500 }, "reset", "hang", { status: 429 }];
      return ways[Math.floor(Math.random() * ways.length)] ?? "reset";
    },
  };
  for (const [how, fail] of Object.entries(failures))
    test(`${how}, gets every message at least once, in order, and what comes twice is the same`, async () => {
      await using receiver = await openReceiver();
      receiver.answer = () => (Math.random() < 0.3 ? fail() : { status: 204 });
      await using rig = await openRig([receiver.url], { timeoutMs: 100 });

      sendMany(rig, 20, 10);
      await rig.untilEmpty();

      expectAll(receiver, 20, 10);
      expectSameUnderOneId(receiver);
      expect(rig.count("taken")).toBe(200);
      // One that was taken, but not in time, has failed too.
      expect(rig.count("failed")).toBeGreaterThanOrEqual(receiver.letters.length - receiver.taken.length);
    });
});

test("an answer that is lost is asked for again: the event comes twice, with one id", async () => {
  await using receiver = await openReceiver();
  const seen: string[] = [];
  receiver.answer = ({ id }) => (seen.push(id) === 1 ? "reset" : { status: 204 });
  await using rig = await openRig([receiver.url]);

  rig.send("s", "hello");
  await rig.untilEmpty();

  const [first, ...others] = seen;
  expect(others).toEqual([first ?? ""]);
});

test("a session whose event is never taken waits alone, and goes on in order once it is", async () => {
  await using receiver = await openReceiver();
  let isPoison = true;
  receiver.answer = ({ data }) =>
    isPoison && data["message"] === "poison" ? { status: 500 } : { status: 204 };
  await using rig = await openRig([receiver.url]);

  rig.send("bad", "poison");
  for (let after = 0; after < 10; after++) rig.send("bad", String(after));
  sendMany(rig, 40, 20);
  await receiver.untilTaken(800);

  expect(receiver.messages.has("bad")).toBe(false);
  isPoison = false;
  await rig.untilEmpty();
  expect(receiver.messages.get("bad")).toEqual(["poison", ..."0123456789"]);
});

test("sessions whose requests hang leave room for the others", async () => {
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => (String(data["session"]).startsWith("hanging") ? "hang" : { status: 204 });
  await using rig = await openRig([receiver.url], { timeoutMs: 200 });
  rig.send("good", "first");
  for (let session = 0; session < 3 * connections; session++) rig.send(`hanging-${session}`, "x");
  await eventually("second attempts", () => rig.count("failed") > 3 * connections);
  const failed = rig.count("failed");

  sendMany(rig, 40, 20);
  await receiver.untilTaken(801);

  expect(receiver.messages.size).toBe(41);
  expect(rig.count("failed") - failed).toBeLessThan(connections);
});

describe("a back end that is down", () => {
  test("is asked now and then, and has everything soon after it is back", async () => {
    await using receiver = await openReceiver();
    await receiver.end();
    await using rig = await openRig([receiver.url]);
    sendMany(rig, 200, 5);
    await eventually("it is known to be down", () =>
      rig.log.some(({ msg }) => msg === "a webhook takes no events"),
    );
    const failed = rig.count("failed");
    await eventually("it is probed", () => rig.count("failed") >= failed + 10);

    await receiver.begin();
    await rig.untilEmpty();

    expectAll(receiver, 200, 5);
    expect(failed).toBeLessThan(200);
    expect(rig.log.map(({ level, msg }) => [level, msg])).toEqual([
      ["warn", "a webhook did not take an event"],
      ["warn", "a webhook takes no events"],
      ["info", "a webhook takes events again"],
    ]);
    expect(rig.log[1]).toMatchObject({ url: receiver.url, reason: "nothing listens there (ECONNREFUSED)" });
  });

  test("and back after minutes has the only session's events within the pause of an outage, not that of an event", async () => {
    await using receiver = await openReceiver();
    await receiver.end();
    const pauses = { first: 5, longestWhileDown: 50, longest: 1e9 };
    await using rig = await openRig([receiver.url], { pauses });
    rig.send("s", "hello");
    await eventually("pauses as long as they become", () => rig.count("failed") >= 10);

    await receiver.begin();
    await rig.untilEmpty();

    expect(receiver.messages.get("s")).toEqual(["hello"]);
  });

  test("for many sessions does not keep a new one waiting for all of them", async () => {
    await using receiver = await openReceiver();
    let failedBefore = 0;
    receiver.answer = ({ data }) => {
      if (data["message"] === "poison") return { status: 500 };
      failedBefore = rig.count("failed");
      return { status: 204 };
    };
    const pauses = { first: 300, longestWhileDown: 300, longest: 300 };
    await using rig = await openRig([receiver.url], { pauses });
    for (let session = 0; session < 4 * connections; session++) rig.send(`bad-${session}`, "poison");
    await untilLogged(rig, ({ msg }) => msg === "a webhook takes no events");

    rig.send("good", "hello");
    await receiver.untilTaken(1);

    expect(receiver.messages.get("good")).toEqual(["hello"]);
    expect(failedBefore).toBeGreaterThanOrEqual(connections);
    expect(failedBefore).toBeLessThan(2 * connections);
  });

  test("restarts in the middle of it, and misses nothing", async () => {
    await using receiver = await openReceiver();
    await using rig = await openRig([receiver.url]);
    let sent = 0;
    for (let round = 0; round < 5; round++) {
      for (; sent < (round + 1) * 200; sent++) rig.send(`s-${sent % 50}`, String(Math.floor(sent / 50)));
      await receiver.untilTaken(round * 200 + 50);
      await receiver.end();
      await receiver.begin();
    }
    await rig.untilEmpty();

    expectAll(receiver, 50, 20);
    expectSameUnderOneId(receiver);
  });
});

test("a back end that asks for a pause has it", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () =>
    receiver.letters.length === 1 ? { status: 429, headers: { "Retry-After": "1" } } : { status: 204 };
  await using rig = await openRig([receiver.url]);

  rig.send("s", "hello");
  await rig.untilEmpty();

  const [first, second] = receiver.letters;
  expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(990);
});

test("and it may say so with a date", async () => {
  await using receiver = await openReceiver();
  const until = Math.ceil((Date.now() + 200) / 1000) * 1000;
  receiver.answer = () =>
    Date.now() < until
      ? { status: 503, headers: { "Retry-After": new Date(until).toUTCString() } }
      : { status: 204 };
  await using rig = await openRig([receiver.url]);

  rig.send("s", "hello");
  await rig.untilEmpty();

  expect(receiver.letters).toHaveLength(2);
});

test("an event that is not taken in time is given up, which is logged once, and the session goes on", async () => {
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => (data["message"] === "poison" ? { status: 500 } : { status: 204 });
  await using rig = await openRig([receiver.url], { retryMs: 300 });

  for (let session = 0; session < 10; session++) rig.send(`s-${session}`, "poison");
  await eventually("all are given up", () => rig.count("expired") === 10);
  for (let session = 0; session < 10; session++) rig.send(`s-${session}`, "fine");
  await rig.untilEmpty();

  expect(Array.from(receiver.messages.values()).flat()).toEqual(Array.from({ length: 10 }, () => "fine"));
  const given = rig.log.filter(
    ({ msg }) => msg === "a webhook did not take an event in time, and it is given up",
  );
  expect(given).toHaveLength(1);
  expect(given[0]).toMatchObject({ url: receiver.url, type: "message.received" });
});

test("an event whose request takes longer than it may be tried is taken all the same, and counted once", async () => {
  await using receiver = await openReceiver();
  receiver.answer = async ({ data }) => {
    if (data["message"] === "0") await eventually("time", () => performance.now() > begin + 700);
    return { status: 204 };
  };
  await using rig = await openRig([receiver.url], { retryMs: 300 });
  const begin = performance.now();

  rig.send("s", "0");
  await receiver.untilTaken(1);
  await rig.untilEmpty();
  for (let message = 1; message < 5; message++) rig.send("s", String(message));
  await rig.untilEmpty();

  expect(receiver.messages.get("s")).toEqual([..."01234"]);
  expect([rig.count("taken"), rig.count("expired")]).toEqual([5, 0]);
});

test("of two back ends, one that is dead does not hold up the other", async () => {
  await using dead = await openReceiver();
  await using alive = await openReceiver();
  dead.answer = () => "hang";
  await using rig = await openRig([dead.url, alive.url]);

  sendMany(rig, 100, 10);
  await alive.untilTaken(1000);

  expectAll(alive, 100, 10);
  expect(dead.taken).toEqual([]);
});

test("what posts is started again when it has ended, and nothing is lost", async () => {
  await using receiver = await openReceiver();
  let isOpen = false;
  receiver.answer = () => (isOpen ? { status: 204 } : { status: 500 });
  const workers: Worker[] = [];
  const startWorker = () => {
    const worker = new Worker(new URL("../../src/webhook/post-worker.ts", import.meta.url).href);
    workers.push(worker);
    return worker;
  };
  await using rig = await openRig([receiver.url], { startWorker });
  sendMany(rig, 20, 5);
  await receiver.untilArrived(() => true);

  // It cannot be understood, so it throws.
  workers[0]?.postMessage(null);
  await eventually("its end", () => rig.log.some(({ msg }) => String(msg).includes("is started again")));
  sendMany(rig, 20, 5);
  isOpen = true;
  await eventually("another one", () => workers.length === 2);
  await rig.untilEmpty();

  const twice = [..."01234", ..."01234"];
  expect(Array.from(receiver.messages.values())).toEqual(Array.from({ length: 20 }, () => twice));
});
