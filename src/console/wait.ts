/**
 * Waiting for a time or an event, which a signal ends. It leaves nothing behind: the signal may live as long as the page does.
 */

/** Resolves after so many milliseconds, or when the signal ends it. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}

/** Resolves at the next event of this type, or when the signal ends it. */
export function next(target: EventTarget, type: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    target.addEventListener(type, end);
    signal.addEventListener("abort", end);
    function end(): void {
      target.removeEventListener(type, end);
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}
