/**
 * Replays as a session sees them: pages as it has room, then live, without a gap, a repeat or a swap in between.
 */
import { describe, expect, test } from "bun:test";
import { toTopic } from "../src/address.ts";
import { HorizonPassed, type Journal } from "../src/journal.ts";
import type { Draft } from "../src/message.ts";
import { createJournal } from "./support/hub.ts";
import { createFollower, createReplays, settle, type TestFollower, turn } from "./support/replays.ts";

const own = toTopic({ userid: "1" });

/** Messages to the follower's own topic, numbered from `from`. */
const drafts = (count: number, from = 0): Draft[] =>
  Array.from({ length: count }, (_, index) => ({ topic: own, body: `${from + index}` }));

const bodiesOf = ({ received }: TestFollower) => received.map(({ body }) => body);
const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

/** The journal, of which the pages of a replay are what the test makes them. */
function withPages(journal: Journal, pages: Journal["since"]): Journal {
  return Object.assign(Object.create(journal), { head: 1, since: pages, tail: () => {} });
}

test("a session at the head is live at once, and was offered nothing", () => {
  const { replays, journal } = createReplays();
  const follower = createFollower();

  replays.start(follower, journal.head);

  expect([follower.isLive, follower.offered, replays.size]).toEqual([true, [], 0]);
});

describe("a session that has missed something", () => {
  test("is not live before it has had that, and then is", async () => {
    const { replays, journal, followers, sent } = createReplays();
    await journal.append(drafts(3));
    const follower = createFollower();

    replays.start(follower, 1);
    const early = [follower.isLive, replays.has(follower)];
    await settle([follower]);
    followers.add(follower);
    await journal.append(drafts(1, 3));

    expect(early).toEqual([false, true]);
    expect([follower.isLive, replays.has(follower), sent]).toEqual([true, false, [[follower, [2, 3]]]]);
    expect(bodiesOf(follower)).toEqual(numbers(4).slice(1));
  });

  test("is not sent what came meanwhile and is not for it, however much it takes at once", async () => {
    for (const room of [1, 3, Number.POSITIVE_INFINITY]) {
      const { replays, journal } = createReplays();
      await journal.append(drafts(600));
      const follower = createFollower(room);

      replays.start(follower, 0);
      for (const body of [600, 601, 602, 603]) {
        await journal.append(drafts(1, body));
        if (body % 2 === 1) replays.skip(follower, journal.head);
      }
      while (!follower.isLive) {
        follower.room = room;
        replays.goOn(follower);
        await turn();
      }

      expect(bodiesOf(follower)).toEqual(numbers(604).filter((body) => !["601", "603"].includes(body)));
    }
  });

  test("is live after a replay in which nothing was for it", async () => {
    const { replays, journal } = createReplays();
    await journal.append([{ topic: toTopic({ userid: "2" }), body: "not for it" }]);
    const follower = createFollower();

    replays.start(follower, 0);
    await settle([follower]);

    expect([follower.isLive, follower.received]).toEqual([true, []]);
  });

  test("gets what is pushed during its replay with it, in order", async () => {
    const { replays, journal, followers } = createReplays();
    await journal.append(drafts(1000));
    const follower = createFollower();
    followers.add(follower);

    replays.start(follower, 0);
    for (let count = 1000; count < 1100; count++) {
      await journal.append(drafts(1, count));
      await turn();
    }
    await settle([follower]);

    expect(bodiesOf(follower)).toEqual(numbers(1100));
  });

  test("that is alone is not passed by retention while it waits for its turn", async () => {
    const { replays, journal, followers } = createReplays({ retention: { count: 3 } });
    await journal.append(drafts(3));
    const follower = createFollower();
    followers.add(follower);

    replays.start(follower, 0);
    await journal.append(drafts(2, 3));
    await settle([follower]);

    expect([bodiesOf(follower), follower.closes]).toEqual([numbers(5), []]);
  });

  test("is counted, message by message", async () => {
    const { replays, journal, metrics } = createReplays();
    await journal.append(drafts(300));
    const [whole, partial] = [createFollower(), createFollower(10)];

    replays.start(whole, 0);
    replays.start(partial, 0);
    await settle([whole, partial]);

    expect(metrics.replayed).toBe(310);
  });
});

describe("a session without room", () => {
  test("is offered nothing more until it says that it has some", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(1000));
    const follower = createFollower(100);

    replays.start(follower, 0);
    await settle([follower]);
    const before = follower.offered.length;
    await settle([follower]);

    expect([before, follower.offered.length, follower.received.length]).toEqual([1, 1, 100]);
    expect([follower.isLive, replays.size]).toEqual([false, 1]);
  });

  test("goes on where it was, and is live only with the last of it", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(1000));
    const follower = createFollower(0);
    replays.start(follower, 0);

    while (!follower.isLive) {
      await settle([follower]);
      follower.room = 37;
      replays.goOn(follower);
    }

    expect(bodiesOf(follower)).toEqual(numbers(1000));
  });

  test("is not sent what was replaced while it had none", async () => {
    const { replays, journal } = createReplays();
    await journal.append([...drafts(1), ...["old", "new"].map((body) => ({ topic: own, body, key: body }))]);
    const follower = createFollower(1);
    replays.start(follower, 0);
    await settle([follower]);

    await journal.append([{ topic: own, body: "newer", key: "old" }]);
    follower.room = 10;
    replays.goOn(follower);
    await settle([follower]);

    expect(bodiesOf(follower)).toEqual(["0", "new", "newer"]);
  });

  test("that says so twice is not sent anything twice", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(100));
    const follower = createFollower(10);
    replays.start(follower, 0);
    await settle([follower]);

    follower.room = Number.POSITIVE_INFINITY;
    for (let times = 0; times < 5; times++) replays.goOn(follower);
    await settle([follower]);

    expect(bodiesOf(follower)).toEqual(numbers(100));
  });

  test("gets what is for those connected alone when it has room again", async () => {
    const { replays, journal } = createReplays();
    await journal.append([...drafts(1), { topic: own, body: "before it came", ttl: 0 }]);
    const follower = createFollower(0);
    replays.start(follower, 0);
    await journal.append([{ topic: own, body: "since it came", ttl: 0 }]);

    follower.room = Number.POSITIVE_INFINITY;
    replays.goOn(follower);
    await settle([follower]);

    expect(bodiesOf(follower)).toEqual(["0", "since it came"]);
  });

  test("does not hold up one that has", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(5000));
    const stuck = Array.from({ length: 50 }, () => createFollower(0));
    for (const follower of stuck) replays.start(follower, 0);
    const reads = createFollower();

    replays.start(reads, 0);
    await settle([...stuck, reads]);

    expect([reads.isLive, reads.received.length]).toEqual([true, 5000]);
    expect(stuck.some(({ isLive }) => isLive)).toBe(false);
  });
});

describe("replays at the same time", () => {
  test("take turns, so that a short one is over long before a long one", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(50_000));
    const [long, short] = [createFollower(), createFollower()];
    let hadWhenShortWasLive = Number.NaN;
    const goLive = short.goLive.bind(short);
    short.goLive = () => {
      hadWhenShortWasLive = long.received.length;
      goLive();
    };

    replays.start(long, 0);
    replays.start(short, 49_900);
    await settle([long, short]);

    expect([long.isLive, short.isLive]).toEqual([true, true]);
    expect(hadWhenShortWasLive).toBeLessThan(1000);
  });

  test("take turns also when one says again and again that it has room", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(20_000));
    const [eager, calm] = [createFollower(), createFollower()];
    let hadWhenCalmWasLive = Number.NaN;
    calm.goLive = () => void (hadWhenCalmWasLive = eager.received.length);

    replays.start(eager, 0);
    for (let times = 0; times < 10; times++) replays.goOn(eager);
    replays.start(calm, 10_000);
    await settle([eager, calm]);

    expect(hadWhenCalmWasLive).toBeLessThan(11_000);
  });

  test("leave room between their pages for everything else", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(50_000));
    const all = Array.from({ length: 20 }, () => createFollower());
    for (const follower of all) replays.start(follower, 0);

    const pauses: number[] = [];
    for (let last = performance.now(); all.some(({ isLive }) => !isLive); last = performance.now()) {
      await turn();
      pauses.push(performance.now() - last);
    }

    expect(pauses.length).toBeGreaterThan(10);
    expect(pauses.toSorted((a, b) => a - b)[Math.floor(pauses.length / 2)]).toBeLessThan(20);
  });

  test("all end, however many there are", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(10));
    const all = Array.from({ length: 5000 }, () => createFollower());

    for (const follower of all) replays.start(follower, 0);
    await settle(all);

    expect(all.every(({ isLive, received }) => isLive && received.length === 10)).toBe(true);
    expect(replays.size).toBe(0);
  });
});

describe("a session that ends during its replay", () => {
  test("is sent nothing more, also when it had room again", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(1000));
    const follower = createFollower(10);
    replays.start(follower, 0);
    await settle([follower]);

    follower.room = Number.POSITIVE_INFINITY;
    replays.goOn(follower);
    replays.stop(follower);
    await settle([follower]);

    expect([follower.received.length, follower.isLive, replays.size]).toEqual([10, false, 0]);
  });

  test("by what it is sent is sent nothing more, and does not become live", async () => {
    const { replays, journal } = createReplays();
    await journal.append(drafts(1000));
    const follower = createFollower();
    const replay = follower.replay.bind(follower);
    follower.replay = (messages) => {
      replays.stop(follower);
      return replay(messages);
    };

    replays.start(follower, 0);
    await settle([follower]);

    expect([follower.offered.length, follower.isLive, replays.size]).toEqual([1, false, 0]);
  });

  test("gives back what its journal holds open for it", async () => {
    let isOpen = false;
    function* pages() {
      isOpen = true;
      try {
        for (;;) yield [{ topic: own, body: "x", offset: 1, time: 0 }];
      } finally {
        isOpen = false;
      }
    }
    const { replays } = createReplays({ journal: withPages(createJournal(), pages) });
    const follower = createFollower(3);
    replays.start(follower, 0);
    await settle([follower]);
    const wasOpen = isOpen;

    replays.stop(follower);

    expect([wasOpen, isOpen]).toEqual([true, false]);
  });
});

describe("a session that retention overtakes", () => {
  test("is closed with 1013, and does not become live", async () => {
    const { replays, journal, log } = createReplays({ retention: { count: 600 } });
    await journal.append(drafts(600));
    const follower = createFollower(256);
    replays.start(follower, 0);
    await settle([follower]);

    await journal.append(drafts(1000, 600));
    follower.room = Number.POSITIVE_INFINITY;
    replays.goOn(follower);
    await settle([follower]);

    expect(follower.closes).toEqual([
      { code: 1013, reason: "what is missing was dropped from the journal meanwhile" },
    ]);
    expect([follower.isLive, replays.size]).toEqual([false, 0]);
    expect(bodiesOf(follower)).toEqual(numbers(follower.received.length));
    // Retention is no failure.
    expect(log).toEqual([]);
  });

  test("between its handshake and its start is closed with 1013", async () => {
    const { replays, journal } = createReplays({ retention: { count: 10 } });
    await journal.append(drafts(100));
    const follower = createFollower();

    replays.start(follower, 5);
    await settle([follower]);

    expect([follower.closes[0]?.code, follower.isLive, replays.size]).toEqual([1013, false, 0]);
  });

  test("takes no other along", async () => {
    const { replays, journal } = createReplays({ retention: { count: 600 } });
    await journal.append(drafts(600));
    const [overtaken, reads] = [createFollower(10), createFollower()];
    replays.start(overtaken, 0);
    replays.start(reads, 0);
    await settle([overtaken, reads]);

    await journal.append(drafts(1000, 600));
    overtaken.room = Number.POSITIVE_INFINITY;
    replays.goOn(overtaken);
    await settle([overtaken, reads]);

    expect([reads.isLive, reads.closes, overtaken.closes.length]).toEqual([true, [], 1]);
  });
});

describe("a journal that fails in the middle of a replay", () => {
  test.each([
    ["an error", new Error("the disk is gone"), 1],
    ["the horizon", new HorizonPassed("offset 1 is gone"), 0],
  ])("with %s ends that session alone, and logs what was not expected", async (_, error, logged) => {
    function* pages() {
      yield [{ topic: own, body: "0", offset: 1, time: 0 }];
      throw error;
    }
    const { replays, log } = createReplays({ journal: withPages(createJournal(), pages) });
    const follower = createFollower();

    replays.start(follower, 0);
    await settle([follower]);

    expect([bodiesOf(follower), follower.closes.length, follower.isLive]).toEqual([["0"], 1, false]);
    expect(log.filter(({ level }) => level === "error").length).toBe(logged);
    expect(replays.size).toBe(0);
  });
});
