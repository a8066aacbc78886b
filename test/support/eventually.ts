/**
 * Asks again and again until the answer is yes; fails after `timeoutMs`, saying what was awaited. The longer that takes the less often it
 * asks: whoever waits beside others takes their time.
 */
export async function eventually(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const begin = performance.now();
  while (!(await isTrue())) {
    const waitedMs = performance.now() - begin;
    if (waitedMs > timeoutMs) throw new Error(`not in ${timeoutMs} ms: ${what}`);
    await Bun.sleep(Math.min(Math.max(waitedMs / 10, leastMs), mostMs));
  }
}

/** Between two questions, in milliseconds. */
const leastMs = 5;
const mostMs = 50;
