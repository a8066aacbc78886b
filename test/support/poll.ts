/**
 * Long polls for tests: one at a time, or one after another as a client makes them.
 */
import type { MessageContent } from "../../src/protocol.ts";

export interface PollAnswer {
  readonly id: string;
  readonly resumed?: boolean;
  readonly messages: readonly MessageContent[];
}

export interface PollOptions {
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** One poll; fails when it is refused. */
export async function poll(
  server: { readonly url: string },
  { query = "", ...init }: PollOptions = {},
): Promise<PollAnswer> {
  const response = await fetch(`${server.url}/poll?${query}`, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`refused with ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** The texts of the messages in an answer. */
export function textsOf({ messages }: PollAnswer): (string | undefined)[] {
  return messages.map(({ data }) => data);
}

/** Polls until there is nothing more, and gives what came; each poll goes on where the one before it ended. */
export async function pollAll(server: { readonly url: string }, query: string, since: string) {
  const messages: MessageContent[] = [];
  let [id, polls] = [since, 0];
  for (;;) {
    const answer = await poll(server, { query: `${query}&since=${id}&wait=0` });
    if (answer.resumed === false) throw new Error(`${id} could not be resumed`);
    polls++;
    id = answer.id;
    if (answer.messages.length === 0) return { id, polls, messages };
    messages.push(...answer.messages);
  }
}
