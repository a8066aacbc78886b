/**
 * The library as a module: `/client.mjs`, and `server-push/client`.
 */
import { open } from "./client.ts";
import type { ConnectOptions, Push } from "./contract.d.ts";

/** A server's own file is where its server is; one of a bundle is anywhere. */
const base = /^https?:.*\/(?=client\.mjs)/.exec(import.meta.url)?.[0];

export function connect(options: ConnectOptions = {}): Push {
  return open(options, base);
}
