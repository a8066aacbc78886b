/**
 * Does the work again and again with a pause between, while somebody can see the page, until it is stopped.
 *
 * @param work is told by its signal when it is stopped, in the middle too
 * @returns what stops it
 */
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

/** Resolves after so many milliseconds, or when the signal ends it. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function next(target: EventTarget, type: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    target.addEventListener(type, () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => resolve());
  });
}
