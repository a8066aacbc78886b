/**
 * Replays on a real journal, with followers whose room is in the test's hand.
 */
import { setImmediate } from "node:timers/promises";
import { topicsOf } from "../../src/address.ts";
import { type Journal, type Retention } from "../../src/journal.ts";
import { openMemoryJournal } from "../../src/journal/memory.ts";
import { createLogger } from "../../src/logger.ts";
import type { Message, Offset } from "../../src/message.ts";
import { createMetrics } from "../../src/metrics.ts";
import { type Follower, Replays } from "../../src/replay.ts";
import type { Session } from "../../src/session.ts";
import type { LogLine } from "./server.ts";

const createId = (() => {
  let count = 0;
  return () => `follower ${++count}`;
})();

export interface TestFollower extends Follower {
  /** Everything it was given, replayed and live. */
  readonly received: Message[];
  /** How many messages it was offered at each time. */
  readonly offered: readonly number[];
  /** How many more it can take. */
  room: number;
  isLive: boolean;
  readonly closes: readonly { readonly code: number; readonly reason: string }[];
}

/** One that can take everything, until the test says otherwise. */
export function createFollower(room = Number.POSITIVE_INFINITY): TestFollower {
  const closes: { code: number; reason: string }[] = [];
  const offered: number[] = [];
  return {
    id: createId(),
    userid: "1",
    compid: "a",
    transport: "websocket",
    openedAt: 0,
    mute: () => {},
    unmute: () => {},
    received: [],
    offered,
    room,
    isLive: false,
    closes,
    replay(messages) {
      offered.push(messages.length);
      const taken = messages.slice(0, this.room);
      this.received.push(...taken);
      this.room -= taken.length;
      return taken.length;
    },
    goLive() {
      if (this.isLive) throw new Error("it is live already");
      this.isLive = true;
    },
    close: (code, reason) => void closes.push({ code, reason }),
    probe: () => {},
  };
}

const unlimited: Retention = { time: 1e9, bytes: 1e9, count: 1e6 };

/** Replays, and the delivery of what is live to those of these followers that are. */
export function createReplays({
  retention = {},
  journal = openMemoryJournal({ retention: { ...unlimited, ...retention } }),
}: { retention?: Partial<Retention>; journal?: Journal } = {}) {
  const followers = new Set<TestFollower>();
  const log: LogLine[] = [];
  const metrics = createMetrics({ version: "0.0.0", commit: "test" });
  const logger = createLogger({
    level: "debug",
    format: "json",
    target: { write: (line) => void log.push(JSON.parse(line)) },
  });
  journal.tail((messages) => {
    for (const follower of followers)
      if (follower.isLive)
        follower.received.push(...messages.filter(({ topic }) => topicsOf(follower).includes(topic)));
  });
  const sent: (readonly [Session, readonly Offset[]])[] = [];
  const onSent = (session: Session, messages: readonly Message[]) =>
    void sent.push([session, messages.map(({ offset }) => offset)]);
  const replays = new Replays({ journal, metrics, logger, onSent });
  return { replays, journal, metrics, followers, sent, log };
}

/** Lets whatever is due have its turn. */
export async function turn(): Promise<void> {
  await setImmediate();
}

/** Lets everything have its turns until no replay goes on by itself, where these are all that there are. */
export async function settle(followers: Iterable<TestFollower>): Promise<void> {
  const count = () =>
    [...followers].reduce((sum, { offered, isLive }) => sum + offered.length + (isLive ? 1 : 0), 0);
  for (let before = -1, rounds = 0; rounds < 3; rounds = count() === before ? rounds + 1 : 0) {
    before = count();
    await turn();
  }
}
