/**
 * The server as a process of its own: for what only a process has, such as signals, exit statuses and memory.
 */
import { join } from "node:path";
import type { LogLine, TestServer } from "./server.ts";

export const root = join(import.meta.dir, "../..");

/** Starts the program from source: what `npm start` runs, with these arguments. */
export const sourceCommand = [process.execPath, "--max-http-header-size=262144", join(root, "src/main.ts")];

/** The compiled file, which the test run has made. */
export const compiledFile = join(root, "dist/server-push");

export interface ServerProcess extends TestServer {
  readonly pid: number;
  /** The exit status; of a process that a signal ended, 128 and its number. */
  readonly exited: Promise<number>;
  signal(signal: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGHUP"): void;
}

/** Starts a server, and resolves when it listens. Its arguments must ask for JSON lines. */
export async function startProcess(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", ...environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const errors = child.stderr.text();
  const log: LogLine[] = [];
  const listening = Promise.withResolvers<LogLine>();
  void (async () => {
    for await (const line of readLines(child.stdout)) {
      const entry: LogLine = JSON.parse(line);
      log.push(entry);
      if (entry.msg === "listening") listening.resolve(entry);
    }
    listening.reject(new Error(`${command[0]} ended before it listened: ${await errors}`));
  })().catch(listening.reject);
  const { url: listened, apiUrl } = await listening.promise;
  const url = String(listened);
  return {
    url,
    apiUrl: String(apiUrl ?? url),
    port: Number(new URL(url).port),
    log,
    pid: child.pid,
    exited: child.exited,
    signal: (signal) => child.kill(signal),
    async drain() {
      child.kill("SIGTERM");
      await child.exited;
    },
    /** A server that listens has nothing to say but its log: whatever else it printed is a defect. */
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      const printed = await errors;
      if (printed !== "") throw new Error(`the server printed: ${printed}`);
    },
  };
}

/** Runs a command to its end. */
export async function run(
  command: readonly string[],
  {
    stdin = "",
    environment = {},
  }: { stdin?: string | Uint8Array; environment?: Readonly<Record<string, string>> } = {},
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...environment },
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { status, stdout, stderr };
}

export async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
