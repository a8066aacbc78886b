/**
 * Tokens from a running server, as a back end gets them.
 */
import { toProblem } from "./calls.ts";

export const apiKey = "0123456789abcdef";

/** The header that a publisher sends. */
export const withKey = { Authorization: `Bearer ${apiKey}` };

/** A token of `/tokens`; fails when that is refused. */
export async function mint(server: { readonly url: string }, query: string): Promise<string> {
  const answer = await fetch(`${server.url}/tokens?${query}`, { method: "POST", headers: withKey });
  if (!answer.ok) throw new Error((await toProblem(answer)).detail);
  return JSON.parse(await answer.text()).token;
}

/** Pushes with the key, and gives to how many sessions it went. */
export async function pushWithKey(
  server: { readonly url: string },
  query: string,
  message: string,
): Promise<number> {
  const path = query === "" ? "/pushtoall" : `/push?${query}`;
  const answer = await fetch(`${server.url}${path}`, { method: "POST", body: message, headers: withKey });
  return JSON.parse(await answer.text()).sessions;
}
