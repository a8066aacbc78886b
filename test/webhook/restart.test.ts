/**
 * A server that begins again knows which events each webhook has: it goes on with the others, whatever happened to the file in between.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { openReceiver } from "../support/receiver.ts";
import { openRig, type RigOptions, type WebhooksRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const resent = "it is not known which events a webhook has: all that are kept are sent again";
const misses = "a webhook misses events that are not kept any more";

function sendAll(rig: WebhooksRig, texts: string): void {
  for (const text of texts) rig.send("s", text);
}

test("what was not taken is sent, with the same ids, and what was taken is not sent again", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => ({ status: String(data["message"]) < "d" ? 204 : 500 });
  await using before = await openRig([receiver.url], { path });
  sendAll(before, "abcdef");
  const refused = await receiver.untilArrived(({ data }) => data["message"] === "d");
  await before.close();
  receiver.answer = () => ({ status: 204 });
  const letters = receiver.letters.length;

  await using after = await openRig([receiver.url], { path });
  sendAll(after, "gh");
  await after.untilEmpty();

  expect(receiver.letters.slice(letters).map(({ data }) => data["message"])).toEqual([..."defgh"]);
  expect(receiver.letters[letters]?.id).toBe(refused.id);
  expect(after.log).toEqual([]);
});

test("one event that is never taken does not bring back all that was taken since", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => ({ status: data["message"] === "poison" ? 500 : 204 });
  await using before = await openRig([receiver.url], { path });
  before.send("bad", "poison");
  before.send("bad", "behind it");
  for (let message = 0; message < 3000; message++) before.send(`s-${message % 100}`, "fine");
  await receiver.untilTaken(3000);
  await eventually("it is known", () => before.webhooks.size === 2);
  await before.close();
  const letters = receiver.letters.length;
  receiver.answer = () => ({ status: 204 });

  await using after = await openRig([receiver.url], { path });
  await after.untilEmpty();

  expect(receiver.letters.slice(letters).map(({ data }) => data["message"])).toEqual(["poison", "behind it"]);
});

test("events that are still not taken after several restarts are not forgotten", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => ({ status: String(data["message"]).startsWith("poison") ? 500 : 204 });
  for (let run = 0; run < 4; run++) {
    await using rig = await openRig([receiver.url], { path });
    rig.send(`bad-${run}`, `poison ${run}`);
    for (let message = 0; message < 50; message++) rig.send("s", `${run} ${message}`);
    await eventually("all else is taken", () => receiver.events.length === (run + 1) * 50);
    await eventually("it is known", () => rig.webhooks.size === run + 1);
    await rig.close();
  }
  const letters = receiver.letters.length;
  receiver.answer = () => ({ status: 204 });

  await using last = await openRig([receiver.url], { path });
  await last.untilEmpty();

  const again = receiver.letters.slice(letters).map(({ data }) => data["message"]);
  expect(again.toSorted()).toEqual(["poison 0", "poison 1", "poison 2", "poison 3"]);
});

test("nor are they when the queue has no room for them", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  receiver.answer = ({ data }) => ({ status: data["message"] === "poison" ? 400 : 204 });
  await using before = await openRig([receiver.url], { path });
  for (let session = 0; session < 300; session++) before.send(`bad-${session}`, "poison");
  for (let message = 0; message < 50; message++) before.send("s", "fine");
  await eventually("all else is taken", () => before.webhooks.size === 300);
  await before.close();
  await receiver.end();
  await using small = await openRig([receiver.url], { path, maxBytes: 50_000 });
  await eventually("it is tried", () => small.count("failed") > 0);
  await small.close();
  receiver.answer = () => ({ status: 204 });
  await receiver.begin();

  await using after = await openRig([receiver.url], { path });
  await after.untilEmpty();

  expect(receiver.messages.size).toBe(301);
});

test("a backlog is sent as far as the queue has room, and what comes meanwhile follows it", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await receiver.end();
  await using before = await openRig([receiver.url], { path });
  for (let message = 0; message < 3000; message++)
    before.send(`s-${message % 50}`, String(Math.floor(message / 50)));
  await before.events.written();
  await before.close();

  await using after = await openRig([receiver.url], { path, maxBytes: 200_000 });
  await eventually("a queue that is full to the half", () => !after.webhooks.hasRoom(1));
  expect(after.webhooks.size).toBeLessThan(1500);
  for (let session = 0; session < 50; session++) after.send(`s-${session}`, "60");
  await receiver.begin();
  await after.events.written();
  await receiver.untilTaken(3050);

  const expected = Array.from({ length: 61 }, (_, message) => String(message));
  for (const messages of receiver.messages.values()) expect(messages).toEqual(expected);
  await eventually("room", () => after.webhooks.hasRoom(1));
  expect(after.count("dropped")).toBe(0);
});

/** Sends as long as there is room, by turns of the event loop as clients do; tells how many it were. */
async function fill(rig: WebhooksRig, bytes: number): Promise<number> {
  let sent = 0;
  for (; sent < 10_000 && rig.webhooks.hasRoom(bytes); sent++) {
    rig.send(`s-${sent % 40}`, "x".repeat(bytes));
    if (sent % 10 === 0) await new Promise(setImmediate);
  }
  await rig.events.written();
  return sent;
}

/** Begins again with so many events of coming and going that a back end, which is away, does not have. */
async function restartBehind(options: RigOptions, url: string, users: number): Promise<WebhooksRig> {
  await using before = await openRig([url], { ...options, maxBytes: 1e9 });
  for (let user = 0; user < users; user++) before.events.record("user.online", { userid: String(user) });
  await before.events.written();
  await before.close();
  const after = await openRig([url], options);
  const { maxBytes = 0 } = options;
  await eventually("as much is sent", () => after.webhooks.size * 600 > maxBytes / 2);
  const failed = after.count("failed");
  await eventually("it is there", () => after.count("failed") >= failed + 2);
  return after;
}

test("a backlog of coming and going leaves room for messages, up to the half of the queue, and is whole when all is sent", async () => {
  await using folder = await makeFolder();
  await using receiver = await openReceiver();
  await receiver.end();
  const maxBytes = 2 * 1024 * 1024;
  await using rig = await restartBehind({ path: folder.file("events"), maxBytes }, receiver.url, 6000);

  const sent = await fill(rig, 2000);

  expect(sent * 2000).toBeLessThan(maxBytes / 2);
  expect(sent * 2800).toBeGreaterThan(maxBytes / 2);
  expect(rig.webhooks.hasRoom(1)).toBe(false);
  await receiver.begin();
  await receiver.untilTaken(6000 + sent);
  await eventually("room", () => rig.webhooks.hasRoom(maxBytes));
  expect(rig.count("dropped")).toBe(0);
});

test("a backlog of a back end that wants no messages keeps none from the others", async () => {
  await using folder = await makeFolder();
  await using receiver = await openReceiver();
  await receiver.end();
  const options = { path: folder.file("events"), types: ["user.online"] as const, maxBytes: 100_000 };
  await using rig = await restartBehind(options, receiver.url, 3000);

  expect(rig.webhooks.hasRoom(1e9)).toBe(true);
});

test("with one of two that is down, the other has its backlog all the same", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using dead = await openReceiver();
  await using alive = await openReceiver();
  await Promise.all([dead.end(), alive.end()]);
  const options = { path, maxBytes: 50_000 };
  await using before = await openRig([dead.url, alive.url], { path });
  for (let message = 0; message < 1000; message++) before.send(`s-${message % 50}`, String(message));
  await before.events.written();
  await before.close();
  await alive.begin();

  await using after = await openRig([dead.url, alive.url], options);
  await alive.untilTaken(1000);

  expect(after.webhooks.hasRoom(1)).toBe(false);
});

const damages: Readonly<Record<string, string>> = {
  "is empty": "",
  "is cut off": '{"epoch":"abc',
  "is of another program": "[1,2,3]",
  "has a place that is none": '{"epoch":"abcdefgh","webhooks":{"x":{"after":-1,"except":[]}}}',
  "is of another log": '{"epoch":"abcdefgh","webhooks":{}}',
};
for (const [what, text] of Object.entries(damages))
  test(`a file that ${what} costs no event: all that are kept are sent again, and the log says so`, async () => {
    await using folder = await makeFolder();
    const path = folder.file("events");
    await using receiver = await openReceiver();
    await using before = await openRig([receiver.url], { path });
    sendAll(before, "abc");
    await before.untilEmpty();
    await before.close();
    await Bun.write(`${path}-webhooks`, text);

    await using after = await openRig([receiver.url], { path });
    await after.untilEmpty();

    expect(receiver.taken.map(({ data }) => data["message"])).toEqual([..."abcabc"]);
    expect(after.log).toMatchObject([{ level: "warn", msg: resent, url: receiver.url }]);
  });

test("a file that cannot be written is told of once, and costs nothing but repeats", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url], { path, cursorsPath: `${path}/no-folder` });
  for (let round = 0; round < 3; round++) {
    sendAll(rig, "a");
    await rig.untilEmpty();
  }
  await rig.close();

  expect(receiver.taken).toHaveLength(3);
  expect(rig.log.map(({ level }) => level)).toEqual(["error"]);
});

test("a webhook that is new begins now, and one that was left out for a while goes on where it was", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using old = await openReceiver();
  await using added = await openReceiver();
  const run = async (urls: readonly string[], text: string) => {
    await using rig = await openRig(urls, { path });
    sendAll(rig, text);
    await rig.untilEmpty();
    await rig.events.written();
    await rig.close();
  };

  await run([old.url], "ab");
  await run([added.url], "cd");
  await run([], "ef");
  await run([old.url, added.url], "gh");

  expect(old.messages.get("s")).toEqual([..."abcdefgh"]);
  expect(added.messages.get("s")).toEqual([..."cdefgh"]);
});

test("a secret in a URL that is replaced by another is no new webhook, and the file has neither", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await receiver.end();
  await using before = await openRig([`${receiver.url}?key=secret-1`], { path });
  sendAll(before, "ab");
  await before.events.written();
  await before.close();
  expect(await Bun.file(`${path}-webhooks`).text()).not.toMatch(/secret|127\.|hook\//);
  await receiver.begin();

  await using after = await openRig([`${receiver.url}?key=secret-2`], { path });
  await after.untilEmpty();

  expect(receiver.messages.get("s")).toEqual(["a", "b"]);
});

test("what retention has passed while the server was away is missing, which the log says with its number", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await receiver.end();
  await using before = await openRig([receiver.url], { path });
  sendAll(before, "abcdef");
  await before.events.written();
  await before.close();
  await receiver.begin();

  await using after = await openRig([receiver.url], { path, retention: { count: 2 } });
  await after.untilEmpty();

  expect(receiver.messages.get("s")).toEqual(["e", "f"]);
  expect(after.log).toMatchObject([{ level: "warn", msg: misses, url: receiver.url, missed: 4 }]);
});

test("events of other types pass by, and are none that it misses", async () => {
  await using folder = await makeFolder();
  const options = {
    path: folder.file("events"),
    types: ["message.received"] as const,
    retention: { count: 10 },
  };
  await using receiver = await openReceiver();
  await using before = await openRig([receiver.url], options);
  sendAll(before, "a");
  for (let user = 0; user < 50; user++) before.events.record("user.online", { userid: String(user) });
  await before.untilEmpty();
  await before.close();

  await using after = await openRig([receiver.url], options);
  sendAll(after, "b");
  await after.untilEmpty();

  expect(receiver.letters.map(({ data }) => data["message"])).toEqual(["a", "b"]);
  expect(after.log).toEqual([]);
});

test("the file is there from the first moment on: a crash right then loses nothing", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await receiver.end();
  await using before = await openRig([receiver.url], { path });
  const atBegin = await Bun.file(`${path}-webhooks`).text();
  sendAll(before, "ab");
  await before.events.written();
  await before.close();
  // As if the process had ended before it wrote again.
  await Bun.write(`${path}-webhooks`, atBegin);
  await receiver.begin();

  await using after = await openRig([receiver.url], { path });
  await after.untilEmpty();

  expect(receiver.messages.get("s")).toEqual(["a", "b"]);
});

test("without its file, and with a log that is older, a webhook begins now", async () => {
  await using folder = await makeFolder();
  const path = folder.file("events");
  await using receiver = await openReceiver();
  await using before = await openRig([receiver.url], { path });
  sendAll(before, "ab");
  await before.untilEmpty();
  await before.close();
  await rm(`${path}-webhooks`);

  await using after = await openRig([receiver.url], { path });
  sendAll(after, "c");
  await after.untilEmpty();

  expect(receiver.taken.map(({ data }) => data["message"])).toEqual(["a", "b", "c"]);
});
