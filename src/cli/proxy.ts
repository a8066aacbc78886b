/**
 * Proxies that the environment names are not for what is on this very machine.
 */
import { isLoopback } from "../settings.ts";

/** Calls these directly from now on, where they are on this machine. A proxy would look for them on its own. */
export function bypassProxies(urls: readonly URL[]): void {
  const local = urls
    .map(({ hostname }) => hostname)
    .filter((name) => isLoopback(name.replace(/^\[|\]$/g, "")));
  // Where both are set, the one in small letters counts.
  const variable = process.env["no_proxy"] ? "no_proxy" : "NO_PROXY";
  const exempt = new Set((process.env[variable] ?? "").split(",").concat(local));
  if (local.length > 0) process.env[variable] = Array.from(exempt).filter(Boolean).join(",");
}
