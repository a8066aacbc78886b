import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { createSessionIds, type Session, Sessions, startProbing } from "../src/session.ts";

describe("a session id", () => {
  test("is 22 characters of base64url that hold 128 bits", () => {
    const create = createSessionIds();

    for (const id of Array.from({ length: 1000 }, create)) {
      expect(id).toMatch(/^[\w-]{22}$/);
      expect(Buffer.from(id, "base64url").length).toBe(16);
    }
  });

  test("is never given out twice, also by two that make them", () => {
    const makers = [createSessionIds(), createSessionIds()];

    const ids = makers.flatMap((create) => Array.from({ length: 10_000 }, create));

    expect(new Set(ids).size).toBe(20_000);
  });

  test("has every bit random", () => {
    const create = createSessionIds();

    const ones = Buffer.alloc(16);
    const zeros = Buffer.alloc(16);
    for (const id of Array.from({ length: 200 }, create))
      for (const [at, byte] of Buffer.from(id, "base64url").entries()) {
        ones[at] = (ones[at] ?? 0) | byte;
        zeros[at] = (zeros[at] ?? 0) | ~byte;
      }

    expect(ones).toEqual(Buffer.alloc(16, 0xff));
    expect(zeros).toEqual(Buffer.alloc(16, 0xff));
  });
});

describe("the table of sessions", () => {
  test("removes exactly the session that is given, and not another tab of the same user", () => {
    const [one, other] = [createSession({ userid: "7" }), createSession({ userid: "7" })];
    const sessions = createSessions([one, other]);

    const removed = sessions.remove(one);

    expect(removed).toBe(true);
    expect([...sessions]).toEqual([other]);
  });

  test("removes nothing for a session that is not in it, whatever its ids are", () => {
    const session = createSession({ userid: "7" });
    const sessions = createSessions([session]);

    const removed = sessions.remove({ ...session });

    expect(removed).toBe(false);
    expect([...sessions]).toEqual([session]);
  });

  test("removes a session once", () => {
    const session = createSession();
    const sessions = createSessions([session]);
    sessions.remove(session);

    expect(sessions.remove(session)).toBe(false);
  });

  test("counts its sessions", () => {
    const session = createSession();
    const sessions = createSessions([session, createSession()]);
    sessions.remove(session);

    expect(sessions.size).toBe(1);
  });

  test("is walked once over every session that stays, while others come and go", () => {
    const [first, second, third] = [createSession(), createSession(), createSession()];
    const late = createSession();
    const sessions = createSessions([first, second, third]);

    const walked: Session[] = [];
    for (const session of sessions) {
      walked.push(session);
      if (session !== first) continue;
      sessions.remove(first);
      sessions.remove(second);
      sessions.add(late);
    }

    expect(walked).toEqual([first, third, late]);
  });
});

describe("probing", () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => {
    jest.clearAllTimers();
    jest.useRealTimers();
  });

  test("probes nobody before the first interval is over", () => {
    const session = createSession();
    startProbing(createSessions([session]), 1000, () => "id");

    jest.advanceTimersByTime(999);

    expect(session.probes).toBe(0);
  });

  test("probes each session once in each interval", () => {
    const all = [createSession(), createSession(), createSession()];
    startProbing(createSessions(all), 1000, () => "id");

    jest.advanceTimersByTime(1000);

    expect(all.map(({ probes }) => probes)).toEqual([1, 1, 1]);
  });

  test("probes again in the interval after", async () => {
    const session = createSession();
    startProbing(createSessions([session]), 1000, () => "id");
    jest.advanceTimersByTime(1000);
    await nextTurn();

    jest.advanceTimersByTime(1000);

    expect(session.probes).toBe(2);
  });

  test("goes on over a session that ends while it is probed", () => {
    const last = createSession();
    const dead = createSession({ probe: () => void sessions.remove(dead) });
    const sessions = createSessions([dead, last]);
    startProbing(sessions, 1000, () => "id");

    jest.advanceTimersByTime(1000);

    expect(last.probes).toBe(1);
    expect([...sessions]).toEqual([last]);
  });

  test("walks thousands in slices, so that what arrives meanwhile does not wait for all", async () => {
    const all = Array.from({ length: 1250 }, () => createSession());
    startProbing(createSessions(all), 1000, () => "id");
    const counted: number[] = [];

    jest.advanceTimersByTime(1000);
    for (let turn = 0; turn < 3; turn++) {
      counted.push(count(all));
      await nextTurn();
    }

    expect(counted).toEqual([500, 1000, 1250]);
    expect(all.every(({ probes }) => probes === 1)).toBe(true);
  });

  test("begins no second walk while one is under way", async () => {
    const all = Array.from({ length: 750 }, () => createSession());
    startProbing(createSessions(all), 1000, () => "id");

    jest.advanceTimersByTime(3000);
    await nextTurn();

    expect(all.map(({ probes }) => probes)).toEqual(Array.from({ length: 750 }, () => 1));
  });

  test("probes nobody any more after it was stopped", () => {
    const session = createSession();
    const stop = startProbing(createSessions([session]), 1000, () => "id");

    stop();
    jest.advanceTimersByTime(5000);

    expect(session.probes).toBe(0);
  });

  test("probes nobody any more when it was stopped in the middle of a walk", async () => {
    const all = Array.from({ length: 2500 }, () => createSession());
    const stop = startProbing(createSessions(all), 1000, () => "id");
    jest.advanceTimersByTime(1000);

    stop();
    await nextTurn();
    await nextTurn();

    expect(count(all)).toBe(500);
  });
});

interface ProbedSession extends Session {
  /** How often it was probed. */
  readonly probes: number;
}

const createId = createSessionIds();

function createSession({
  probe: react = () => {},
  ...ids
}: { userid?: string; compid?: string; probe?: () => void } = {}): ProbedSession {
  let probes = 0;
  return {
    id: createId(),
    ...ids,
    transport: "websocket",
    openedAt: 0,
    mute: () => {},
    unmute: () => {},
    close: () => {},
    probe() {
      probes++;
      react();
    },
    get probes() {
      return probes;
    },
  };
}

function createSessions(all: readonly Session[]): Sessions {
  const sessions = new Sessions();
  for (const session of all) sessions.add(session);
  return sessions;
}

function count(all: readonly ProbedSession[]): number {
  return all.reduce((sum, { probes }) => sum + probes, 0);
}

/** Lets everything run that waits for the next turn of the event loop; fake timers leave these turns as they are. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
