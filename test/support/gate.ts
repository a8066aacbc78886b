/**
 * Something on the way that answers by itself, until it lets all calls through.
 *
 *   await using gate = openGate(server, () => Response.json({ code: 404 }, { status: 404 }));
 *   …
 *   gate.open();
 */
export interface Gate extends AsyncDisposable {
  readonly url: string;
  open(): void;
}

export function openGate(server: { readonly url: string }, toAnswer: () => Response): Gate {
  let isShut = true;
  const proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch({ url }): Response {
      const { pathname, search } = new URL(url);
      return isShut ? toAnswer() : Response.redirect(`${server.url}${pathname}${search}`);
    },
  });
  return {
    url: proxy.url.href,
    open: () => (isShut = false),
    [Symbol.asyncDispose]: () => proxy.stop(true),
  };
}
