/**
 * A hub on the real journal, with an outlet that says how many sessions a message went to, and sessions that remember their end.
 */
import { PushError } from "../../src/errors.ts";
import { Hub, type Outlet } from "../../src/hub.ts";
import type { Journal } from "../../src/journal.ts";
import { openMemoryJournal } from "../../src/journal/memory.ts";
import { createLogger, type Logger } from "../../src/logger.ts";
import type { Message } from "../../src/message.ts";
import { createMetrics, type Metrics } from "../../src/metrics.ts";
import { Presence } from "../../src/presence.ts";
import { Quotas } from "../../src/quotas.ts";
import type { Follower } from "../../src/replay.ts";
import { createSessionIds, type Session, Sessions } from "../../src/session.ts";

interface RigOptions {
  readonly journal?: Journal;
  /** How many sessions a message goes to. */
  readonly sessionsOf?: (message: Message) => number;
  readonly maxSessions?: number;
  readonly logger?: Logger;
}

/** A hub with everything that it needs, and with one outlet that only remembers. */
export function createRig({
  journal = createJournal(),
  sessionsOf = () => 1,
  maxSessions = 1_000_000,
  logger = createLogger({ level: "error", format: "json", target: 2 }),
}: RigOptions) {
  const delivered: Message[] = [];
  const outlet: Outlet = {
    deliver(message) {
      delivered.push(message);
      return sessionsOf(message);
    },
  };
  const metrics = createMetrics({ version: "0.0.0", commit: "test" });
  const sessions = new Sessions();
  const quotas = new Quotas({ maxPerUser: 1e6, maxPerAddress: 1e6, perSecond: 1e6 });
  const presence = new Presence();
  const hub = new Hub({
    journal,
    sessions,
    presence,
    metrics,
    logger,
    maxSessions,
    quotas,
    maxReceiptWaits: 100,
    maxIdempotencyKeys: 1000,
  });
  hub.addOutlet(outlet);
  return { hub, journal, sessions, presence, metrics, delivered };
}

export function createJournal(): Journal {
  return openMemoryJournal({ retention: { time: 60_000, bytes: 1e9, count: 1e6 } });
}

const createId = createSessionIds();

interface ClosableSession extends Follower {
  /** The codes that it was closed with. */
  readonly closes: readonly number[];
}

export function createSession(onClose: (session: Session, code: number) => void = () => {}): ClosableSession {
  const closes: number[] = [];
  return {
    id: createId(),
    userid: "7",
    compid: "inbox",
    transport: "websocket",
    openedAt: 0,
    closes,
    close(code) {
      closes.push(code);
      onClose(this, code);
    },
    probe: () => {},
    mute: () => {},
    unmute: () => {},
    replay: (messages) => messages.length,
    goLive: () => {},
  };
}

export function attachMany(hub: Hub, count: number, onClose?: (session: Session, code: number) => void) {
  const all = Array.from({ length: count }, () => createSession(onClose));
  for (const session of all) hub.attach(session, hub.head);
  return all;
}

/** How many sessions ended in each way, as the metrics say. */
export async function endings(metrics: Metrics): Promise<Record<string, number>> {
  const text = await metrics.render();
  const found = text.matchAll(/^server_push_sessions_closed_total\{reason="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, reason, count]) => [reason, Number(count)]));
}

export function refusal(act: () => void): PushError {
  try {
    act();
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}
