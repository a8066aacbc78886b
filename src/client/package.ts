/**
 * The library as the package has it, `server-push/client`: where it lies says nothing of where its server is.
 */
import { open } from "./client.ts";
import type { ConnectOptions, Push } from "./contract.d.ts";

export function connect(options: ConnectOptions = {}): Push {
  return open(options);
}
