/**
 * A TCP connection on which a test writes what no well-behaved client would, byte for byte.
 *
 *   await using raw = await openRaw(server);
 *   raw.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
 *   expect((await raw.answer()).status).toBe(200);
 */
import { connect, type Socket } from "node:net";

/** What a parser found at the begin of what has arrived, and how many bytes it takes. */
export interface Taken<Value> {
  readonly value: Value;
  readonly length: number;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

export class RawConnection implements AsyncDisposable {
  /** Resolves when the other side has ended the connection, in good order or not. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #end = Promise.withResolvers<void>();
  #change = Promise.withResolvers<void>();
  #received: Buffer[] = [];
  #isOver = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = this.#end.promise;
    socket.on("data", (chunk) => {
      this.#received.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
      this.#announce();
    });
    const over = () => {
      this.#isOver = true;
      this.#end.resolve();
      this.#announce();
    };
    // A reset is an end like any other here; what a test expects of it, it says itself.
    socket.on("error", over).on("end", over).on("close", over);
  }

  /** What has arrived and was not taken. */
  get received(): Buffer {
    const [first] = this.#received;
    const whole = first !== undefined && this.#received.length === 1 ? first : Buffer.concat(this.#received);
    this.#received = [whole];
    return whole;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Of this side. */
  get port(): number {
    return this.#socket.localPort ?? 0;
  }

  /** Writes bytes, or text of which each character is one byte. Resolves when there is room for more. */
  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    if (this.#isOver || this.#socket.write(bytes)) return;
    const drained = Promise.withResolvers<void>();
    this.#socket.once("drain", drained.resolve);
    await Promise.race([drained.promise, this.ended]);
  }

  /** Says that nothing more comes, and goes on reading. */
  finish(): void {
    this.#socket.end();
  }

  /** Ends it as a lost peer does: with a reset, and no farewell. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** Leaves what arrives in the system's buffers, until they are full and the other side has to wait. */
  stopReading(): void {
    this.#socket.pause();
  }

  readOn(): void {
    this.#socket.resume();
  }

  /** Waits until `parse` finds something, and takes that away. Fails when the connection ends before. */
  async take<Value>(parse: (received: Buffer) => Taken<Value> | undefined): Promise<Value> {
    for (;;) {
      const { received } = this;
      const found = parse(received);
      if (found !== undefined) {
        this.#received = [received.subarray(found.length)];
        return found.value;
      }
      if (this.#isOver) throw new Error(`ended after ${JSON.stringify(received.toString("latin1", 0, 100))}`);
      await this.#change.promise;
    }
  }

  /** The next HTTP answer. */
  async answer(): Promise<RawAnswer> {
    return await this.take(parseAnswer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.ended;
  }

  #announce(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}

export async function openRaw(server: { readonly port: number }): Promise<RawConnection> {
  const socket = connect({ host: "127.0.0.1", port: server.port, allowHalfOpen: true });
  const opened = Promise.withResolvers<void>();
  socket.once("connect", opened.resolve).once("error", opened.reject);
  await opened.promise;
  return new RawConnection(socket);
}

/** Sends one request as it is written, and gives its answer. */
export async function exchange(
  server: { readonly port: number },
  request: string | Uint8Array,
): Promise<RawAnswer> {
  await using raw = await openRaw(server);
  await raw.write(request);
  return await raw.answer();
}

/** One answer; without a length it has no body, which is how Bun itself refuses what is not HTTP. */
function parseAnswer(received: Buffer): Taken<RawAnswer> | undefined {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd === -1) return undefined;
  const [statusLine = "", ...lines] = received.toString("latin1", 0, headEnd).split("\r\n");
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
  const begin = headEnd + 4;
  const length = begin + Number(headers.get("content-length") ?? 0);
  if (received.length < length) return undefined;
  const status = Number(statusLine.split(" ")[1]);
  return { value: { status, headers, body: received.toString("utf8", begin, length) }, length };
}
