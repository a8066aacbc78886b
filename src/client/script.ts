/**
 * The library as a classic script, `/client.js`: one global, `ServerPush`.
 */
import { open } from "./client.ts";
import type { ConnectOptions, Push } from "./contract.d.ts";

interface Page {
  readonly document?: { readonly currentScript: { readonly src?: string } | null };
  ServerPush?: { connect(options?: ConnectOptions): Push };
}

const page = globalThis as Page; // whatever it is, it may lack all of them
const base = /^https?:.*\/(?=client\.js)/.exec(page.document?.currentScript?.src ?? "")?.[0];

page.ServerPush = { connect: (options = {}) => open(options, base) };
