/**
 * An issuer of tokens on this machine, whose keys the server under test fetches, and which answers as a test tells it.
 *
 *   await using issuer = openIssuer(keysOf(first));
 *   issuer.answer = () => new Promise(() => {});
 */
export interface Issuer extends AsyncDisposable {
  /** Where its keys are. */
  readonly url: string;
  answer: () => Response | Promise<Response>;
  /** How often it was asked. */
  readonly asked: number;
}

export function openIssuer(first: Issuer["answer"]): Issuer {
  const state = { answer: first, asked: 0 };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch() {
      state.asked++;
      return state.answer();
    },
  });
  return Object.assign(state, {
    url: `${server.url}keys.json`,
    [Symbol.asyncDispose]: () => server.stop(true),
  });
}

/** The answer of an issuer that has these keys. */
export function keysOf(...keys: readonly object[]): Issuer["answer"] {
  return () => Response.json({ keys });
}

/** The answer of an issuer that never ends to say what it says, a piece of which is `piece`; and how much of it was sent. */
export function endless(piece: Uint8Array): { readonly answer: Issuer["answer"]; readonly sent: number } {
  const stream = {
    sent: 0,
    answer: () =>
      new Response(
        new ReadableStream({
          pull(body) {
            stream.sent += piece.length;
            body.enqueue(piece.slice());
          },
        }),
      ),
  };
  return stream;
}
