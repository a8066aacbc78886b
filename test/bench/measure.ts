/**
 * What a process used: CPU and memory, from Linux's proc(5); and the arithmetic of figures.
 */
import { readdirSync, readFileSync } from "node:fs";

/** The CPU time of each thread of a process so far, in nanoseconds. */
export type CpuReading = ReadonlyMap<string, number>;

export function readCpu(pid: number): CpuReading {
  const threads = `/proc/${pid}/task`;
  const reading = new Map<string, number>();
  for (const thread of readdirSync(threads)) {
    try {
      reading.set(thread, Number.parseInt(readFileSync(`${threads}/${thread}/schedstat`, "utf8"), 10));
    } catch {
      // The thread ended between the two calls.
    }
  }
  return reading;
}

/**
 * What was used between two readings, in microseconds. By thread, as JavaScriptCore ends threads that were idle for seconds,
 * and a sum over those that are left would lose all that these have ever used.
 */
export function cpuBetween(before: CpuReading, after: CpuReading): number {
  let nanoseconds = 0;
  for (const [thread, used] of after) nanoseconds += used - (before.get(thread) ?? 0);
  return nanoseconds / 1000;
}

const quietSliceMs = 20;
const quietMicroseconds = 200;
const quietWithinMs = 3000;

/** Resolves with a reading when the process rests, so that what it has left to do is counted where it belongs. */
export async function readCpuAtRest(pid: number): Promise<CpuReading> {
  const deadline = performance.now() + quietWithinMs;
  let before = readCpu(pid);
  while (performance.now() < deadline) {
    await Bun.sleep(quietSliceMs);
    const after = readCpu(pid);
    if (cpuBetween(before, after) < quietMicroseconds) return after;
    before = after;
  }
  return before;
}

/** How long the main thread of a process has been ready to run while something else had its core, in microseconds so far. */
export function readWaiting(pid: number): number {
  const [, nanoseconds] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1000;
}

/** The CPU time of this process so far, in microseconds. */
export function readOwnCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The resident memory of a process, in bytes. */
export function readMemory(pid: number): number {
  const kibibytes = /^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
  if (kibibytes === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no line "Rss"`);
  return Number(kibibytes) * 1024;
}

const bucketMs = 0.01;
const buckets = 500_000;

/** Latencies of up to 5 s (longer ones count as that), to the hundredth of a millisecond: recording one is one addition. */
export class Latencies {
  readonly #counts = new Uint32Array(buckets);
  #total = 0;

  record(ms: number): void {
    const bucket = Math.min(buckets - 1, Math.floor(ms / bucketMs));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total++;
  }

  /** The least that `fraction` of them do not exceed, in milliseconds. */
  quantile(fraction: number): number {
    let left = Math.ceil(fraction * this.#total);
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return (bucket + 1) * bucketMs;
    }
    return Number.NaN;
  }
}

/** Of an even number, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return (low + high) / 2;
}
