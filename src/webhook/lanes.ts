/**
 * Lanes of events: what has to arrive in order is in one of them.
 */
import type { LoggedEvent } from "../events.ts";

export interface Queued {
  readonly event: LoggedEvent;
  readonly bytes: number;
  /** When it came, by a clock that nobody sets. */
  readonly since: number;
  readonly lane: Lane;
  isSending: boolean;
}

export interface Lane {
  readonly key: string;
  /** Never empty. */
  readonly queue: Queued[];
  /** How often its first event was tried, and how many the webhook had taken before that. */
  attempts: number;
  takenBefore: number;
  pause: Timer | undefined;
}

/** What the first event of a lane is: a message of a client, or anything else. */
export type Kind = "messages" | "others";

export function toKind({ queue }: Lane): Kind {
  return queue[0]?.event.type === "message.received" ? "messages" : "others";
}

/**
 * Lanes whose first event may be sent now, the longest ready first. Each kind has a row of its own: a back end that does not know a type
 * refuses all events of it, and thousands of these must not stand before a message.
 */
export class ReadyLanes {
  readonly #lanes: Readonly<Record<Kind, Set<Lane>>> = { messages: new Set(), others: new Set() };

  add(lane: Lane): void {
    this.#lanes[toKind(lane)].add(lane);
  }

  /** Also when the lane's first event is another one by now. */
  delete(lane: Lane): void {
    this.#lanes.messages.delete(lane);
    this.#lanes.others.delete(lane);
  }

  has(lane: Lane, kind: Kind): boolean {
    return this.#lanes[kind].has(lane);
  }

  first(kind: Kind): Lane | undefined {
    for (const lane of this.#lanes[kind]) return lane;
    return undefined;
  }
}

/** What has to arrive in order: what is of one session, or of one user. All else is each for itself. */
export function toLaneKey({ id, type, json }: LoggedEvent): string {
  if (type === "message.unclaimed") return id;
  const session = toSession(json);
  if (session !== undefined) return session;
  const { data } = JSON.parse(json) as { data: { userid?: string } }; // as `Events.record` has written it
  return `user ${data.userid}`;
}

/** A message may be long, so it is not parsed for what stands before it. */
const beforeMessage = /^\{"type":"[\w.]+","timestamp":"[\w.:-]+","data":\{"session":"([\w-]+)"/;

export function toSession(json: string): string | undefined {
  return beforeMessage.exec(json)?.[1];
}
