/**
 * What the server has written into the page of itself, so that nothing must be asked to find it out.
 */

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
