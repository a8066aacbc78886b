/**
 * Publishers that push so many messages a second, whatever each of them takes.
 */
export interface PaceOptions {
  readonly perSecond: number;
  readonly ms: number;
  /** How many pushes may be under way at once. */
  readonly lanes: number;
  /** Makes the push of this number, counted from 0. */
  readonly push: (number: number) => Promise<void>;
}

/** Pushes for so long; what is late is made up for. Gives how many there were. */
export async function pushAtPace({ perSecond, ms, lanes, push }: PaceOptions): Promise<number> {
  const begin = performance.now();
  let number = 0;
  const lane = async () => {
    for (;;) {
      const due = (number / perSecond) * 1000;
      if (due >= ms) return;
      const own = number++;
      const early = due - (performance.now() - begin);
      if (early > 1) await Bun.sleep(early);
      await push(own);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return number;
}

/** Of numbers, the one that a share of them are not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** How numbers of milliseconds are spread, for the output of a test. */
export function showSpread(values: readonly number[]): string {
  const [half, most, nearlyAll] = [0.5, 0.95, 0.99].map((share) => percentile(values, share).toFixed(1));
  return `p50 ${half} ms, p95 ${most} ms, p99 ${nearlyAll} ms`;
}
