/**
 * The programs that are compared, compiled alike, and how they are started.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compiledFile, root, type ServerProcess, startProcess } from "../support/process.ts";
import type { Cores } from "./cores.ts";
import { apiKey, jwtSecret } from "./credentials.ts";

/**
 * What can be started: the bare server; or ours, which keeps messages in memory, in a file on disk, or not at all; or in memory
 * again, with an API key, so that a push needs that and a session a token. And a back end that ours posts to.
 */
export type Program = "bare" | "memory" | "file" | "unkept" | "locked" | "backEnd";

/** The flags of src/build/compile.ts: what is compared is the servers, not the ways to compile. */
const flags = [
  "--compile",
  "--bytecode",
  "--format=esm",
  "--sourcemap",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--compile-exec-argv=--max-http-header-size=262144",
];

export class Programs implements AsyncDisposable {
  readonly #directory: string;
  readonly #cores: Cores;
  readonly #running = new Set<ServerProcess>();
  #stopped = false;
  #files = 0;

  private constructor(directory: string, cores: Cores) {
    this.#directory = directory;
    this.#cores = cores;
  }

  /** Compiles ours from the tree as it is, and the bare one into a directory that goes away again. */
  static async compile(cores: Cores): Promise<Programs> {
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), "server-push-bench-"));
    const programs = stack.use(new Programs(directory, cores));
    programs.#execute(["src/build/compile.ts"]);
    programs.#execute(["build", ...flags, `--outfile=${programs.#bareFile}`, "test/bench/bare.ts"]);
    stack.move();
    return programs;
  }

  /**
   * Starts one, on the server's core or free to use all, and resolves when it listens.
   *
   * @param more arguments, on top of those that every such program gets
   */
  async start(
    program: Program,
    where: "on its core" | "anywhere",
    more: readonly string[] = [],
  ): Promise<ServerProcess> {
    if (this.#stopped) throw new Error("told to stop");
    const prefix = where === "anywhere" ? this.#cores.freePrefix : this.#cores.serverPrefix;
    const server = await startProcess([...prefix, ...this.#commandOf(program), ...more]);
    this.#running.add(server);
    void server.exited.then(() => this.#running.delete(server));
    return server;
  }

  /**
   * Ends what runs, and starts nothing more. Whoever measures sees the connections break, and fails: so a run that is told
   * to stop cleans up on the way out, like any run that fails.
   */
  stop(): void {
    this.#stopped = true;
    for (const server of this.#running) server.signal("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #bareFile(): string {
    return join(this.#directory, "bare");
  }

  #commandOf(program: Program): readonly string[] {
    // The load's sessions answer no pings, and take what is not a message for a fault.
    const ours = [compiledFile, "--port=0", "--ping=1h"];
    switch (program) {
      case "bare":
        return [this.#bareFile];
      case "backEnd":
        return ["nice", "-n", "19", process.execPath, join(root, "test/bench/back-end.ts")];
      case "memory":
        return ours;
      case "file":
        return [...ours, `--data=${join(this.#directory, `${this.#files++}.db`)}`];
      case "unkept":
        return [...ours, "--retain-count=0"];
      case "locked":
        return [...ours, `--api-key=${apiKey}`, `--jwt-secret=${jwtSecret}`];
    }
  }

  #execute(argv: readonly string[]): void {
    if (this.#stopped) return;
    const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, ...argv], { cwd: root });
    if (exitCode !== 0) throw new Error(`bun ${argv.join(" ")} failed:\n${stdout}${stderr}`);
  }
}
