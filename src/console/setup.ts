/**
 * What the server has written into the page of itself, so that nothing must be asked to find it out. A server that is started anew may
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

/** Reads it anew whenever the figures are of another start of the server, and drops a key that this one does not ask for. */
export function followSetup(api: Api, watch: Watch, setup: Signal<Setup>): void {
  let readOf = 0;
  effect(() => {
    const startedAt = watch.figures.value?.startedAt ?? readOf;
    if (startedAt === readOf) return;
    readOf = startedAt;
    // With the next figures it is tried again.
    read().catch(() => (readOf = 0));
  });

  async function read(): Promise<void> {
    const html = await (await api.call("/")).text();
    const root = new DOMParser().parseFromString(html, "text/html").querySelector<HTMLElement>("#app");
    if (root === null) return;
    setup.value = readSetup(root);
    if (!setup.value.needsKey && api.hasKey) api.dropKey();
  }
}
