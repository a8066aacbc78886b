/**
 * What /metrics says, read and compared. Pure.
 *
 * A counter only tells something beside what it was before, so figures are of two samples:
 *
 *   server_push_messages_total 100      a second later      server_push_messages_total 130      30 a second
 */

/** The value of each line, by its name and labels as they are written there: `server_push_sessions_closed_total{reason="slow"}`. */
export type Sample = ReadonlyMap<string, number>;

/** The text format of Prometheus, version 0.0.4, as far as a server without timestamps writes it. */
export function parseMetrics(text: string): Sample {
  const sample = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.lastIndexOf(" ");
    sample.set(line.slice(0, space), Number(line.slice(space + 1).replace("Inf", "Infinity")));
  }
  return sample;
}

/** By how much a counter has grown. One that is smaller than before began anew with its server. */
export function toGrowth(name: string, newer: Sample, older: Sample): number {
  const [now, before] = [newer.get(name) ?? 0, older.get(name) ?? 0];
  return now < before ? now : now - before;
}

/**
 * What a share of the values of a histogram does not exceed, of those that came between two samples; within a bucket they are taken
 * to be spread evenly. Nothing when there were none.
 *
 * @param share from 0 to 1
 */
export function toQuantile(share: number, name: string, newer: Sample, older: Sample): number | undefined {
  const prefix = `${name}_bucket{le="`;
  const buckets = Array.from(newer.keys())
    .filter((key) => key.startsWith(prefix))
    .map((key) => ({
      bound: Number(key.slice(prefix.length, -2).replace("+Inf", "Infinity")),
      count: toGrowth(key, newer, older),
    }))
    .toSorted((one, other) => one.bound - other.bound);
  const all = buckets.at(-1)?.count ?? 0;
  if (all === 0) return undefined;
  const wanted = share * all;
  let below = { bound: 0, count: 0 };
  for (const bucket of buckets) {
    if (bucket.count >= wanted) {
      if (bucket.bound === Infinity) break;
      const part = (wanted - below.count) / (bucket.count - below.count);
      return below.bound + part * (bucket.bound - below.bound);
    }
    below = bucket;
  }
  // Above the largest bound nothing more is known.
  return below.bound;
}

/** The value of a label of the only line of this name. */
export function findLabel(label: string, name: string, sample: Sample): string | undefined {
  const line = Array.from(sample.keys()).find((key) => key.startsWith(`${name}{`));
  return line === undefined ? undefined : new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1];
}
