/**
 * A core for the server and another one for the load, so that neither takes the time of the other.
 */
import { readFileSync } from "node:fs";

export interface Cores {
  /** What goes before a command to keep it on the server's core. */
  readonly serverPrefix: readonly string[];
  /** What goes before a command to give it every core that this process had at first. */
  readonly freePrefix: readonly string[];
  /** How it is, for the reader of the figures. */
  readonly note: string;
}

/** Keeps this process, and so what it starts, on the second core that it may use; the first one is the server's. */
export function divideCores(): Cores {
  const list = /^Cpus_allowed_list:\s+(.+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
  const [server, load] = toNumbers(list);
  if (server === undefined || load === undefined) return shared("there is only one");
  if (Bun.which("taskset") === null) return shared("taskset (util-linux) is not there to divide them");
  const { exitCode } = Bun.spawnSync(["taskset", "-a", "-c", "-p", String(load), String(process.pid)]);
  if (exitCode !== 0) return shared("taskset may not divide them");
  return {
    serverPrefix: ["taskset", "-c", String(server)],
    freePrefix: ["taskset", "-c", list],
    note: `the server is on core ${server}, the load on core ${load}`,
  };
}

function shared(why: string): Cores {
  return { serverPrefix: [], freePrefix: [], note: `SERVER AND LOAD SHARE THE CORES: ${why}` };
}

/** `0-2,5` is 0, 1, 2 and 5: the format of lists in proc(5). */
function toNumbers(list: string): number[] {
  return list.split(",").flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
