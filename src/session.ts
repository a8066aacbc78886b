/**
 * A session, and the table of the sessions on this node.
 *
 * A session begins when a client's connection is open and ends exactly once, when that connection does. The table is keyed
 * by the random id that the server gave, never by anything that the client chose: two tabs of one user are two
 * sessions, and the end of one must not remove the other.
 */
import { PushError, quote } from "./errors.ts";

export type Transport = "websocket" | "sse" | "poll";

export interface Session {
  /** 22 characters of base64url: 128 random bits. */
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  /** What it counts for at the limits by address; programs on this machine have none. */
  readonly address?: string;
  readonly transport: Transport;
  /** When it was added to the table, in milliseconds since 1970: of no two sessions the same. */
  openedAt: number;
  /** Ends it from this side. What was sent before goes out first, to a client that still reads. */
  close(code: number, reason: string): void;
  /**
   * Asks the client for a sign of life, and ends the session if there was none since it was last asked.
   *
   * @param position the id up to which everything was sent to every session that is live, which the client is told
   */
  probe(position: string): void;
  /** Sends what the back end has answered to something that this session has sent; not on a transport on which it can send nothing. */
  reply?(text: string): void;
  /** While it is live: what is delivered to this topic of its own does not reach it, until `unmute`. */
  mute(topic: string): void;
  unmute(topic: string): void;
}

export class Sessions {
  readonly #byId = new Map<string, Session>();
  #newest = 0;

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  add(session: Session): void {
    // The clock may stand still, or go back; what orders the sessions must not.
    this.#newest = Math.max(Date.now(), this.#newest + leastStepMs);
    session.openedAt = this.#newest;
    this.#byId.set(session.id, session);
  }

  /** Whether the session was there. */
  remove(session: Session): boolean {
    return this.#byId.get(session.id) === session && this.#byId.delete(session.id);
  }

  /** In the order in which they began. Safe against sessions that come and go during the walk. */
  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byId.values();
  }
}

/** A double has room for about four of these in each step of its own at this time. */
const leastStepMs = 0.001;

const probeSlice = 500;

/**
 * Probes every session once in each interval, so that a dead peer is found after one to two of them, also while it is being
 * pushed to. Thousands are walked in slices, so that what arrives meanwhile does not wait for all of them.
 *
 * @param toPosition gives the position of now
 * @returns what stops it
 */
export function startProbing(sessions: Sessions, intervalMs: number, toPosition: () => string): () => void {
  let walking = false;
  let stopped = false;
  const timer = setInterval(async () => {
    if (walking) return;
    walking = true;
    try {
      let probed = 0;
      let position = toPosition();
      for (const session of sessions) {
        session.probe(position);
        if (++probed % probeSlice === 0) {
          await new Promise(setImmediate);
          position = toPosition();
        }
        if (stopped) return;
      }
    } finally {
      walking = false;
    }
  }, intervalMs);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}

const idBytes = 16;
const poolBytes = 256 * idBytes;

/** @throws PushError `invalid_parameter` for what no session can have as its id */
export function checkSessionId(name: string, id: string): string {
  if (/^[\w-]{22}$/.test(id)) return id;
  throw new PushError(
    "invalid_parameter",
    `${name} is ${quote(id)}, expected the id of a session: 22 letters, digits, - and _`,
  );
}

/** Makes random session ids: one call to the system's random source for 256 of them, as each call costs microseconds. */
export function createSessionIds(): () => string {
  const pool = Buffer.allocUnsafe(poolBytes);
  let used = poolBytes;
  return () => {
    if (used === poolBytes) {
      crypto.getRandomValues(pool);
      used = 0;
    }
    used += idBytes;
    return pool.toString("base64url", used - idBytes, used);
  };
}
