/**
 * How a stream begins, whatever it is carried by.
 */
import type { Server } from "bun";
import type { Access, Admission } from "../auth/access.ts";
import type { Hub } from "../hub.ts";
import type { Claimant } from "../quotas.ts";
import { sinceParameters } from "../since.ts";

/** Who makes the request, as the limits by address count: nobody, for a program on this machine. */
export type ToAddress = (request: Request, server: Requested) => string | undefined;

/** What every way to receive takes in its query. */
export const clientParameters = ["userid", "compid", ...sinceParameters, "token"] as const;

export type ClientQuery = { readonly [name in (typeof clientParameters)[number]]?: string };

/** A client that may begin a session. */
export type Admitted = Admission & Claimant;

type Requested = Pick<Server<unknown>, "requestIP"> | null;

/**
 * Lets a client in.
 *
 * @throws PushError what `Access.admit` and `Hub.throttle` throw; also as a rejection
 */
export type Admit = (request: Request, server: Requested, query: ClientQuery) => Admitted | Promise<Admitted>;

export interface AdmitParts {
  readonly access: Access;
  readonly hub: Hub;
  readonly toAddress: ToAddress;
}

export function createAdmit({ access, hub, toAddress }: AdmitParts): Admit {
  return (request, server, query) => {
    const address = toAddress(request, server);
    // Before its token is looked at, as that can cost more than all the rest.
    if (address !== undefined) hub.throttle(address);
    const admission = access.admit(request, query);
    if (address === undefined) return admission;
    if (admission instanceof Promise) return admission.then((admitted) => ({ ...admitted, address }));
    return { ...admission, address };
  };
}

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
