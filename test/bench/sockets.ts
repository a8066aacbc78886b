/**
 * The load generator's ends of the connections: raw TCP, because a client library would cost more than the server that is
 * measured. A session does its WebSocket handshake and then only counts; a publisher keeps its HTTP/1.1 connection.
 *
 * Every message of a run has the same size, so a frame is found by counting bytes. It begins with its number, by which the
 * moment when it was pushed is found.
 */
import type { Socket, SocketHandler } from "bun";

export const messageBytes = 100;
const numberDigits = 9;
const padding = "x".repeat(messageBytes - numberDigits);

/** The text of the message with this number. */
export function toMessage(number: number): string {
  return String(number).padStart(numberDigits, "0") + padding;
}

/** RFC 6455 section 5.2: the last frame of a text message, not masked, with a length of up to 125. */
const textFrame = 0x81;
const headerBytes = 2;
const frameBytes = headerBytes + messageBytes;

/** The key and its answer are the example of RFC 6455 section 1.3. */
const handshakeHeaders = [
  "Host: 127.0.0.1",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** Who is told what happens on the sessions. */
export interface Listener {
  /** @param number the message's, or -1 when a packet ended within it */
  onFrame(number: number, now: number): void;
  onFailure(problem: string): void;
}

/** One session: from the handshake on it only counts. */
export class RawSession {
  /** The frames that arrived whole. */
  frames = 0;
  /** How much of the next frame has arrived. */
  #begun = 0;
  #open = false;
  #closing = false;
  readonly #opened = Promise.withResolvers<void>();
  readonly #listener: Listener;
  #socket: Socket<RawSession> | undefined;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  /** Resolves when the server has accepted the handshake. */
  async open(port: number, path: string): Promise<void> {
    this.#socket = await Bun.connect({ hostname: "127.0.0.1", port, data: this, socket: sessionEvents });
    this.#socket.write(toRequest(path, handshakeHeaders));
    await this.#opened.promise;
  }

  /** Without a close handshake, as a tab on a train does it. */
  close(): void {
    this.#closing = true;
    this.#socket?.terminate();
  }

  receive(chunk: Uint8Array): void {
    if (this.#open) this.#count(chunk);
    else this.#accept(new TextDecoder().decode(chunk));
  }

  end(problem: string): void {
    if (this.#closing) return;
    this.#opened.reject(new Error(problem));
    if (this.#open) this.#listener.onFailure(problem);
  }

  #accept(answer: string): void {
    this.#open =
      answer.startsWith("HTTP/1.1 101 ") && answer.includes(accepted) && answer.endsWith("\r\n\r\n");
    if (this.#open) this.#opened.resolve();
    else this.end(`the handshake was answered with ${JSON.stringify(answer)}`);
  }

  #count(chunk: Uint8Array): void {
    const now = performance.now();
    for (let at = (frameBytes - this.#begun) % frameBytes; at < chunk.length; at += frameBytes) {
      if (chunk[at] !== textFrame || (chunk[at + 1] ?? messageBytes) !== messageBytes) {
        this.end(`a frame begins with ${chunk[at]} ${chunk[at + 1]}, expected ${textFrame} ${messageBytes}`);
        return;
      }
      if (at + frameBytes <= chunk.length) this.#take(toNumber(chunk, at + headerBytes), now);
    }
    const size = this.#begun + chunk.length;
    if (this.#begun > 0 && size >= frameBytes) this.#take(-1, now);
    this.#begun = size % frameBytes;
  }

  #take(number: number, now: number): void {
    this.frames++;
    this.#listener.onFrame(number, now);
  }
}

const sessionEvents: SocketHandler<RawSession> = {
  data: ({ data: session }, chunk) => session.receive(chunk),
  close: ({ data: session }) => session.end("the server closed a session"),
  error: ({ data: session }, error) => session.end(error.message),
};

function toNumber(bytes: Uint8Array, at: number): number {
  let number = 0;
  for (let digit = at; digit < at + numberDigits; digit++) number = number * 10 + (bytes[digit] ?? 0) - 48;
  return number;
}

const publisherHeaders = ["Host: 127.0.0.1", "User-Agent: bench", "Accept: */*"];

/** One HTTP/1.1 connection that is kept: one request at a time. */
export class Publisher {
  #answer = "";
  #waiting: PromiseWithResolvers<void> | undefined;
  #socket: Socket<Publisher> | undefined;

  static async open(port: number): Promise<Publisher> {
    const publisher = new Publisher();
    publisher.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      data: publisher,
      socket: publisherEvents,
    });
    return publisher;
  }

  /** Resolves when the whole answer is there; rejects when it is anything but 200. */
  async get(path: string): Promise<void> {
    this.#answer = "";
    this.#waiting = Promise.withResolvers();
    const request = toRequest(path, publisherHeaders);
    // A request fits into an empty socket buffer; if ever it did not, the rest would have to be written later.
    if (this.#socket?.write(request) !== request.length) throw new Error("a request was not written whole");
    await this.#waiting.promise;
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket?.terminate();
  }

  receive(chunk: Uint8Array): void {
    this.#answer += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString("latin1");
    const head = this.#answer.indexOf("\r\n\r\n");
    if (head === -1) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#answer)?.[1];
    if (this.#answer.length < head + 4 + Number(length ?? 0)) return;
    if (this.#answer.startsWith("HTTP/1.1 200 ")) this.#waiting?.resolve();
    else this.end(`a push was answered with ${JSON.stringify(this.#answer)}`);
  }

  end(problem: string): void {
    this.#waiting?.reject(new Error(problem));
  }
}

const publisherEvents: SocketHandler<Publisher> = {
  data: ({ data: publisher }, chunk) => publisher.receive(chunk),
  close: ({ data: publisher }) => publisher.end("the server closed a publisher's connection"),
  error: ({ data: publisher }, error) => publisher.end(error.message),
};

function toRequest(path: string, headers: readonly string[]): string {
  return `GET ${path} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`;
}
