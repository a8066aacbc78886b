/**
 * A program whose output nobody reads until the test does: what does not fit into the system's pipe has to wait.
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { makeFolder } from "./folder.ts";

export interface PipedProgram extends AsyncDisposable {
  /** Reads what is in the pipe, and gives all that was read so far. */
  read(): string;
  signal(signal: "SIGTERM" | "SIGINT"): void;
  /** The exit status, once it has ended. */
  readonly status: number | undefined;
}

export async function startIntoPipe(command: readonly string[]): Promise<PipedProgram> {
  const folder = await makeFolder();
  const path = folder.file("pipe");
  Bun.spawnSync(["mkfifo", path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "" },
    stdin: "ignore",
    stdout: writer,
    stderr: "ignore",
  });
  const chunks: Buffer[] = [];
  return {
    read() {
      for (let chunk = readChunk(reader); chunk.length > 0; chunk = readChunk(reader)) chunks.push(chunk);
      return Buffer.concat(chunks).toString();
    },
    signal: (signal) => child.kill(signal),
    get status() {
      return child.exitCode ?? undefined;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      closeSync(reader);
      closeSync(writer);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What is there; nothing when nothing is. */
function readChunk(fd: number): Buffer {
  const buffer = Buffer.alloc(65_536);
  try {
    return buffer.subarray(0, readSync(fd, buffer));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return Buffer.alloc(0);
    throw error;
  }
}
