/**
 * A back end that is called: a real HTTP server on this machine, which takes events, refuses them, or misbehaves as it is told.
 *
 *   await using receiver = await openReceiver();
 *   receiver.answer = ({ data }) => (data["userid"] === "1" ? { status: 500 } : { status: 204 });
 */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { eventually } from "./eventually.ts";

/** A request that has arrived. */
export interface Letter {
  readonly id: string;
  readonly type: string;
  readonly data: Readonly<Record<string, string | number | boolean>>;
  /** The body as it came. */
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
  /** When it came, in milliseconds. */
  readonly at: number;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Sends the body as chunks, so that nobody knows before how long it is. */
  readonly isChunked?: boolean;
}

/** `hang`: no answer at all; `reset`: the connection is cut; `endless`: a body without end. */
export type Behaviour = Answer | "hang" | "reset" | "endless";

const taken: Answer = { status: 204 };

export async function openReceiver(port = 0): Promise<Receiver> {
  const receiver = new Receiver();
  await receiver.begin(port);
  return receiver;
}

export class Receiver implements AsyncDisposable {
  answer: (letter: Letter) => Behaviour | Promise<Behaviour> = () => taken;
  /** What has arrived, and what of it was answered with 2xx. */
  readonly letters: Letter[] = [];
  readonly taken: Letter[] = [];
  /** How many connections there were. */
  connections = 0;
  port = 0;
  #server: Server | undefined = undefined;
  readonly #sockets = new Set<Socket>();

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  get open(): number {
    return this.#sockets.size;
  }

  /** Listens, where it has listened before. */
  async begin(port = this.port): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Uint8Array[] = [];
      request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      request.on("end", () => void this.#take(Buffer.concat(chunks).toString(), request.headers, response));
      request.on("error", () => {});
    });
    server.on("connection", (socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    // It listens on TCP.
    this.port = (server.address() as AddressInfo).port;
  }

  /** Is away, as a process that was killed: all connections are cut, and nothing listens. */
  async end(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  /** Each event that was taken, once, in the order in which that was the case first. */
  get events(): Letter[] {
    const byId = new Map<string, Letter>();
    for (const letter of this.taken) if (!byId.has(letter.id)) byId.set(letter.id, letter);
    return Array.from(byId.values());
  }

  /** The texts of the messages that were taken, by the session that sent them, each once. */
  get messages(): ReadonlyMap<string, string[]> {
    const bySession = Map.groupBy(
      this.events.filter(({ type }) => type === "message.received"),
      ({ data }) => String(data["session"]),
    );
    return new Map(
      Array.from(bySession, ([session, letters]) => [
        session,
        letters.map(({ data }) => String(data["message"])),
      ]),
    );
  }

  async untilTaken(count: number, timeoutMs?: number): Promise<void> {
    await eventually(`${count} events taken`, () => this.events.length >= count, timeoutMs);
  }

  async untilArrived(isWanted: (letter: Letter) => boolean, timeoutMs?: number): Promise<Letter> {
    await eventually("an event", () => this.letters.some(isWanted), timeoutMs);
    const letter = this.letters.find(isWanted);
    if (letter === undefined) throw new Error("the event is gone");
    return letter;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  async #take(text: string, headers: IncomingHttpHeaders, response: ServerResponse): Promise<void> {
    const { type, data } = JSON.parse(text);
    const letter = { id: String(headers["webhook-id"]), type, data, text, headers, at: performance.now() };
    this.letters.push(letter);
    const answer = await this.answer(letter);
    if (answer === "hang") return;
    if (answer === "reset") {
      response.socket?.destroy();
      return;
    }
    if (answer === "endless") return pour(response);
    const { status = 200, body = "", isChunked = false } = answer;
    if (status >= 200 && status < 300) this.taken.push(letter);
    const bytes = Buffer.from(body);
    const hasLength = !isChunked && status !== 204;
    response.writeHead(status, {
      ...(hasLength && { "Content-Length": String(bytes.length) }),
      ...answer.headers,
    });
    response.end(bytes);
  }
}

function pour(response: ServerResponse): void {
  response.writeHead(200);
  const chunk = Buffer.alloc(16 * 1024, "x");
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on("drain", more);
  more();
}
