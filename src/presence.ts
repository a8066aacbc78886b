/**
 * Who is here: the sessions by user, and how many each component has.
 *
 * A user is online from the first session until `graceMs` after the last one has ended, so that a reload of the page, or the pause
 * between two polls, is no departure:
 *
 *   sessions   1  2  1  0     1        0
 *   online     ├────────grace─┤────────grace┤ offline
 *
 * After a restart those who were online before still are, for long enough to come back (`expect`).
 *
 * Nothing here asks anybody: a session that has lost its client ends like every other (see `Session.probe`), and is then counted out.
 */
import type { Address } from "./address.ts";
import type { Session } from "./session.ts";

/** Whether somebody is there. */
export interface Whereabouts {
  readonly online: boolean;
  /** How many sessions there are now. */
  readonly sessions: number;
  /** Of a user: the components that the sessions are of, sorted. */
  readonly components?: readonly string[];
  /** Since when, in milliseconds since 1970; absent for who is not online, and for a component of all users. */
  readonly since?: number;
}

export interface PresenceOptions {
  /** A user comes, and goes. Must not throw. */
  readonly onOnline?: (userid: string) => void;
  readonly onOffline?: (userid: string) => void;
  /** In milliseconds. */
  readonly graceMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds of a clock that nobody sets. */
  readonly steadyNow?: () => number;
}

interface Here {
  readonly since: number;
  /** The one session that nearly everybody has, or all of them. */
  sessions: Session | Set<Session> | undefined;
}

export class Presence {
  readonly #options: Required<PresenceOptions>;
  readonly #users = new Map<string, Here>();
  readonly #components = new Map<string, number>();
  /** Who has no session any more, and when the grace is over: in this order, as it is equally long for all. */
  readonly #leaving = new Map<string, number>();
  #isWaiting = false;
  #isHeld = false;

  constructor(options: PresenceOptions = {}) {
    this.#options = {
      onOnline: () => {},
      onOffline: () => {},
      graceMs: 3000,
      now: Date.now,
      steadyNow: () => performance.now(),
      ...options,
    };
  }

  /** How many users are online. */
  get users(): number {
    return this.#users.size;
  }

  /** How many sessions each component has. */
  get components(): ReadonlyMap<string, number> {
    return this.#components;
  }

  /**
   * These users were online before the server was started: they are for `ms` from now, and then those who have not come back go.
   *
   * @param users since when each was online
   */
  expect(users: ReadonlyMap<string, number>, ms: number): void {
    for (const [userid, since] of users) this.#users.set(userid, { since, sessions: undefined });
    if (users.size === 0) return;
    setTimeout(() => {
      if (this.#isHeld) return;
      for (const userid of users.keys())
        if (this.isAway(userid) && !this.#leaving.has(userid)) this.#go(userid);
    }, ms).unref();
  }

  enter(session: Session): void {
    const { userid, compid } = session;
    if (compid !== undefined) this.#components.set(compid, (this.#components.get(compid) ?? 0) + 1);
    if (userid === undefined) return;
    const here = this.#users.get(userid);
    if (here === undefined) {
      this.#users.set(userid, { since: this.#options.now(), sessions: session });
      this.#options.onOnline(userid);
      return;
    }
    this.#leaving.delete(userid);
    if (here.sessions === undefined) here.sessions = session;
    else if (here.sessions instanceof Set) here.sessions.add(session);
    else here.sessions = new Set([here.sessions, session]);
  }

  leave(session: Session): void {
    const { userid, compid } = session;
    if (compid !== undefined) {
      const left = (this.#components.get(compid) ?? 0) - 1;
      if (left > 0) this.#components.set(compid, left);
      else this.#components.delete(compid);
    }
    const here = userid === undefined ? undefined : this.#users.get(userid);
    if (userid === undefined || here === undefined) return;
    if (here.sessions instanceof Set) {
      here.sessions.delete(session);
      if (here.sessions.size > 0) return;
    } else if (here.sessions !== session) return;
    here.sessions = undefined;
    this.#leaving.set(userid, this.#options.steadyNow() + this.#options.graceMs);
    if (!this.#isWaiting) this.#wait(this.#options.graceMs);
  }

  /** The sessions of a user, in the order in which they began. */
  of(userid: string): readonly Session[] {
    const sessions = this.#users.get(userid)?.sessions;
    if (sessions === undefined) return [];
    return sessions instanceof Set ? [...sessions] : [sessions];
  }

  isOnline(userid: string): boolean {
    return this.#users.has(userid);
  }

  /** Whether this user has no session just now, and has not gone. */
  isAway(userid: string): boolean {
    const here = this.#users.get(userid);
    return here !== undefined && here.sessions === undefined;
  }

  /** Whether this address, which is not that of all, has somebody. */
  find({ userid, compid }: Address): Whereabouts {
    if (userid === undefined) {
      const sessions = compid === undefined ? 0 : (this.#components.get(compid) ?? 0);
      return { online: sessions > 0, sessions };
    }
    const all = this.of(userid);
    const own = compid === undefined ? all : all.filter((session) => session.compid === compid);
    const components = new Set(all.flatMap((session) => session.compid ?? []));
    const here = this.#users.get(userid);
    const online = compid === undefined ? here !== undefined : own.length > 0;
    return {
      online,
      sessions: own.length,
      components: Array.from(components).toSorted(),
      ...(online && here !== undefined && { since: here.since }),
    };
  }

  /** Nobody can come back any more: from now on nobody goes for want of that. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Everybody who is online goes now, whatever sessions there still are. */
  endAll(): void {
    this.#leaving.clear();
    for (const userid of this.#users.keys()) this.#go(userid);
  }

  #wait(ms: number): void {
    this.#isWaiting = true;
    setTimeout(() => this.#expire(), ms).unref();
  }

  #expire(): void {
    this.#isWaiting = false;
    if (this.#isHeld) return;
    const now = this.#options.steadyNow();
    for (const [userid, at] of this.#leaving) {
      if (at > now) return this.#wait(at - now);
      this.#leaving.delete(userid);
      this.#go(userid);
    }
  }

  #go(userid: string): void {
    this.#users.delete(userid);
    this.#options.onOffline(userid);
  }
}
