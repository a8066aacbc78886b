/**
 * The server under the model, which comes back after it has ended; in this process, where time can be made to pass, or in one of its own.
 */
import { makeFolder } from "../support/folder.ts";
import { compiledFile, startProcess } from "../support/process.ts";
import { startServerHere, type TestServer } from "../support/server.ts";
import type { Limits } from "./model.ts";

export interface Host extends AsyncDisposable {
  readonly server: { readonly url: string; readonly port: number };
  /** Whether its journal survives its end. */
  readonly isDurable: boolean;
  /** Ends it in good order, or as a crash does. */
  stop(how: "drain" | "crash"): Promise<void>;
  start(): Promise<void>;
}

export interface HostOptions {
  readonly limits: Limits;
  /** Whether the journal is in a file. */
  readonly isDurable: boolean;
  /** Whether it is a process of its own: then a crash is SIGKILL. */
  readonly isProcess: boolean;
}

export async function openHost({ limits, isDurable, isProcess }: HostOptions): Promise<Host> {
  const folder = await makeFolder();
  const settings = {
    "retain-time": `${limits.time}ms`,
    "retain-bytes": String(limits.bytes),
    "retain-count": String(limits.count),
    // Short, so that positions come; and drained as fast as may be.
    ping: "1s",
    drain: "300ms",
    ...(isDurable && { data: folder.file("journal.db") }),
  };
  const open = async (): Promise<TestServer> => {
    if (!isProcess) return await startServerHere({ ...settings, "log-level": "error" });
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    return await startProcess([compiledFile, "--port=0", "--log-format=json", ...flags]);
  };
  let server = await open();
  return {
    get server() {
      return server;
    },
    isDurable,
    async stop(how) {
      if (how === "drain") await server.drain();
      await server[Symbol.asyncDispose]();
    },
    async start() {
      server = await open();
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/**
 * Time that passes when a test says so, besides as it does anyway: the server takes it from performance.now(), which nothing native
 * asks.
 */
export class Clock implements Disposable {
  readonly #real = performance.now;
  #aheadMs = 0;

  constructor() {
    const now = this.#real.bind(performance);
    performance.now = () => now() + this.#aheadMs;
  }

  advance(ms: number): void {
    this.#aheadMs += ms;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}
