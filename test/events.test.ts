import { expect, test } from "bun:test";
import { Events, type LoggedEvent } from "../src/events.ts";
import type { Journal } from "../src/journal.ts";
import { openMemoryJournal } from "../src/journal/memory.ts";
import { openSqliteJournal } from "../src/journal/sqlite.ts";
import { makeFolder } from "./support/folder.ts";

const retention = { time: 60_000, bytes: 1e9, count: 1000 };

function createRig(log: Journal) {
  const rig = { events: new Events({ log, onLost: (count) => (rig.lost += count) }), lost: 0 };
  return rig;
}

async function openFile(path: string): Promise<Journal> {
  const logger = { info: () => {}, warn: () => {}, error: () => {} };
  return await openSqliteJournal({ path, retention, maxOnce: 1, onceMs: 1000, logger });
}

test("who listens hears each event once, as it stands in the log", () => {
  const { events } = createRig(openMemoryJournal({ retention }));
  const heard: LoggedEvent[] = [];
  const stopListening = events.listen((event) => heard.push(event));

  events.record("user.online", { userid: "1", compid: undefined });
  events.record("user.offline", { userid: "1" });
  stopListening();
  events.record("user.online", { userid: "2" });

  expect(heard.map(({ id, type }) => [id, type])).toEqual([
    [`${events.epoch}-1`, "user.online"],
    [`${events.epoch}-2`, "user.offline"],
  ]);
  expect(JSON.parse(heard[0]?.json ?? "")).toEqual({
    type: "user.online",
    timestamp: expect.any(String),
    data: { userid: "1" },
  });
  expect([...(events.since(0, ["user.online", "user.offline"]) ?? [])].flat().slice(0, 2)).toEqual(heard);
});

test("what was recorded is written when it says so, also on a disk", async () => {
  await using folder = await makeFolder();
  const log = await openFile(folder.file("events.db"));
  const { events } = createRig(log);
  const heard: string[] = [];
  events.listen(({ json }) => heard.push(JSON.parse(json).data.userid));

  const userids = Array.from({ length: 500 }, (_, userid) => `${userid}`);
  for (const userid of userids) events.record("user.online", { userid });
  await events.written();

  expect(heard).toEqual(userids);
  await log.close();
});

test("events that the log does not take are counted, and nobody is held up", async () => {
  await using folder = await makeFolder();
  for (const log of [openMemoryJournal({ retention }), await openFile(folder.file("events.db"))]) {
    const rig = createRig(log);
    await log.close();

    rig.events.record("user.online", { userid: "1" });
    await rig.events.written();

    expect(rig.lost).toBe(1);
  }
});

test("who was online is known from the end of a session too, where the log begins after they came", () => {
  const { events } = createRig(openMemoryJournal({ retention }));
  const close = (userid?: string) => events.record("session.closed", { session: "s", userid });
  events.record("user.online", { userid: "came" });
  close("came");
  close("was there before");
  close();
  close("left");
  events.record("user.offline", { userid: "left" });
  events.record("user.offline", { userid: "left before" });

  expect([...events.readOnline().keys()]).toEqual(["came", "was there before"]);
});
