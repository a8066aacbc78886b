/**
 * The order, as a property: whatever happens when, what a client gets is what it missed and then what is live, without a gap, a repeat
 * or a swap. Once of replays alone, with followers of random room, and once over the wire.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { topicOfAll, toTopic } from "../../src/address.ts";
import type { Draft } from "../../src/message.ts";
import { pushToAll } from "../support/calls.ts";
import { createFollower, createReplays, settle, type TestFollower, turn } from "../support/replays.ts";
import { startServer } from "../support/server.ts";
import { type Receiver, transports } from "../support/transports.ts";

/** What a follower listens to. */
const topics = [
  topicOfAll,
  toTopic({ userid: "1" }),
  toTopic({ compid: "a" }),
  toTopic({ userid: "1", compid: "a" }),
];

const bodiesOf = ({ received }: TestFollower) => received.map(({ body }) => body);

test("whatever the order of pushes, starts, room and turns: replayed and live are together what was missed, once, in order", async () => {
  const act = fc.oneof(
    fc.record({ push: fc.array(fc.nat(topics.length), { minLength: 1, maxLength: 300 }) }),
    fc.record({ start: fc.nat(1000), room: fc.nat(400) }),
    fc.record({ goOn: fc.nat(10), room: fc.integer({ min: 1, max: 400 }) }),
    fc.record({ stop: fc.nat(10) }),
    fc.constant("turn" as const),
    fc.constant("turn" as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60, size: "max" }), async (acts) => {
      const { replays, journal, followers } = createReplays();
      const starts = new Map<TestFollower, number>();
      const stopped = new Set<TestFollower>();
      const pushed: Draft[] = [];
      const pick = (index: number) => [...followers][index % Math.max(1, followers.size)];

      for (const what of acts) {
        if (what === "turn") await turn();
        else if ("push" in what) {
          // One beyond the follower's topics is somebody else's.
          const batch = what.push.map((topic, index) => ({
            topic: topics[topic] ?? toTopic({ userid: "2" }),
            body: `${pushed.length + index}`,
          }));
          pushed.push(...batch);
          await journal.append(batch);
        } else if ("start" in what) {
          const follower = createFollower(what.room);
          const after = what.start % (journal.head + 1);
          followers.add(follower);
          starts.set(follower, after);
          replays.start(follower, after);
        } else if ("goOn" in what) {
          const follower = pick(what.goOn);
          if (follower === undefined || follower.isLive) continue;
          follower.room += what.room;
          replays.goOn(follower);
        } else {
          const follower = pick(what.stop);
          if (follower === undefined) continue;
          replays.stop(follower);
          followers.delete(follower);
          stopped.add(follower);
        }
      }
      for (const follower of followers) {
        follower.room = Number.POSITIVE_INFINITY;
        replays.goOn(follower);
      }
      await settle(followers);

      const expected = (follower: TestFollower) =>
        pushed
          .slice(starts.get(follower))
          .filter(({ topic }) => topics.includes(topic))
          .map(({ body }) => body);
      for (const follower of followers) {
        expect(follower.isLive).toBe(true);
        expect(bodiesOf(follower)).toEqual(expected(follower));
      }
      for (const follower of stopped)
        expect(bodiesOf(follower)).toEqual(expected(follower).slice(0, follower.received.length));
      expect(replays.size).toBe(0);
    }),
    { numRuns: 500 },
  );
}, 60_000);

/** What happens in a life of a client. */
type Step = { readonly push: number } | { readonly take: number } | "drop" | "come back";

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.constant("drop" as const) },
  { weight: 2, arbitrary: fc.constant("come back" as const) },
);

test("whatever the order of pushes, reads, drops and returns, on any transports: nothing is lost, repeated or swapped", async () => {
  await using server = await startServer();
  let lives = 0;
  const withIds = transports.filter(({ hasIds }) => hasIds);

  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.array(fc.nat(withIds.length - 1), { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      async (steps, choices, isEager) => {
        const query = `userid=life-${lives++}`;
        let [pushed, connections] = [0, 0];
        const received: string[] = [];
        const under: Promise<unknown>[] = [];
        let last = (await pushToAll(server, "begin")).id;
        let receiver: Receiver | undefined;

        const comeBack = async () => {
          if (receiver !== undefined) return;
          const choice = choices[connections++ % choices.length] ?? 0;
          receiver = await withIds[choice]?.open(server, { query, since: last });
          if (receiver?.resumed !== true) throw new Error(`${last} was not resumed`);
        };
        const takeOne = async (from: Receiver) => {
          const { id = "", data } = await from.next();
          last = id;
          if (data !== "begin") received.push(data);
        };
        const publish = (count: number) => {
          const items = Array.from({ length: count }, () => ({
            userid: `life-${lives - 1}`,
            message: `${pushed++}`,
          }));
          return fetch(`${server.url}/batch`, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify(items),
          });
        };

        for (const what of steps) {
          if (what === "come back") await comeBack();
          else if (what === "drop") {
            await receiver?.[Symbol.asyncDispose]();
            receiver = undefined;
          } else if ("push" in what) {
            // An eager publisher does not wait: its pushes and what the client does meet in any order.
            if (isEager) await Promise.all(under.splice(0));
            const pushing = publish(what.push);
            if (isEager) under.push(pushing);
            else await pushing;
          } else if (receiver !== undefined) {
            const due = Math.min(what.take, pushed - received.length);
            for (let index = 0; index < due; index++) await takeOne(receiver);
          }
        }
        await Promise.all(under);
        await comeBack();
        const back: Receiver | undefined = receiver;
        if (back === undefined) throw new Error("it did not come back");
        while (received.length < pushed) await takeOne(back);
        await back[Symbol.asyncDispose]();

        expect(received).toEqual(Array.from({ length: pushed }, (_, index) => `${index}`));
      },
    ),
    { numRuns: 100, verbose: 1 },
  );
}, 60_000);
