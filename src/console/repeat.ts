/**
 * Does the work again and again with a pause between, while somebody can see the page, until it is stopped.
 *
 * @param work is told by its signal when it is stopped, in the middle too
 * @returns what stops it
 */
import { next, pause } from "./wait.ts";

export function repeat(everyMs: number, work: (signal: AbortSignal) => Promise<void>): () => void {
  const stopping = new AbortController();
  const { signal } = stopping;
  void (async () => {
    while (!signal.aborted) {
      if (document.hidden) await next(document, "visibilitychange", signal);
      else {
        await work(signal);
        await pause(everyMs, signal);
      }
    }
  })();
  return () => stopping.abort();
}
