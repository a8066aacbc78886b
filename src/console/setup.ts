/**
 * What the server has written into the page of itself, so that nothing is asked before it is shown. A server that is started anew may
 * be set up otherwise than the one that the page is from: then it is read out of the page that one would get now.
 */
import { effect, type Signal } from "@preact/signals";
import type { Api } from "./api.ts";
import type { Watch } from "./watch.ts";

export interface Setup {
  /** Where clients connect to: where publishers have a port of their own, this page is on it, and clients have another one. */
  readonly clientOrigin: string;
  /** To push, and to look at anything, one needs an API key. */
  readonly needsKey: boolean;
  /** To listen, one needs a token. */
  readonly needsToken: boolean;
  /** Without one, one may still listen to what is pushed to all. */
  readonly takesAnonymous: boolean;
  readonly hasWebhooks: boolean;
}

export function readSetup({ dataset }: HTMLElement): Setup {
  const has = (name: string) => dataset[name] !== undefined;
  return {
    clientOrigin: dataset["clients"] ?? location.origin,
    needsKey: has("key"),
    needsToken: has("token"),
    takesAnonymous: has("anonymous"),
    hasWebhooks: has("webhooks"),
  };
}

/** Reads it anew with the first figures of each start of a server, of which there may be several, and drops a key that it does not ask for. */
export function followSetup(api: Api, watch: Watch, setup: Signal<Setup>): void {
  const known = new Set<number>();
  effect(() => {
    const startedAt = watch.figures.value?.startedAt;
    if (startedAt === undefined || known.has(startedAt)) return;
    known.add(startedAt);
    // With the next figures it is tried again.
    read().catch(() => known.delete(startedAt));
  });

  async function read(): Promise<void> {
    const html = await (await api.call("/")).text();
    const root = new DOMParser().parseFromString(html, "text/html").querySelector<HTMLElement>("#app");
    if (root === null) throw new Error("what answered is no console");
    setup.value = readSetup(root);
    if (!setup.value.needsKey && api.hasKey) api.dropKey();
  }
}
