/**
 * What a back end asks about who is there, and how it ends sessions: /presence and /sessions.
 */
import { Elysia } from "elysia";
import type { Address } from "../address.ts";
import type { Access } from "../auth/access.ts";
import { PushError, quote } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";
import { closeCodes } from "../protocol.ts";
import type { Presence } from "../presence.ts";
import { readQuery } from "../query.ts";
import { checkSessionId, type Session, type Sessions } from "../session.ts";
import { describeDisconnect, describePresence, describeSessions } from "./openapi-sessions.ts";

export interface SessionsRoutesParts {
  readonly access: Access;
  readonly sessions: Sessions;
  readonly presence: Presence;
}

export const defaultPage = 100;
export const largestPage = 1000;
/** How many components are listed, those with the most sessions first. */
export const listedComponents = 1000;

export function sessionsRoutes({ access, sessions, presence }: SessionsRoutesParts) {
  return new Elysia()
    .get(
      "/presence",
      ({ request }) => {
        access.checkPublisher(request);
        const address = readQuery(request.url, ["userid", "compid"]);
        if (isForAll(address)) return json(countAll());
        const { since, ...rest } = presence.find(address);
        return json({ ...rest, ...(since !== undefined && { since: toTime(since) }) });
      },
      { detail: describePresence() },
    )
    .get(
      "/sessions",
      ({ request }) => {
        access.checkPublisher(request);
        const { limit, after, ...address } = readQuery(request.url, ["userid", "compid", "limit", "after"]);
        return json(listPage(address, readLimit(limit), readAfter(after)));
      },
      { detail: describeSessions() },
    )
    .delete(
      "/sessions",
      async ({ request }) => {
        access.checkPublisher(request);
        const { session, back, ...address } = readQuery(request.url, ["userid", "compid", "session", "back"]);
        const code = readBack(back) ? closeCodes.disconnectedForNow : closeCodes.disconnected;
        const chosen = [...choose(address, session)];
        for (const [index, one] of chosen.entries()) {
          one.close(code, "the back end has ended the session");
          // Thousands that end must not hold up everybody else.
          if ((index + 1) % closedAtOnce === 0) await new Promise(setImmediate);
        }
        return json({ closed: chosen.length });
      },
      { detail: describeDisconnect() },
    );

  function countAll() {
    const most = [...presence.components].toSorted(([, one], [, other]) => other - one);
    const components = most
      .slice(0, listedComponents)
      .map(([compid, count]) => ({ compid, sessions: count }));
    return { sessions: sessions.size, users: presence.users, components };
  }

  /** The page after the session that began then. */
  function listPage(address: Address, limit: number, after: number) {
    const page: Session[] = [];
    for (const session of find(address)) {
      if (session.openedAt <= after) continue;
      if (page.length === limit) return { sessions: page.map(toEntry), next: String(page.at(-1)?.openedAt) };
      page.push(session);
    }
    return { sessions: page.map(toEntry) };
  }

  /** Those of this address, in the order in which they began. */
  function* find(address: Address): Generator<Session> {
    const { userid, compid } = address;
    for (const session of userid === undefined ? sessions : presence.of(userid))
      if (compid === undefined || session.compid === compid) yield session;
  }

  function* choose(address: Address, id: string | undefined): Generator<Session> {
    if (id === undefined) {
      if (!isForAll(address)) return yield* find(address);
      throw new PushError("missing_address", "no session is named, expected userid, compid or session");
    }
    if (!isForAll(address))
      throw new PushError(
        "invalid_parameter",
        "session is given beside userid or compid, expected one or the other",
      );
    checkSessionId("session", id);
    const found = sessions.get(id);
    if (found !== undefined) yield found;
  }
}

/** How many sessions are ended before others have their turn. */
const closedAtOnce = 250;

function isForAll({ userid, compid }: Address): boolean {
  return userid === undefined && compid === undefined;
}

function toEntry({ id, userid, compid, transport, openedAt, address = "loopback" }: Session) {
  return { id, userid, compid, transport, since: toTime(openedAt), address };
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value), {
    headers: { ...unkeptHeaders, "Content-Type": "application/json" },
  });
}

function readLimit(text: string | undefined): number {
  if (text === undefined) return defaultPage;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= largestPage) return limit;
  throw new PushError(
    "invalid_parameter",
    `limit is ${quote(text)}, expected a whole number from 1 to ${largestPage}`,
  );
}

function readAfter(text: string | undefined): number {
  if (text === undefined) return 0;
  if (/^\d{1,15}(\.\d{1,10})?$/.test(text)) return Number(text);
  throw new PushError("invalid_parameter", `after is ${quote(text)}, expected the next of the page before`);
}

function readBack(text: string | undefined): boolean {
  if (text === undefined || text === "false") return false;
  if (text === "true") return true;
  throw new PushError("invalid_parameter", `back is ${quote(text)}, expected true or false`);
}
