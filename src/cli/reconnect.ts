/**
 * Coming back to where one was when a connection is lost: what `listen` and `events` share.
 *
 *   connect ──► lost: wait a little ──────────────────────────────────────┐
 *      ▲  └──► full: wait until all is written ───────────────────────────┤
 *      │  └──► refused ──► for good: end                                  │
 *      │             └──► for now: wait as long as the server says ───────┤
 *      └──────────────────────────────────────────────────────────────────┘
 */
import { readProblem } from "./client.ts";
import { fail, type Lines, note } from "./output.ts";

/** How a connection ended. */
export interface Ending {
  /** How far it came: `stopped` when no more was wanted from it. */
  readonly state: "refused" | "opened" | "stopped";
  readonly reason: string;
  /** Whether trying again does not mend it. */
  readonly isFinal?: boolean;
  /** For how long the server wants to be left alone. */
  readonly waitMs?: number;
}

/** How long there may be no answer to a request or a handshake, and how late something may be that is due. */
export const answerMs = 10_000;
export const graceMs = 2000;

const firstPauseMs = 500;
const longestPauseMs = 20_000;

export interface Following {
  /** One connection, from where the one before it ended. */
  connect(everOpen: boolean): Promise<Ending>;
  readonly lines: Lines;
  /** Whether nothing more is wanted at all. */
  isDone(): boolean;
}

/** Connects again and again, and gives the exit status. Who never got in is refused for good. */
export async function follow({ connect, lines, isDone }: Following): Promise<number> {
  let everOpen = false;
  let pauseMs = firstPauseMs;
  for (;;) {
    const { state, reason, isFinal = false, waitMs = 0 } = await connect(everOpen);
    if (state !== "refused") {
      everOpen = true;
      pauseMs = firstPauseMs;
    }
    if (state === "stopped") {
      await lines.written();
      if (isDone()) return 0;
      continue;
    }
    if (isFinal || !everOpen) {
      await lines.written();
      return fail(1, reason);
    }
    const ms = waitMs + Math.round(Math.random() * pauseMs);
    note(`${reason}, back in ${ms} ms`);
    await Bun.sleep(ms);
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
}

/** What a proxy may answer too while its server is away, such as 404 or 502, is not among them. */
const finalStatuses: ReadonlySet<number> = new Set([400, 401, 403]);

/** What an answer that lets nobody in says. */
export async function toRefusal(response: Response, reason?: string): Promise<Ending> {
  const said = reason ?? (await readProblem(response));
  return {
    state: "refused",
    reason: said,
    isFinal: finalStatuses.has(response.status),
    waitMs: readRetryAfter(response, said),
  };
}

/** A date, which RFC 9110 allows too, is not what our server sends. */
function readRetryAfter({ headers }: Response, reason: string): number {
  // Its end comes before that, and whoever follows may be there at once.
  if (reason.startsWith("shutting_down: ")) return 0;
  const seconds = headers.get("retry-after") ?? "";
  return /^\d{1,6}$/.test(seconds) ? Math.min(Number(seconds) * 1000, longestPauseMs) : 0;
}

/** @param what is not there, maybe */
export function describeGap(what: string, url: URL): string {
  const since = url.searchParams.get("since");
  return `${what} may be missing: the server cannot resume after ${since}, as it restarted or keeps it no longer; going on from now`;
}
