/**
 * Whether this page may connect: its Content-Security-Policy may forbid what that of another tab of its origin allows, and may forbid polls
 * alone. What is forbidden fails as if nobody were there; the document is told why.
 */
import { surroundings } from "./surroundings.ts";

/** As CSP Level 3 has it. */
type Violation = Event & Readonly<Record<"disposition" | "effectiveDirective" | "blockedURI", string>>;

/**
 * @param scheme what it would connect with: `ws` or `http`, each also with an `s`
 * @param host   of the server
 * @returns whether the page has been forbidden that
 */
export function watchPolicy(scheme: string, host: string, signal: AbortSignal): () => boolean {
  let isForbidden = false;
  const take = ({ disposition, effectiveDirective, blockedURI }: Violation) => {
    const [used = "", , asked] = blockedURI.split("/");
    if (disposition === "enforce" && effectiveDirective === "connect-src")
      isForbidden ||= used.startsWith(scheme) && asked === host;
  };
  // It is such an event.
  surroundings.document?.addEventListener("securitypolicyviolation", take as (event: Event) => void, {
    signal,
  });
  return () => isForbidden;
}
