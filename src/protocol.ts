/**
 * What server and clients agree on, and the browser's side shares: imports nothing.
 *
 * Close codes: a client that is told one from 4500 to 4999, or 1008, stays away; after any other it comes back, later
 * rather than sooner after 1012 and 1013. RFC 6455 section 7.4 and the IANA registry define the codes below 4000.
 */
export const closeCodes = {
  /** The server goes away: it could not wait any longer for this client. */
  goingAway: 1001,
  /** The client broke a rule that trying again does not mend. */
  policy: 1008,
  /** A message from the client was larger than the limit. */
  tooBig: 1009,
  /** The server restarts: come back, after a random pause. */
  restart: 1012,
  /** The client reads too slowly, or the server is overloaded: come back later. */
  overloaded: 1013,
} as const;

/** Whether a client should connect again after it was closed with `code`. */
export function mayReconnect(code: number): boolean {
  return code !== closeCodes.policy && !(code >= 4500 && code <= 4999);
}
