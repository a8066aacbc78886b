/**
 * The server as a service manager has it: it ends, and is there again on the same port, for clients that come back by themselves.
 *
 *   await using service = await startService(`--data=${folder.file("messages.db")}`);
 *   await service.restart("SIGKILL", (elsewhere) => push(elsewhere, "userid=123", "away"));
 */
import { compiledFile, type ServerProcess, startProcess } from "./process.ts";

export type Ending = "SIGTERM" | "SIGKILL";

/** What stays the same over restarts, and who is there now. */
export class Service implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly #flags: readonly string[];
  #process: ServerProcess;

  constructor(process: ServerProcess, flags: readonly string[]) {
    this.url = process.url;
    this.port = process.port;
    this.#flags = flags;
    this.#process = process;
  }

  /** What the process that runs now has logged. */
  get log() {
    return this.#process.log;
  }

  /**
   * Ends it, and starts it again.
   *
   * @param whileAway gets a server with the same journal on another port, where no client looks for it: who comes back, comes
   * back after that, however fast it is
   */
  async restart(how: Ending, whileAway?: (elsewhere: ServerProcess) => Promise<unknown>): Promise<void> {
    await end(this.#process, how);
    if (whileAway !== undefined) {
      await using elsewhere = await launch(0, this.#flags);
      await whileAway(elsewhere);
      await end(elsewhere, how);
    }
    this.#process = await launch(this.port, this.#flags);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

export async function startService(...flags: readonly string[]): Promise<Service> {
  return new Service(await launch(0, flags), flags);
}

async function launch(port: number, flags: readonly string[]): Promise<ServerProcess> {
  return await startProcess([compiledFile, `--port=${port}`, "--log-format=json", ...flags]);
}

async function end(process: ServerProcess, how: Ending): Promise<void> {
  process.signal(how);
  await process.exited;
  // Also says what else than its log it has printed.
  await process[Symbol.asyncDispose]();
}
