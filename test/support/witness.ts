/**
 * Somebody beside an attacker who wants to be served: a client and a publisher in a process of their own, so that what keeps
 * the attacker busy is not taken for what the server does.
 *
 *   await using witness = startWitness(server);
 *   await witness.begin();
 *   …
 *   expect((await witness.end()).worstMs).toBeLessThan(250);
 *
 * This file is both sides: the test's, and, run by itself, the process's.
 */
import { connect, type TestClient } from "./client.ts";
import { eventually } from "./eventually.ts";
import { openRaw, type RawConnection } from "./raw.ts";

/** How the witness comes in where the server is locked. */
export interface Credentials {
  readonly apiKey: string;
  /** Of the user `witness`. */
  readonly token: string;
}

export interface Testimony {
  readonly pushes: number;
  /** How long the slowest message took from its push to its client, in milliseconds. */
  readonly worstMs: number;
}

export interface Witness extends AsyncDisposable {
  /** Connects, and pushes to itself every 20 ms, whatever the answers take. */
  begin(): Promise<void>;
  /** Stops, when all has arrived, and a client that came last was served too. Fails when anything was lost or refused. */
  end(): Promise<Testimony>;
}

interface Assignment {
  readonly port: number;
  readonly credentials?: Credentials;
}

type Request = "begin" | "end";
type Answer = { readonly result: Testimony } | { readonly error: string };

export function startWitness(assignment: Assignment): Witness {
  let pending = Promise.withResolvers<Testimony>();
  const child = Bun.spawn([process.execPath, import.meta.path, JSON.stringify(assignment)], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc(answer: Answer) {
      if ("error" in answer) pending.reject(new Error(`the witness says: ${answer.error}`));
      else pending.resolve(answer.result);
    },
  });
  const ask = async (request: Request) => {
    pending = Promise.withResolvers();
    child.send(request);
    return await pending.promise;
  };
  return {
    begin: async () => void (await ask("begin")),
    end: async () => await ask("end"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

const everyMs = 20;
const userid = "witness";

/** What the process does from `begin` to `end`. */
class Watch {
  readonly #assignment: Assignment;
  readonly #client: TestClient;
  readonly #publisher: RawConnection;
  readonly #timer: Timer;
  readonly #sentAt: number[] = [];
  readonly #complaints: string[] = [];
  #pushing = Promise.resolve();
  #arrived = 0;
  #worstMs = 0;

  constructor(assignment: Assignment, client: TestClient, publisher: RawConnection) {
    this.#assignment = assignment;
    this.#client = client;
    this.#publisher = publisher;
    void this.#receive();
    this.#timer = setInterval(() => void this.#push(), everyMs);
  }

  /** The kernel gives a connection to the server with its first bytes, so the first push is what makes it one. */
  async begin(): Promise<void> {
    await this.#push();
  }

  async end(): Promise<Testimony> {
    clearInterval(this.#timer);
    await using last = await open(this.#assignment);
    await this.#push();
    await last.next();
    await eventually("every message", () => this.#arrived === this.#sentAt.length, 3000);
    const [complaint] = this.#complaints;
    if (complaint !== undefined) throw new Error(complaint);
    await this.#client[Symbol.asyncDispose]();
    await this.#publisher[Symbol.asyncDispose]();
    return { pushes: this.#sentAt.length, worstMs: this.#worstMs };
  }

  /** One after the other on one connection, as a new one could have to wait where the attacker's do. */
  async #push(): Promise<void> {
    const number = this.#sentAt.push(performance.now()) - 1;
    this.#pushing = this.#pushing
      .then(() => this.#send(number))
      .catch((error: unknown) => {
        this.#complaints.push(`a push was not answered: ${error}`);
      });
    await this.#pushing;
  }

  async #send(number: number): Promise<void> {
    const key = this.#assignment.credentials?.apiKey;
    const head = [
      `GET /push?userid=${userid}&message=${number} HTTP/1.1`,
      "Host: 127.0.0.1",
      ...(key === undefined ? [] : [`Authorization: Bearer ${key}`]),
    ];
    await this.#publisher.write(`${head.join("\r\n")}\r\n\r\n`);
    const { status, body } = await this.#publisher.answer();
    if (status !== 200) this.#complaints.push(`a push was answered with ${status}: ${body}`);
  }

  async #receive(): Promise<void> {
    for (;;) {
      const sentAt = this.#sentAt[Number(await this.#client.next())];
      // What others push to all comes here, too.
      if (sentAt === undefined) continue;
      this.#arrived++;
      this.#worstMs = Math.max(this.#worstMs, performance.now() - sentAt);
    }
  }
}

async function open({ port, credentials }: Assignment): Promise<TestClient> {
  const query = credentials === undefined ? `userid=${userid}` : `token=${credentials.token}`;
  return await connect({ url: `http://127.0.0.1:${port}` }, query);
}

function testify(assignment: Assignment): void {
  let watch: Watch | undefined;
  const obey = async (request: Request): Promise<Testimony> => {
    if (request === "end" && watch !== undefined) return await watch.end();
    watch = new Watch(assignment, await open(assignment), await openRaw(assignment));
    await watch.begin();
    return { pushes: 0, worstMs: 0 };
  };
  process.on("message", (request: Request) => {
    obey(request).then(
      (result) => process.send?.({ result } satisfies Answer),
      (error) => process.send?.({ error: String(error) } satisfies Answer),
    );
  });
  process.on("disconnect", () => process.exit());
}

if (import.meta.main) testify(JSON.parse(process.argv[2] ?? ""));
