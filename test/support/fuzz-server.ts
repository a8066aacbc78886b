/**
 * A server that is sent what nobody would send, in a process of its own, and watched meanwhile: that it lives, that its log is whole and
 * without secrets, and that a session that does nothing wrong gets every message.
 */
import { connect, type TestClient } from "./client.ts";
import { type Folder, makeFolder } from "./folder.ts";
import { within } from "./fuzz.ts";
import { readLines } from "./process.ts";
import { program } from "./program.ts";
import { exchange, openRaw } from "./raw.ts";
import { apiKey, mint } from "./tokens.ts";

/** So long may anything take that the server does at once. */
export const promptMs = 10_000;

/** The largest message that it takes, in bytes. */
export const maxMessage = 4096;

/**
 * Small limits, so that what is tried reaches beyond them; but none of what a witness may do. The time of a silent connection is as short
 * as it can be: below 5 s, Bun's timer, which goes by 4 s, may end a connection as soon as it has begun.
 */
const flags = [
  "--port=0",
  "--log-level=debug",
  "--log-format=json",
  "--http-timeout=5s",
  `--max-message=${maxMessage}`,
  "--max-batch=16KiB",
  "--max-batch-count=20",
  "--retain-count=500",
  "--max-idempotency-keys=50",
  "--max-token-time=365d",
];

/** What no line of a log may hold: the key, or a token of anybody. */
const secret = new RegExp(`${apiKey}|eyJ[\\w-]+\\.[\\w-]+\\.[\\w-]{16}`);

export interface FuzzedServerOptions {
  /** Whether it has an API key, so that clients need tokens, and a file for its journal. */
  readonly isLocked: boolean;
  /** More settings, by name. */
  readonly settings?: (folder: Folder) => Promise<Readonly<Record<string, string>>>;
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

export class FuzzedServer implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly isLocked: boolean;
  readonly #child: Child;
  readonly #stack: AsyncDisposableStack;
  readonly #complaints: string[] = [];
  /** The ids of the pushes in the log since the last one that was waited for. */
  readonly #logged = new Set<string>();
  #announce: () => void = () => {};
  #watched: Promise<void> = Promise.resolve();

  private constructor(child: Child, url: string, isLocked: boolean, stack: AsyncDisposableStack) {
    this.#child = child;
    this.url = url;
    this.port = Number(new URL(url).port);
    this.isLocked = isLocked;
    this.#stack = stack;
  }

  static async start({ isLocked, settings }: FuzzedServerOptions): Promise<FuzzedServer> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await makeFolder());
    const own = {
      ...(isLocked && { "api-key": apiKey, data: folder.file("messages.db") }),
      ...(await settings?.(folder)),
    };
    const child = Bun.spawn(
      [...program, ...flags, ...Object.entries(own).map(([name, value]) => `--${name}=${value}`)],
      { env: { PATH: process.env["PATH"] ?? "" }, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    );
    stack.defer(async () => {
      child.kill("SIGKILL");
      await child.exited;
    });
    const lines = readLines(child.stdout);
    const server = new FuzzedServer(child, await readUrl(lines), isLocked, stack.move());
    server.#watched = server.#watch(lines);
    return server;
  }

  /** Whether its process has ended: from then on nothing that is tried shows anything. */
  async isGone(): Promise<boolean> {
    try {
      await using _ = await openRaw(this);
      return false;
    } catch {
      return true;
    }
  }

  /** The error, with all that the server has to say to it. */
  async explain(error: unknown): Promise<Error> {
    if (await this.isGone()) await this.#watched;
    return new Error([...this.#complaints.splice(0), String(error)].join("\n"), { cause: error });
  }

  /** Lets a witness in: a session that must get everything that is pushed to all. */
  async invite(): Promise<Witness> {
    const token = this.isLocked ? `&token=${await mint(this, "userid=witness&expires=31536000")}` : "";
    return new Witness(this, await connect(this, `userid=witness${token}`));
  }

  /** Everything that was wrong since it was asked the last time: in the log, beside it, or with the process. */
  takeComplaints(): string[] {
    return this.#complaints.splice(0);
  }

  /** Resolves when this push is in the log: by then all that was logged before has been looked at. */
  async untilLogged(id: string): Promise<void> {
    while (!this.#logged.has(id)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#announce = resolve;
      await promise;
    }
    this.#logged.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #watch(lines: AsyncIterable<string>): Promise<void> {
    const errors = (async () => {
      for await (const line of readLines(this.#child.stderr)) this.#complaints.push(`it printed: ${line}`);
    })();
    for await (const line of lines) this.#look(line);
    await errors;
    this.#complaints.push(`its process ended with ${await this.#child.exited}`);
  }

  #look(line: string): void {
    if (secret.test(line)) this.#complaints.push(`a secret is in the log: ${line}`);
    const entry = parseObject(line);
    if (entry === undefined) this.#complaints.push(`a line of the log is not a JSON object: ${line}`);
    else if (entry["level"] === "error" || entry["level"] === "warn")
      this.#complaints.push(`it logged: ${line}`);
    else if (entry["msg"] === "push") {
      this.#logged.add(String(entry["id"]));
      this.#announce();
    }
  }
}

/** Sees to it that the server does what it is for, whatever it is sent beside that. */
export class Witness implements AsyncDisposable {
  readonly #server: FuzzedServer;
  readonly #client: TestClient;

  constructor(server: FuzzedServer, client: TestClient) {
    this.#server = server;
    this.#client = client;
  }

  /**
   * Pushes to everyone, and waits until the witness has it and the log says so. Fails when anything was wrong until then.
   *
   * @returns how many messages the journal has taken with this one
   */
  async settle(): Promise<number> {
    const offset = await within(promptMs, "a push to reach the witness and the log", this.#push());
    const complaints = this.#server.takeComplaints();
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
    return offset;
  }

  /** The same, again and again until the work is done: what waits for a message, such as a long poll, has one. */
  async settleUntil<Value>(work: Promise<Value>): Promise<Value> {
    const over = work.then(
      () => true,
      () => true,
    );
    do await this.settle();
    while (!(await Promise.race([over, false])));
    return await work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  async #push(): Promise<number> {
    const marker = crypto.randomUUID();
    const key = this.#server.isLocked ? `Authorization: Bearer ${apiKey}\r\n` : "";
    const { status, body } = await exchange(
      this.#server,
      `POST /pushtoall HTTP/1.1\r\nHost: 127.0.0.1\r\n${key}Content-Length: ${marker.length}\r\n\r\n${marker}`,
    );
    if (status !== 200)
      throw new Error(`a push that the witness waits for was answered with ${status}: ${body}`);
    const { id }: { readonly id: string } = JSON.parse(body);
    while ((await this.#client.next()) !== marker);
    await this.#server.untilLogged(id);
    return Number(id.slice(id.indexOf("-") + 1));
  }
}

async function readUrl(lines: AsyncIterator<string>): Promise<string> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) throw new Error("the server ended before it listened");
    const entry = parseObject(value);
    if (entry?.["msg"] === "listening") return String(entry["url"]);
  }
}

function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    // Any object will do: only its fields are looked at, and each may be anything.
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
