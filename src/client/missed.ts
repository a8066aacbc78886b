/**
 * What a tab has not had, when another one has the connection: one call, without a session.
 */
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
