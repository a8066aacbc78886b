/**
 * The load generator's ends of the connections: raw TCP, because a client library would cost more than the server that is
 * measured. A session does its handshake and then only counts; a publisher keeps its HTTP/1.1 connection.
 *
 * Every message of a run has the same size, so a WebSocket frame is found by counting bytes; an event of a stream, by its field
 * `data`. A message begins with its number, by which the moment when it was pushed is found.
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
const maskedHeader = Buffer.from([textFrame, 0x80 | messageBytes, 0, 0, 0, 0]);

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

/** A session of the audience: from its beginning on it only counts. */
export abstract class Session {
  /** The messages that arrived whole. */
  frames = 0;
  protected isOpen = false;
  #closing = false;
  readonly #opened = Promise.withResolvers<void>();
  readonly #listener: Listener;
  #socket: Socket<Session> | undefined;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  /**
   * Resolves when the server has accepted it.
   *
   * @param headers lines on top of those that every session sends
   */
  async open(port: number, query: string, headers: readonly string[]): Promise<void> {
    this.#socket = await Bun.connect({ hostname: "127.0.0.1", port, data: this, socket: sessionEvents });
    this.#socket.write(this.toRequest(query, headers));
    await this.#opened.promise;
  }

  /** Without a goodbye, as a tab on a train does it. */
  close(): void {
    this.#closing = true;
    this.#socket?.terminate();
  }

  end(problem: string): void {
    if (this.#closing) return;
    this.#opened.reject(new Error(problem));
    if (this.isOpen) this.#listener.onFailure(problem);
  }

  abstract receive(chunk: Buffer): void;

  /** A socket that does not take all of it is behind by so much that nothing more can be measured. */
  protected write(bytes: Buffer): void {
    if (this.#socket?.write(bytes) !== bytes.length) this.end("a session cannot send");
  }

  protected abstract toRequest(query: string, headers: readonly string[]): string;

  protected begin(): void {
    this.isOpen = true;
    this.#opened.resolve();
  }

  protected take(number: number, now: number): void {
    this.frames++;
    this.#listener.onFrame(number, now);
  }
}

export class WebSocketSession extends Session {
  /** How much of the next frame has arrived. */
  #begun = 0;

  receive(chunk: Buffer): void {
    if (this.isOpen) this.#count(chunk);
    else this.#accept(chunk);
  }

  /** Sends a message of `messageBytes`: in a frame of its own, with a mask of zeros. */
  send(message: string): void {
    this.write(Buffer.concat([maskedHeader, Buffer.from(message)]));
  }

  protected toRequest(query: string, headers: readonly string[]): string {
    return toRequest("GET", `/ws?${query}`, [...handshakeHeaders, ...headers]);
  }

  #accept(chunk: Buffer): void {
    const end = chunk.indexOf("\r\n\r\n") + 4;
    const answer = chunk.toString("latin1", 0, end);
    if (!answer.startsWith("HTTP/1.1 101 ") || !answer.includes(accepted)) {
      this.end(`the handshake was answered with ${JSON.stringify(answer)}`);
      return;
    }
    this.begin();
    // What is replayed comes right behind the handshake.
    if (end < chunk.length) this.#count(chunk.subarray(end));
  }

  #count(chunk: Uint8Array): void {
    const now = performance.now();
    for (let at = (frameBytes - this.#begun) % frameBytes; at < chunk.length; at += frameBytes) {
      if (chunk[at] !== textFrame || (chunk[at + 1] ?? messageBytes) !== messageBytes) {
        this.end(`a frame begins with ${chunk[at]} ${chunk[at + 1]}, expected ${textFrame} ${messageBytes}`);
        return;
      }
      if (at + frameBytes <= chunk.length) this.take(toNumber(chunk, at + headerBytes), now);
    }
    const size = this.#begun + chunk.length;
    if (this.#begun > 0 && size >= frameBytes) this.take(-1, now);
    this.#begun = size % frameBytes;
  }
}

const dataField = "\ndata: ";

export class StreamSession extends Session {
  /** The end of what has come, in which a message may have begun. */
  #rest: Buffer = Buffer.alloc(0);

  receive(chunk: Buffer): void {
    const now = performance.now();
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let counted = 0;
    for (let at = bytes.indexOf(dataField); at !== -1; at = bytes.indexOf(dataField, counted)) {
      const end = at + dataField.length + numberDigits;
      if (end > bytes.length) break;
      counted = end;
      // The first event is the welcome.
      if (this.isOpen) this.take(toNumber(bytes, at + dataField.length), now);
      else this.begin();
    }
    this.#rest = bytes.subarray(Math.max(counted, bytes.length - dataField.length - numberDigits + 1));
  }

  protected toRequest(query: string, headers: readonly string[]): string {
    return toRequest("GET", `/sse?${query}`, ["Host: 127.0.0.1", "Accept: text/event-stream", ...headers]);
  }
}

const sessionEvents: SocketHandler<Session> = {
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
  #unwritten = Buffer.alloc(0);
  #waiting: PromiseWithResolvers<void> | undefined;
  #socket: Socket<Publisher> | undefined;
  readonly #headers: readonly string[];

  private constructor(headers: readonly string[]) {
    this.#headers = headers;
  }

  /** @param headers lines on top of those that every publisher sends */
  static async open(port: number, headers: readonly string[] = []): Promise<Publisher> {
    const publisher = new Publisher([...publisherHeaders, ...headers]);
    publisher.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      data: publisher,
      socket: publisherEvents,
    });
    return publisher;
  }

  /** Resolves when the whole answer is there; rejects when it is neither 200 nor 202. */
  async get(path: string): Promise<void> {
    await this.#send(toRequest("GET", path, this.#headers));
  }

  /** The same, with a body. */
  async post(path: string, type: string, body: string): Promise<void> {
    const about = [`Content-Type: ${type}`, `Content-Length: ${body.length}`];
    await this.#send(toRequest("POST", path, [...this.#headers, ...about]) + body);
  }

  async #send(request: string): Promise<void> {
    this.#answer = "";
    this.#waiting = Promise.withResolvers();
    this.#unwritten = Buffer.from(request);
    this.writeOn();
    await this.#waiting.promise;
  }

  /** Writes what the socket takes now; it says when it takes more. */
  writeOn(): void {
    const written = this.#socket?.write(this.#unwritten) ?? -1;
    if (written < 0) return this.end("a publisher's connection was closed before its push");
    this.#unwritten = this.#unwritten.subarray(written);
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
    if (/^HTTP\/1\.1 20[02] /.test(this.#answer)) this.#waiting?.resolve();
    else this.end(`a push was answered with ${JSON.stringify(this.#answer)}`);
  }

  end(problem: string): void {
    this.#waiting?.reject(new Error(problem));
  }
}

const publisherEvents: SocketHandler<Publisher> = {
  drain: ({ data: publisher }) => publisher.writeOn(),
  data: ({ data: publisher }, chunk) => publisher.receive(chunk),
  close: ({ data: publisher }) => publisher.end("the server closed a publisher's connection"),
  error: ({ data: publisher }, error) => publisher.end(error.message),
};

function toRequest(method: string, path: string, headers: readonly string[]): string {
  return `${method} ${path} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`;
}
