/**
 * Whether this page may connect: its Content-Security-Policy may forbid what that of another tab of its origin allows. What is forbidden fails
 * as if nobody were there; the document is told why.
 */
import { surroundings } from "./surroundings.ts";

/** As CSP Level 3 has it. */
type Violation = Event & Readonly<Record<"disposition" | "effectiveDirective" | "blockedURI", string>>;

/**
 * @param host of the server
 * @returns whether the page has been forbidden to connect to it
 */
export function watchPolicy(host: string, signal: AbortSignal): () => boolean {
  let isForbidden = false;
  const take = ({ disposition, effectiveDirective, blockedURI }: Violation) => {
    if (
      disposition === "enforce" &&
      effectiveDirective === "connect-src" &&
      blockedURI.split("/")[2] === host
    )
      isForbidden = true;
  };
  // It is such an event.
  surroundings.document?.addEventListener("securitypolicyviolation", take as (event: Event) => void, {
    signal,
  });
  return () => isForbidden;
}
