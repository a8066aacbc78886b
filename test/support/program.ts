/**
 * The program as somebody at a shell has it: a command line in, lines and an exit status out.
 *
 *   const { status, stderr } = await run([...program, "--port", "none"]);
 *   await using listener = start([...program, "listen", "--url", server.url]);
 *   expect(await listener.line()).toBe("hello");
 */
import { readLines, sourceCommand } from "./process.ts";
import { binary } from "./server.ts";

/** What stands before the arguments: the compiled file under test, or how the source is run. */
export const program: readonly string[] = binary === undefined ? sourceCommand : [binary];

export interface RunningProgram extends AsyncDisposable {
  readonly pid: number;
  /** The next line on standard output; fails when the output has ended. */
  line(): Promise<string>;
  /** The next line on standard error. */
  complaint(): Promise<string>;
  /** Goes away from its standard output, as `head` does after its last line. */
  stopReading(): Promise<void>;
  signal(signal: "SIGTERM" | "SIGINT"): void;
  /** The exit status; of a program that a signal ended, 128 and its number. */
  readonly exited: Promise<number>;
}

/** Starts a command, and lets it run. */
export function start(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): RunningProgram {
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = readLines(child.stdout);
  const complaints = readLines(child.stderr);
  return {
    pid: child.pid,
    line: () => take(output),
    complaint: () => take(complaints),
    async stopReading() {
      await output.return(undefined);
    },
    signal: (signal) => child.kill(signal),
    exited: child.exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

async function take(lines: AsyncGenerator<string>): Promise<string> {
  const { value, done } = await lines.next();
  if (done === true) throw new Error("the output ended where one more line was awaited");
  return value;
}
