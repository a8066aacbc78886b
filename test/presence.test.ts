import { describe, expect, jest, test } from "bun:test";
import fc from "fast-check";
import { Presence } from "../src/presence.ts";
import type { Session } from "../src/session.ts";
import { createSession } from "./support/hub.ts";

const graceMs = 3000;

function createLog() {
  const log: string[] = [];
  let now = 1000;
  const presence = new Presence({
    onOnline: (userid) => log.push(`+${userid}`),
    onOffline: (userid) => log.push(`-${userid}`),
    graceMs,
    now: () => now,
    steadyNow: () => now,
  });
  const pass = (ms: number) => {
    now += ms;
    jest.advanceTimersByTime(ms);
  };
  return { presence, log, pass };
}

function session(userid?: string, compid?: string): Session {
  const { userid: _, compid: __, ...rest } = createSession();
  return { ...rest, ...(userid !== undefined && { userid }), ...(compid !== undefined && { compid }) };
}

function withFakeTime(act: () => void): void {
  jest.useFakeTimers();
  try {
    act();
  } finally {
    jest.useRealTimers();
  }
}

describe("a user", () => {
  test("comes with the first session, and goes when the grace after the last one is over", () =>
    withFakeTime(() => {
      const { presence, log, pass } = createLog();
      const [first, second] = [session("7", "inbox"), session("7", "chart")];

      presence.enter(first);
      presence.enter(second);
      presence.leave(first);
      pass(2 * graceMs);
      expect(log).toEqual(["+7"]);

      presence.leave(second);
      pass(graceMs - 1);
      expect(presence.find({ userid: "7" })).toEqual({
        online: true,
        sessions: 0,
        components: [],
        since: 1000,
      });
      pass(1);
      expect(log).toEqual(["+7", "-7"]);
      expect(presence.find({ userid: "7" })).toEqual({ online: false, sessions: 0, components: [] });
    }));

  test("who comes back within the grace has not gone, and is there since the begin", () =>
    withFakeTime(() => {
      const { presence, log, pass } = createLog();
      const [before, after] = [session("7"), session("7")];

      presence.enter(before);
      presence.leave(before);
      pass(graceMs - 1);
      presence.enter(after);
      pass(10 * graceMs);

      expect(log).toEqual(["+7"]);
      expect(presence.find({ userid: "7" })).toMatchObject({ online: true, sessions: 1, since: 1000 });
    }));

  test("goes so long after the last end, whatever others do", () =>
    withFakeTime(() => {
      const { presence, log, pass } = createLog();
      const [one, other] = [session("1"), session("2")];

      presence.enter(one);
      presence.enter(other);
      presence.leave(one);
      pass(1000);
      presence.leave(other);
      pass(graceMs - 1000);
      expect(log).toEqual(["+1", "+2", "-1"]);
      pass(1000);
      expect(log).toEqual(["+1", "+2", "-1", "-2"]);
      expect(presence.users).toBe(0);
    }));

  test("has the components of the sessions, each once and sorted", () => {
    const presence = new Presence();
    for (const compid of ["inbox", "chart", "inbox", undefined]) presence.enter(session("7", compid));
    presence.enter(session("8", "other"));

    expect(presence.find({ userid: "7" })).toMatchObject({ sessions: 4, components: ["chart", "inbox"] });
    expect(presence.find({ userid: "7", compid: "inbox" })).toMatchObject({ online: true, sessions: 2 });
    expect(presence.find({ userid: "7", compid: "other" })).toMatchObject({ online: false, sessions: 0 });
    expect(presence.find({ compid: "inbox" })).toEqual({ online: true, sessions: 2 });
  });
});

test("who was online before is for a while, and goes if they do not come back", () =>
  withFakeTime(() => {
    const { presence, log, pass } = createLog();
    presence.expect(
      new Map([
        ["stays away", 1],
        ["comes back", 2],
        ["comes and goes", 3],
      ]),
      30_000,
    );
    expect(presence.find({ userid: "stays away" })).toMatchObject({ online: true, sessions: 0, since: 1 });

    presence.enter(session("comes back"));
    const short = session("comes and goes");
    presence.enter(short);
    pass(30_000 - 1);
    presence.leave(short);
    expect(log).toEqual([]);

    pass(1);
    expect(log).toEqual(["-stays away"]);
    expect(presence.find({ userid: "comes back" })).toMatchObject({ online: true, sessions: 1, since: 2 });
    pass(graceMs);
    expect(log).toEqual(["-stays away", "-comes and goes"]);
  }));

test("nobody goes any more when it is told that nobody can come back, but when all is over", () =>
  withFakeTime(() => {
    const { presence, log, pass } = createLog();
    presence.expect(new Map([["expected", 1]]), 30_000);
    const away = session("away");
    presence.enter(away);
    presence.leave(away);

    presence.hold();
    pass(60_000);
    expect(log).toEqual(["+away"]);
    presence.endAll();

    expect(log).toEqual(["+away", "-expected", "-away"]);
  }));

test("everybody goes when it is told that all is over, once, whatever sessions there are", () =>
  withFakeTime(() => {
    const { presence, log, pass } = createLog();
    presence.expect(new Map([["expected", 1]]), 30_000);
    const [here, away] = [session("here", "inbox"), session("away")];
    for (const one of [here, away]) presence.enter(one);
    presence.leave(away);

    presence.endAll();
    presence.leave(here);
    pass(30_000);

    expect(log).toEqual(["+here", "+away", "-expected", "-here", "-away"]);
    expect([presence.users, presence.components.size]).toEqual([0, 0]);
  }));

test("a clock that is set back keeps nobody online", () => {
  let [clock, steady] = [100_000, 0];
  const gone: string[] = [];
  withFakeTime(() => {
    const presence = new Presence({
      graceMs,
      now: () => clock,
      steadyNow: () => steady,
      onOffline: (userid) => gone.push(userid),
    });
    const only = session("7");
    presence.enter(only);
    presence.leave(only);

    clock = 0;
    steady += graceMs;
    jest.advanceTimersByTime(graceMs);
  });

  expect(gone).toEqual(["7"]);
});

test("whatever comes and goes, it says what a list of the sessions says", () => {
  const ids = fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined });
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ userid: ids, compid: ids }) },
    { weight: 2, arbitrary: fc.record({ leave: fc.nat(50) }) },
    fc.record({ pass: fc.integer({ min: 1, max: 2 * graceMs }) }),
  );
  withFakeTime(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { presence, log, pass } = createLog();
        const all: Session[] = [];
        for (const one of steps) {
          if ("pass" in one) pass(one.pass);
          else if ("leave" in one) {
            const [gone] = all.splice(one.leave, 1);
            if (gone !== undefined) presence.leave(gone);
          } else {
            const come = session(one.userid, one.compid);
            all.push(come);
            presence.enter(come);
          }
          for (const userid of ["a", "b", "c"]) {
            const own = all.filter((other) => other.userid === userid);
            expect(presence.of(userid)).toEqual(own);
            expect(presence.find({ userid }).sessions).toBe(own.length);
            if (own.length > 0) expect(presence.find({ userid }).online).toBe(true);
          }
          for (const compid of ["a", "b", "c"])
            expect(presence.find({ compid }).sessions).toBe(
              all.filter((other) => other.compid === compid).length,
            );
        }
        pass(graceMs);
        const left = new Set(all.flatMap(({ userid }) => userid ?? []));
        expect(presence.users).toBe(left.size);
        for (const userid of ["a", "b", "c"]) {
          // They come and go by turns.
          const own = log.filter((entry) => entry.endsWith(userid));
          expect(own).toEqual(own.map((_, at) => `${at % 2 === 0 ? "+" : "-"}${userid}`));
          expect(own.length % 2 === 1).toBe(left.has(userid));
        }
      }),
    ),
  );
});
