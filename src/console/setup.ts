/**
 * What the server has written into the page of itself, so that nothing is asked before it is shown. A server that is started anew may
 * be set up otherwise than the one that the page is from: then it is read out of the page that one would get now.
 */
import { effect, type Signal } from "@preact/signals";
import type { Api } from "./api.ts";
import type { Watch } from "./watch.ts";

export interface Setup {
  /** When the server started, in milliseconds since 1970, as its figures have it. */
  readonly startedAt: number;
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
    startedAt: Number(dataset["start"]) * 1000,
    clientOrigin: dataset["clients"] ?? location.origin,
    needsKey: has("key"),
    needsToken: has("token"),
    takesAnonymous: has("anonymous"),
    hasWebhooks: has("webhooks"),
  };
}

/**
 * Reads it anew when the figures are of a start that it knows nothing of, and drops a key that is not asked for any more. Behind one
 * address there may be several servers, of which another one may answer the next call; or something else may, for a while.
 */
export function followSetup(api: Api, watch: Watch, setup: Signal<Setup>): void {
  const known = new Map([[setup.peek().startedAt, setup.peek()]]);
  let reading: Promise<void> | undefined;
  effect(() => {
    const startedAt = watch.figures.value?.startedAt;
    if (startedAt === undefined) return;
    const own = known.get(startedAt);
    if (own !== undefined) setup.value = own;
    // Where it does not come, it is asked for again with the next figures.
    else
      reading ??= read()
        .catch(() => {})
        .finally(() => (reading = undefined));
  });

  async function read(): Promise<void> {
    const html = await (await api.call("/")).text();
    const root = new DOMParser()
      .parseFromString(html, "text/html")
      .querySelector<HTMLElement>("#app[data-start]");
    if (root === null) return;
    const next = readSetup(root);
    if (known.has(next.startedAt)) return;
    known.set(next.startedAt, next);
    setup.value = next;
    if (!next.needsKey && api.hasKey) api.dropKey();
  }
}
