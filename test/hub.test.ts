import { describe, expect, test } from "bun:test";
import { topicOfAll, toTopic } from "../src/address.ts";
import { PushError } from "../src/errors.ts";
import { createLogger } from "../src/logger.ts";
import { attachMany, createJournal, createRig, createSession, endings, refusal } from "./support/hub.ts";
import { catchTail, holdBack } from "./support/journals.ts";

const topic = toTopic({ userid: "7", compid: "inbox" });

describe("a push", () => {
  test("is delivered, and answered with its id and the sessions that it went to", async () => {
    const { hub, journal, delivered } = createRig({ sessionsOf: () => 2 });

    const receipt = await hub.publish({ topic, body: "hello", event: "greeting" });

    expect(receipt).toEqual({ id: `${journal.epoch}-1`, sessions: 2 });
    expect(delivered).toMatchObject([{ topic, body: "hello", event: "greeting", offset: 1 }]);
  });

  test("is delivered to nobody that the journal did not give it to", async () => {
    const journal = createJournal();
    const inJournal: boolean[] = [];
    const { hub } = createRig({
      journal,
      sessionsOf: ({ offset, body }) => {
        const [kept] = [...(journal.since(offset - 1, [topic]) ?? [])].flat();
        inJournal.push(kept?.offset === offset && kept.body === body);
        return 1;
      },
    });

    await Promise.all(["a", "b", "c"].map((body) => hub.publish({ topic, body })));

    expect(inJournal).toEqual([true, true, true]);
  });

  test("that another part appended to the journal is delivered too", async () => {
    const { journal, delivered, metrics } = createRig({ sessionsOf: () => 3 });

    await journal.append([{ topic, body: "from elsewhere" }]);

    expect(delivered.map(({ body }) => body)).toEqual(["from elsewhere"]);
    expect(metrics.deliveries).toBe(3);
    expect(metrics.messages).toBe(0);
  });

  test("to nobody is taken and says 0 sessions", async () => {
    const { hub, journal } = createRig({ sessionsOf: () => 0 });

    const { sessions } = await hub.publish({ topic, body: "hello" });

    expect(sessions).toBe(0);
    expect(journal.head).toBe(1);
  });

  test("is told its own count, also among hundreds at the same time", async () => {
    const { hub } = createRig({ sessionsOf: ({ body }) => Number(body) });
    const counts = Array.from({ length: 300 }, (_, at) => (at * 7) % 50);

    const receipts = await Promise.all(counts.map((count) => hub.publish({ topic, body: String(count) })));

    expect(receipts.map(({ sessions }) => sessions)).toEqual(counts);
  });

  test("is told its own count when others begin after it and end before", async () => {
    const { hub } = createRig({ sessionsOf: ({ body }) => Number(body) });

    const slow = hub.publish({ topic, body: "5" });
    await hub.publish({ topic, body: "6" });
    const late = hub.publish({ topic, body: "7" });

    expect((await slow).sessions).toBe(5);
    expect((await late).sessions).toBe(7);
  });

  test("counts the sessions of every outlet", async () => {
    const { hub, metrics } = createRig({ sessionsOf: () => 2 });
    hub.addOutlet({ deliver: () => 40 });

    const { sessions } = await hub.publish({ topic, body: "hello" });

    expect(sessions).toBe(42);
    expect(metrics.deliveries).toBe(42);
  });

  test("has its place: all are delivered in the order of the journal", async () => {
    const { hub, delivered } = createRig({});

    const receipts = await Promise.all(
      Array.from({ length: 200 }, (_, at) => hub.publish({ topic, body: String(at) })),
    );

    expect(delivered.map(({ offset }) => offset)).toEqual(Array.from({ length: 200 }, (_, at) => at + 1));
    const ids = delivered.map(({ offset, body }) => `${offset} ${body}`);
    expect(receipts.map(({ id }, at) => `${id.split("-")[1]} ${at}`)).toEqual(ids);
  });

  test("is counted once, and each of its deliveries", async () => {
    const { hub, metrics } = createRig({ sessionsOf: () => 3 });

    await hub.publish({ topic, body: "a" });
    await hub.publish({ topic: topicOfAll, body: "b" });

    expect(metrics.messages).toBe(2);
    expect(metrics.deliveries).toBe(6);
  });

  test("leaves its body to no log at info", async () => {
    const log: string[] = [];
    const target = { write: (line: string) => void log.push(line) };
    const { hub } = createRig({ logger: createLogger({ level: "info", format: "text", target }) });
    const session = createSession();

    hub.attach(session, hub.head);
    await hub.publish({ topic, body: "secret one" });
    hub.receive(session, "secret two");

    expect(log).toHaveLength(3);
    expect(log.join("")).not.toContain("secret");
  });
});

describe("a session", () => {
  test("is counted when it comes and when it goes", async () => {
    const { hub, sessions, metrics } = createRig({});
    const session = createSession();

    hub.attach(session, hub.head);
    const whileThere = sessions.size;
    hub.detach(session, "closed", 1000);

    expect(whileThere).toBe(1);
    expect(sessions.size).toBe(0);
    expect(metrics.sessionsOpened).toBe(1);
    expect(await endings(metrics)).toEqual({
      closed: 1,
      dropped: 0,
      slow: 0,
      violation: 0,
      unresponsive: 0,
      drained: 0,
    });
  });

  test("that ends twice is counted once", async () => {
    const { hub, metrics } = createRig({});
    const session = createSession();
    hub.attach(session, hub.head);

    hub.detach(session, "dropped", 1006);
    hub.detach(session, "closed", 1000);

    expect(await endings(metrics)).toEqual({
      closed: 0,
      dropped: 1,
      slow: 0,
      violation: 0,
      unresponsive: 0,
      drained: 0,
    });
  });

  test("that ends leaves the other session of the same user", () => {
    const { hub, sessions } = createRig({});
    const [one, other] = [createSession(), createSession()];
    hub.attach(one, hub.head);
    hub.attach(other, hub.head);

    hub.detach(one, "closed", 1000);

    expect([...sessions]).toEqual([other]);
  });

  test("is admitted up to the limit, and refused with the limit beyond it", () => {
    const { hub } = createRig({ maxSessions: 2 });
    for (let count = 0; count < 2; count++) {
      hub.admit({});
      hub.attach(createSession(), hub.head);
    }

    const error = refusal(() => hub.admit({}));

    expect(error.code).toBe("too_many_sessions");
    expect(error.detail).toBe("the server has 2 sessions, the limit is 2");
  });

  test("is admitted again when another has gone", () => {
    const { hub } = createRig({ maxSessions: 1 });
    const session = createSession();
    hub.attach(session, hub.head);
    hub.detach(session, "closed", 1000);

    expect(() => hub.admit({})).not.toThrow();
  });

  test("that sends something has it counted", () => {
    const { hub, metrics } = createRig({});
    const session = createSession();
    hub.attach(session, hub.head);

    hub.receive(session, "hello");
    hub.receive(session, Uint8Array.of(1));

    expect(metrics.received).toBe(2);
  });
});

describe("with a journal that takes its time, a push", () => {
  test("is told its own count, whichever is safe first", async () => {
    const { held, waiting } = holdBack(createJournal());
    const { hub } = createRig({ journal: held, sessionsOf: ({ body }) => Number(body) });
    const first = hub.publish({ topic, body: "5" });
    const second = hub.publish({ topic, body: "6" });

    waiting[1]?.release();
    waiting[0]?.release();

    expect((await first).sessions).toBe(5);
    expect((await second).sessions).toBe(6);
  });

  test("that the journal refuses is refused, not delivered, and holds nothing up", async () => {
    const { held, waiting } = holdBack(createJournal());
    const { hub, delivered } = createRig({ journal: held, sessionsOf: () => 1 });
    const refused = Promise.resolve(hub.publish({ topic, body: "refused" })).catch((error: unknown) => error);
    const taken = hub.publish({ topic, body: "taken" });

    waiting[0]?.refuse(new PushError("unavailable", "the disk is full"));
    waiting[1]?.release();

    expect(await refused).toMatchObject({ code: "unavailable" });
    expect((await taken).sessions).toBe(1);
    expect(delivered.map(({ body }) => body)).toEqual(["taken"]);
  });

  test("that was under way when the hub began to drain is taken and answered", async () => {
    const { held, waiting } = holdBack(createJournal());
    const { hub } = createRig({ journal: held, sessionsOf: () => 1 });
    const underWay = hub.publish({ topic, body: "in time" });

    void hub.drain(1000, atOnce);
    waiting[0]?.release();

    expect((await underWay).sessions).toBe(1);
  });
});

test("what another node appended is delivered, and no publisher here is told of it", async () => {
  const journal = createJournal();
  const tail = catchTail(journal);
  const { hub, delivered } = createRig({ journal, sessionsOf: () => 3 });

  tail.listener([{ topic, body: "theirs", offset: 1, time: 0 }], false);
  const own = await hub.publish({ topic, body: "ours" });

  expect(delivered.map(({ body }) => body)).toEqual(["theirs", "ours"]);
  expect(own.sessions).toBe(3);
});

describe("while the hub drains", () => {
  test("every session is closed with 1012", async () => {
    const { hub } = createRig({});
    const all = attachMany(hub, 500);

    await hub.drain(1000, atOnce);

    expect(all.map(({ closes }) => closes)).toEqual(all.map(() => [1012]));
  });

  test("sessions are closed only when they have what was under way", async () => {
    const { held, waiting } = holdBack(createJournal());
    const { hub } = createRig({ journal: held });
    const [session] = attachMany(hub, 1);
    const underWay = [hub.publish({ topic, body: "one" }), hub.publishAll([{ topic, body: "two" }])];
    const closedWith: (readonly number[])[] = [];

    await hub.drain(10_000, async () => {
      waiting.shift()?.release();
      await Promise.resolve();
      closedWith.push([...(session?.closes ?? [])]);
    });
    await Promise.all(underWay);

    expect(closedWith.length).toBeGreaterThan(2);
    expect(closedWith.flat()).toEqual([]);
    expect(session?.closes).toEqual([1012]);
  });

  test("sessions are closed in time although something under way hangs", async () => {
    const { held } = holdBack(createJournal());
    const { hub } = createRig({ journal: held });
    const [session] = attachMany(hub, 1);
    void hub.publish({ topic, body: "hangs" });
    let waited = 0;

    await hub.drain(1000, async (ms) => void (waited += ms));

    expect(session?.closes).toEqual([1012]);
    expect(waited).toBeWithin(200, 400);
  });

  test("sessions that end at once are all closed nevertheless", async () => {
    const { hub, sessions, metrics } = createRig({});
    const all = attachMany(hub, 500, (session, code) => hub.detach(session, "closed", code));

    await hub.drain(1000, atOnce);

    expect(all.every(({ closes }) => closes.length === 1)).toBe(true);
    expect(sessions.size).toBe(0);
    expect((await endings(metrics))["drained"]).toBe(500);
  });

  test("sessions are closed in batches, over about half of the time", async () => {
    const { hub } = createRig({});
    const all = attachMany(hub, 10_000);
    const batches: number[] = [];
    let closedBefore = 0;
    let waited = 0;

    await hub.drain(2000, async (ms) => {
      const closed = all.filter(({ closes }) => closes.length > 0).length;
      batches.push(closed - closedBefore);
      closedBefore = closed;
      waited += ms;
    });

    expect(batches.length).toBeGreaterThan(10);
    expect(Math.max(...batches)).toBeLessThanOrEqual(1000);
    expect(waited).toBeWithin(500, 1100);
  });

  test("a push is refused with shutting_down, and neither taken nor delivered", async () => {
    const { hub, journal, delivered } = createRig({});
    await hub.drain(1000, atOnce);

    expect(() => hub.publish({ topic, body: "late" })).toThrow(
      expect.objectContaining({ name: "PushError", code: "shutting_down" }),
    );
    expect(journal.head).toBe(0);
    expect(delivered).toEqual([]);
  });

  test("a push that was under way is answered", async () => {
    const { hub } = createRig({ sessionsOf: () => 1 });

    const underWay = hub.publish({ topic, body: "in time" });
    void hub.drain(1000, atOnce);

    expect((await underWay).sessions).toBe(1);
  });

  test("a new session is refused with shutting_down", async () => {
    const { hub } = createRig({});

    await hub.drain(1000, atOnce);

    expect(refusal(() => hub.admit({})).code).toBe("shutting_down");
  });

  test("a session that was already on its way is closed with 1012", async () => {
    const { hub } = createRig({});
    attachMany(hub, 150);
    const during = createSession();
    const after = createSession();

    await hub.drain(1000, async () => {
      if (during.closes.length === 0) hub.attach(during, hub.head);
    });
    hub.attach(after, hub.head);

    expect(during.closes[0]).toBe(1012);
    expect(after.closes).toEqual([1012]);
  });

  test("it is not ready, and was before", () => {
    const { hub } = createRig({});
    hub.refuseWhileDraining();

    void hub.drain(1000, atOnce);

    expect(refusal(() => hub.refuseWhileDraining()).code).toBe("shutting_down");
  });

  test("a session that no longer answers is counted as that", async () => {
    const { hub, metrics } = createRig({});
    const session = createSession();
    hub.attach(session, hub.head);
    await hub.drain(1000, atOnce);

    hub.detach(session, "unresponsive", 1006);

    expect(await endings(metrics)).toMatchObject({ unresponsive: 1, drained: 0 });
  });
});

/** What takes the place of waiting. */
const atOnce = async () => {};
