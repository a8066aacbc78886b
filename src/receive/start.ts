/**
 * How a stream begins, whatever it is carried by.
 */
import type { Server } from "bun";
import { sinceParameters } from "../since.ts";

/** Who makes the request, as the limits by address count: nobody, for a program on this machine. */
export type ToAddress = (
  request: Request,
  server: Pick<Server<unknown>, "requestIP"> | null,
) => string | undefined;

/** What every way to receive takes in its query. */
export const clientParameters = ["userid", "compid", ...sinceParameters, "token"] as const;

export type ClientQuery = { readonly [name in (typeof clientParameters)[number]]?: string };

/**
 * What may wait for a session before no more of a replay is sent to it, in bytes: so little that it is not taken for a slow one by
 * what is live afterwards.
 *
 * @param maxQueued what may wait for it at all
 */
export function toReplayedAtOnce(maxQueued: number): number {
  return Math.min(64 * 1024, maxQueued / 2);
}

/**
 * Tells a client where its stream begins before the first message, on transports that have HTTP headers: a plain WebSocket has nothing
 * else to say it with.
 */
export function toStartHeaders(id: string, resumed: boolean | undefined): Record<string, string> {
  return {
    "Last-Event-ID": id,
    ...(resumed !== undefined && { "Server-Push-Resumed": String(resumed) }),
  };
}
