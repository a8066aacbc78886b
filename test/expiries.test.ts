/**
 * When sessions end with their tokens, by a clock that the test moves.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Expiries } from "../src/expiries.ts";
import type { Session } from "../src/session.ts";
import { createSession } from "./support/hub.ts";

function openExpiries() {
  let now = 0;
  const ended: Session[] = [];
  const expiries = new Expiries({ expire: (session) => ended.push(session), now: () => now });
  return {
    expiries,
    ended,
    async at(ms: number) {
      now = ms;
      await expiries.tick();
    },
  };
}

test("a session ends when its time has come, and not before, and once", async () => {
  const { expiries, ended, at } = openExpiries();
  const session = createSession();
  expiries.set(session, 10_500);

  await at(10_499);
  expect(ended).toEqual([]);
  await at(11_000);
  expect(ended).toEqual([session]);
  await at(60_000);
  expect(ended).toEqual([session]);
  expect(expiries.size).toBe(0);
});

test("a session whose time is set anew ends at the new one, sooner or later", async () => {
  const { expiries, ended, at } = openExpiries();
  const [sooner, later] = [createSession(), createSession()];
  for (const session of [sooner, later]) expiries.set(session, 10_000);
  expiries.set(sooner, 5000);
  expiries.set(later, 20_000);

  await at(5000);
  expect(ended).toEqual([sooner]);
  await at(19_000);
  expect(ended).toEqual([sooner]);
  await at(20_000);
  expect(ended).toEqual([sooner, later]);
});

test("a session that has ended is forgotten", async () => {
  const { expiries, ended, at } = openExpiries();
  const session = createSession();
  expiries.set(session, 1000);

  expiries.delete(session);
  expiries.delete(session);

  expect([expiries.size, expiries.has(session)]).toEqual([0, false]);
  await at(10_000);
  expect(ended).toEqual([]);
});

test("one that is renewed while thousands end goes on", async () => {
  const { expiries, ended, at } = openExpiries();
  const sessions = Array.from({ length: 1000 }, createSession);
  for (const session of sessions) expiries.set(session, 1000);
  const [last] = sessions.slice(-1);

  const ending = at(1000);
  if (last !== undefined) expiries.set(last, 50_000);
  await ending;

  expect(ended).toEqual(sessions.slice(0, -1));
});

test("every session ends at the first tick at or after its time, whatever is set, set anew and deleted", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), who: fc.nat(5), at: fc.nat(100_000) }),
    fc.record({ kind: fc.constant("delete" as const), who: fc.nat(5) }),
    fc.record({ kind: fc.constant("tick" as const), after: fc.integer({ min: 1, max: 20_000 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
      const { expiries, ended, at } = openExpiries();
      const sessions = Array.from({ length: 6 }, createSession);
      const expected = new Map<Session, number>();
      let now = 0;
      for (const each of steps) {
        const session = each.kind === "tick" ? undefined : sessions[each.who];
        if (each.kind === "tick") {
          now += each.after;
          const due = [...expected]
            .filter(([, time]) => Math.ceil(time / 1000) * 1000 <= now)
            .map(([own]) => own);
          ended.length = 0;
          await at(now);
          expect(new Set(ended)).toEqual(new Set(due));
          for (const own of due) expected.delete(own);
        } else if (session !== undefined && each.kind === "set") {
          expiries.set(session, each.at);
          expected.set(session, each.at);
        } else if (session !== undefined) {
          expiries.delete(session);
          expected.delete(session);
        }
      }
      expect(expiries.size).toBe(expected.size);
    }),
  );
});
