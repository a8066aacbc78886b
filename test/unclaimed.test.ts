import { expect, test } from "bun:test";
import { type Address, toTopic } from "../src/address.ts";
import type { Draft, Message } from "../src/message.ts";
import { Presence } from "../src/presence.ts";
import { type Session, Sessions } from "../src/session.ts";
import { type Unclaimed, UnclaimedPushes } from "../src/unclaimed.ts";
import { eventually } from "./support/eventually.ts";
import { createSession } from "./support/hub.ts";

function toSession({ userid, compid }: Address): Session {
  const { userid: _, compid: __, ...rest } = createSession();
  return { ...rest, ...(userid !== undefined && { userid }), ...(compid !== undefined && { compid }) };
}

const toMessage = (address: Address, offset: number, more: Partial<Draft> = {}): Message => ({
  topic: toTopic(address),
  body: "hello",
  offset,
  time: 0,
  ...more,
});

/** @param waitMs nothing waits for it to pass, unless it is short */
function createRig(waitMs = 60_000) {
  const told: Unclaimed[] = [];
  const catchingUp = new Set<Session>();
  const sessions = new Sessions();
  const presence = new Presence({ graceMs: 600_000 });
  const pushes = new UnclaimedPushes({
    presence,
    sessions,
    epoch: "e",
    isCatchingUp: (session) => catchingUp.has(session),
    tell: (push) => told.push(push),
    waitMs,
  });
  const enter = (address: Address) => {
    const session = toSession(address);
    presence.enter(session);
    sessions.add(session);
    return session;
  };
  const leave = (session: Session) => {
    presence.leave(session);
    sessions.remove(session);
  };
  /** As their pages reload. */
  const makeAway = (...users: readonly string[]) => {
    for (const userid of users) leave(enter({ userid }));
  };
  /** Pushes what no session gets. */
  const note = (address: Address, offset: number, more: Partial<Draft> = {}) =>
    pushes.note(toMessage(address, offset, more), 0);
  /** As a session is sent these, whatever their addresses. */
  const send = (session: Session, ...offsets: readonly number[]) =>
    pushes.claim(
      session,
      offsets.map((offset) => toMessage(session, offset)),
    );
  const noteMany = (userid: string, count: number) => {
    for (let offset = 1; offset <= count; offset++) note({ userid }, offset);
  };
  const ids = () => told.map(({ id }) => id);
  return { pushes, told, catchingUp, enter, leave, makeAway, note, noteMany, send, ids };
}

test("what is for nobody who is online is told at once, by its address", () => {
  const { told, note } = createRig();

  note({ userid: "1" }, 1);
  note({ compid: "inbox" }, 2, { event: "order" });
  note({ userid: "1", compid: "inbox" }, 3);
  note({}, 4);

  expect(told).toEqual([
    { id: "e-1", userid: "1", event: undefined },
    { id: "e-2", compid: "inbox", event: "order" },
    { id: "e-3", userid: "1", compid: "inbox", event: undefined },
    { id: "e-4", all: true, event: undefined },
  ]);
});

test("what somebody has sent who alone is there is not told, nor what is for all or a component that somebody has", () => {
  const { pushes, told, enter, note } = createRig();
  const { id } = enter({ userid: "1", compid: "inbox" });

  note({ userid: "1" }, 1, { except: id });
  note({ compid: "inbox" }, 2);
  note({}, 3);
  pushes.tellAll();

  expect(told).toEqual([]);
});

test("what is kept for a user is told when that user goes, in its order, once", () => {
  const { pushes, told, makeAway, noteMany, ids } = createRig();
  makeAway("1", "2");
  noteMany("1", 3);
  noteMany("2", 1);
  expect(told).toEqual([]);

  pushes.tellKept("1");
  pushes.tellKept("1");

  expect(ids()).toEqual(["e-1", "e-2", "e-3"]);
});

test("what a session is sent is never told", () => {
  const { pushes, told, makeAway, note, send } = createRig();
  makeAway("1");
  note({ userid: "1" }, 1);
  note({ userid: "1", compid: "inbox" }, 2);

  send(toSession({ userid: "1", compid: "inbox" }), 1, 2);
  pushes.tellKept("1");
  pushes.tellAll();

  expect(told).toEqual([]);
});

test("what no session is sent is told when the user goes", () => {
  const { pushes, told, makeAway, noteMany, send, ids } = createRig();
  makeAway("1");
  noteMany("1", 3);

  send(toSession({ userid: "1" }), 2);
  send(toSession({ userid: "2" }), 3);
  expect(told).toEqual([]);
  pushes.tellKept("1");

  expect(ids()).toEqual(["e-1", "e-3"]);
});

test("a while after somebody has come, what was there then and nobody was sent is told; what came later waits on", async () => {
  const { pushes, enter, leave, makeAway, note, send, ids } = createRig(50);
  makeAway("1", "2");
  note({ userid: "1", compid: "inbox" }, 1);
  note({ userid: "1", compid: "chart" }, 2);
  note({ userid: "2" }, 3);

  const chart = enter({ userid: "1", compid: "chart" });
  pushes.expectClaim(chart);
  leave(chart);
  note({ userid: "1" }, 4);
  send(chart, 2);

  await eventually("the end of the wait", () => ids().length > 0);
  expect(ids()).toEqual(["e-1"]);
});

test("what comes for a user who is there waits for a while, and for as long as a session is being sent what it has missed", async () => {
  const { catchingUp, enter, note, send, ids } = createRig(20);
  const slow = enter({ userid: "1" });
  enter({ userid: "2" });
  catchingUp.add(slow);
  note({ userid: "1" }, 1);
  note({ userid: "2" }, 2);
  note({ userid: "1" }, 3);

  await eventually("the end of the wait", () => ids().length > 0);
  expect(ids()).toEqual(["e-2"]);
  send(slow, 1);
  catchingUp.delete(slow);
  await eventually("the end of another one", () => ids().length > 1);
  expect(ids()).toEqual(["e-2", "e-3"]);
});

test("of those that replace each other the last is kept, and none when somebody has got that", () => {
  const { pushes, makeAway, note, ids } = createRig();
  makeAway("1", "2");
  note({ userid: "1" }, 1, { key: "progress" });
  note({ userid: "1", compid: "inbox" }, 2, { key: "progress" });
  note({ userid: "1" }, 3, { key: "other" });
  note({ userid: "1" }, 4, { key: "progress" });
  for (let offset = 5; offset < 2000; offset++) note({ userid: "2" }, offset, { key: "progress" });
  expect(ids()).toEqual([]);

  pushes.note({ topic: "u1", key: "progress", body: "100 %", offset: 2000, time: 0 }, 1);
  pushes.tellAll();

  expect(ids()).toEqual(["e-2", "e-3", "e-1999"]);
});

test("what nobody is sent later is told at once: with a ttl of 0", () => {
  const { makeAway, note, ids } = createRig();
  makeAway("1");

  note({ userid: "1" }, 1, { ttl: 0 });

  expect(ids()).toEqual(["e-1"]);
});

test("no more than 1000 are kept, 100 of a user: one more is told at once, and what leaves makes room", () => {
  const { told, makeAway, note, noteMany, send, ids } = createRig();
  const users = Array.from({ length: 10 }, (_, user) => `${user}`);
  makeAway(...users, "x");
  for (const user of users) {
    noteMany(user, 100);
    expect(told).toEqual([]);
    if (user === "4") {
      note({ userid: user }, 101);
      expect(ids()).toEqual(["e-101"]);
      told.length = 0;
    }
  }

  note({ userid: "x" }, 7);
  expect(ids()).toEqual(["e-7"]);

  send(toSession({ userid: "2" }), ...Array.from({ length: 40 }, (_, at) => at + 1));
  noteMany("x", 40);
  expect(told).toHaveLength(1);
  note({ userid: "x" }, 41);
  expect(ids()).toEqual(["e-7", "e-41"]);
});

test("all that is kept is told when the server stops, and what comes then at once", () => {
  const { pushes, makeAway, note, noteMany, ids } = createRig();
  makeAway("1", "2");
  noteMany("1", 2);
  noteMany("2", 1);

  pushes.tellAll();

  expect(ids()).toEqual(["e-1", "e-2", "e-1"]);
  note({ userid: "1" }, 3);
  expect(ids()).toEqual(["e-1", "e-2", "e-1", "e-3"]);
});

test("what is kept from a session that is none of the user's, or of another component, waits like any other", () => {
  const { pushes, enter, note, ids } = createRig();
  enter({ userid: "1" });
  const chart = enter({ userid: "1", compid: "chart" });

  note({ userid: "1" }, 1, { except: "of nobody" });
  note({ userid: "1", compid: "inbox" }, 2, { except: chart.id });
  pushes.tellAll();

  expect(ids()).toEqual(["e-1", "e-2"]);
});

test("what is replaced by what its own sender alone has is not told", () => {
  const { pushes, told, enter, makeAway, note } = createRig();
  makeAway("1");
  note({ userid: "1" }, 1, { key: "progress" });
  const { id } = enter({ userid: "1" });

  note({ userid: "1" }, 2, { key: "progress", except: id });
  pushes.tellAll();

  expect(told).toEqual([]);
});

test("who is being sent what it has missed holds up nothing that is not for it", async () => {
  const { catchingUp, enter, note, ids } = createRig(20);
  catchingUp.add(enter({ userid: "1", compid: "chart" }));
  note({ userid: "1", compid: "inbox" }, 1);
  note({ userid: "1", compid: "chart" }, 2);

  await eventually("the end of the wait", () => ids().length > 0);
  expect(ids()).toEqual(["e-1"]);
});

test("who is being sent what it has missed, and takes nothing, holds up no push for ever", async () => {
  const { catchingUp, enter, note, ids } = createRig(20);
  catchingUp.add(enter({ userid: "1" }));
  const since = performance.now();

  note({ userid: "1" }, 1);
  await eventually("the end of the last wait", () => ids().length > 0);

  expect(performance.now() - since).toBeGreaterThan(115);
});
