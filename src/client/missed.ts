/**
 * What a tab has not had, when another one has the connection: one call fetches it, which does not
 * wait, and what comes meanwhile does.
 */
import type { Notice } from "./connection.ts";
import {
  calling,
  type Ending,
  type PollAnswer,
  type Problem,
  type Server,
  unreachable,
} from "./transports.ts";

/**
 * @param since  the position that it comes after
 * @param ms     how long it may take, with the page's token
 * @param signal ends it
 */
export async function fetchMissed(
  server: Server,
  since: () => string | undefined,
  ms: number,
  signal: AbortSignal,
): Promise<{ readonly answer?: PollAnswer; readonly problem?: Problem }> {
  const own = new AbortController();
  const end = () => own.abort();
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
  const late = new Promise<never>((_, reject) => (own.signal.onabort = () => reject(unreachable.detail)));
  try {
    const token = await Promise.race([server.getToken(), late]);
    const link = { url: server.url, token, signal: own.signal, since };
    return await calling<Ending & { readonly answer?: PollAnswer }>(
      link,
      "poll",
      { wait: "0" },
      async (answer) => {
        const { messages, ...rest } = (await answer.json()) as PollAnswer;
        // Whatever is on the way may answer, too: what has no messages is none of ours, and throws.
        return { answer: { ...rest, messages: [...messages] } };
      },
    );
  } catch (error) {
    return { problem: { code: "failed", detail: String(error) } };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** Whether no server of ours has said so: there was no answer, or one of whatever is on the way. */
export function isOfNobody(problem: Problem | undefined): boolean {
  return !problem || problem.code === "unexpected" || problem.code === unreachable.code;
}

/** What waits while what was missed is fetched; over it, all of that is fetched too. */
const maxHeld = 1000;

/** Lets a notice wait, in place of all that can be fetched where those are too many; the oldest of what cannot be is lost where even that is. */
export function letWait(held: Notice[], notice: Notice): void {
  if (held.push(notice) <= maxHeld) return;
  // The last message stays: by what was before it, it shows that there is more to be fetched.
  const last = held.findLast((one) => one.type === "message" && canBeFetched(one));
  const kept = new Set([...held.filter((one) => !canBeFetched(one)).slice(-maxHeld / 2), last]);
  held.splice(0, held.length, ...held.filter((one) => kept.has(one)));
}

/** An answer to what a tab has sent has no id, and is in no journal. */
function canBeFetched(notice: Notice): boolean {
  return notice.type === "position" || (notice.type === "message" && notice.message.id !== undefined);
}

/** Whether who is at this position has had what is at that one. */
export function isUpTo(position: string | undefined, id = ""): boolean {
  const [, epoch, offset] = split(id);
  const [, ownEpoch, ownOffset] = split(position);
  return id === "" || id === position || (epoch === ownEpoch && Number(offset) <= Number(ownOffset));
}

function split(id = ""): readonly string[] {
  return /^(.*)-(\d+)$/.exec(id) ?? [];
}
