/**
 * A disk that fails once: strace lets the next one of these system calls of a process fail.
 */
import { readdirSync, readFileSync } from "node:fs";
import { eventually } from "./eventually.ts";

export interface Fault {
  readonly calls: string;
  readonly error: "EIO" | "ENOSPC";
  /** Only what concerns this file. */
  readonly path?: string;
}

/** Ready when the fault is in place; gone with it. */
export async function injectFault(pid: number, { calls, error, path }: Fault): Promise<AsyncDisposable> {
  const only = path === undefined ? [] : ["-P", path];
  const inject = ["-e", `trace=${calls}`, "-e", `inject=${calls}:error=${error}:when=1`];
  const strace = Bun.spawn(["strace", "-f", "-qq", "-p", String(pid), ...only, ...inject], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const threads = `/proc/${pid}/task`;
  await eventually("every thread is traced", () =>
    readdirSync(threads).every(
      (thread) => !/^TracerPid:\t0$/m.test(readFileSync(`${threads}/${thread}/status`, "utf8")),
    ),
  );
  return {
    async [Symbol.asyncDispose]() {
      strace.kill("SIGINT");
      await strace.exited;
    },
  };
}
