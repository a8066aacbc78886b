/**
 * A client of any transport that notes all it is told as it is told, and costs so little that thousands fit into a test.
 *
 *   const reader = openReader("SSE", server, { query: "userid=1", since, onNotice: (notice) => … });
 *   await reader.begun;
 *   reader.drop();
 *
 * A long poll is one poll: it ends with its answer.
 */
import type { Socket } from "bun";
import { opcodes, toClosePayload, toFrame, toHandshake } from "./frames.ts";

export const readable = ["plain", "push.v1", "SSE", "poll"] as const;
export type Readable = (typeof readable)[number];

/** A message, or a position: that everything up to this id was sent. */
export interface Notice {
  /** A message on a plain WebSocket has none. */
  readonly id?: string;
  readonly message?: {
    /** A text; of bytes, base64. */
    readonly data: string;
    /** Unknown over SSE, where bytes are a text too. */
    readonly isBytes?: boolean;
    readonly event?: string;
  };
}

/** Where its stream begins, as it was told. */
export interface Beginning {
  /** Of a poll, where the next one begins. */
  readonly id: string;
  readonly resumed?: boolean;
}

export interface ReaderOptions {
  readonly query?: string;
  readonly since?: string;
  /** Of a poll, in seconds. */
  readonly wait?: number;
  readonly onNotice: (notice: Notice) => void;
}

export interface Reader {
  /** Rejects when it was refused, or the connection ended before. */
  readonly begun: Promise<Beginning>;
  /** Resolves when the connection is over, whoever ended it. */
  readonly ended: Promise<void>;
  /** Ends it as a lost peer does: with a reset. */
  drop(): void;
  /** Ends it as a browser does. */
  leave(): void;
}

export function openReader(
  transport: Readable,
  { port }: { readonly port: number },
  options: ReaderOptions,
): Reader {
  const link = new Link(transport, options);
  void Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => link.open(socket),
      data: (_, chunk) => link.take(chunk),
      close: () => link.end(),
      error: () => link.end(),
      connectError: () => link.end(),
    },
  }).catch(() => link.end());
  return link;
}

class Link implements Reader {
  readonly #transport: Readable;
  readonly #options: ReaderOptions;
  readonly #begun = Promise.withResolvers<Beginning>();
  readonly #ended = Promise.withResolvers<void>();
  #socket: Socket | undefined;
  #isOver = false;
  #rest: Buffer = Buffer.alloc(0);
  /** Takes one whole thing from the begin of what has arrived, and says how many bytes it had; 0 when it is not whole yet. */
  #parse = (received: Buffer) => this.#takeHead(received);
  /** Of a stream of events: what has come of the next event. */
  #text = "";
  readonly #decoder = new TextDecoder();

  constructor(transport: Readable, options: ReaderOptions) {
    this.#transport = transport;
    this.#options = options;
    // Who drops a reader does not ask how it began.
    this.begun.catch(() => {});
  }

  get begun() {
    return this.#begun.promise;
  }

  get ended() {
    return this.#ended.promise;
  }

  open(socket: Socket): void {
    if (this.#isOver) return void socket.terminate();
    this.#socket = socket;
    socket.write(toRequest(this.#transport, this.#options));
  }

  take(chunk: Buffer): void {
    if (this.#isOver) return;
    const received = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (let length = -1; length !== 0 && at < received.length; at += length)
      length = this.#parse(received.subarray(at));
    this.#rest = received.subarray(at);
  }

  end(): void {
    this.#isOver = true;
    this.#begun.reject(new Error(`the connection ended before it began, over ${this.#transport}`));
    this.#ended.resolve();
  }

  drop(): void {
    this.#socket?.terminate();
    this.end();
  }

  leave(): void {
    if (this.#transport === "plain" || this.#transport === "push.v1")
      this.#socket?.write(toFrame(opcodes.close, toClosePayload(1000)));
    this.#socket?.end();
    this.end();
  }

  #takeHead(received: Buffer): number {
    const end = received.indexOf("\r\n\r\n");
    if (end === -1) return 0;
    const [statusLine = "", ...lines] = received.toString("latin1", 0, end).split("\r\n");
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const wanted = this.#transport === "plain" || this.#transport === "push.v1" ? " 101" : " 200";
    if (!statusLine.includes(wanted)) {
      this.#begun.reject(new Error(`refused: ${statusLine}; ${received.toString("utf8", end + 4)}`));
      this.drop();
      return 0;
    }
    const resumed = headers.get("server-push-resumed");
    if (this.#transport === "plain" || this.#transport === "SSE")
      this.#begun.resolve({
        id: headers.get("last-event-id") ?? "",
        ...(resumed !== undefined && { resumed: resumed === "true" }),
      });
    const length = Number(headers.get("content-length") ?? 0);
    this.#parse =
      this.#transport === "poll"
        ? (rest) => this.#takeAnswer(rest, length)
        : this.#transport === "SSE"
          ? (rest) => this.#takeChunk(rest)
          : (rest) => this.#takeFrame(rest);
    return end + 4;
  }

  #takeAnswer(received: Buffer, length: number): number {
    if (received.length < length) return 0;
    const { id, resumed, messages } = JSON.parse(received.toString("utf8", 0, length));
    this.#begun.resolve({ id, ...(resumed !== undefined && { resumed }) });
    for (const message of messages) this.#options.onNotice(toNotice(message));
    this.#options.onNotice({ id });
    this.#socket?.end();
    this.end();
    return length;
  }

  #takeFrame(received: Buffer): number {
    const [first = 0, short = 0] = received;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (received.length < head) return 0;
    const size =
      short < 126 ? short : short === 126 ? received.readUInt16BE(2) : Number(received.readBigUInt64BE(2));
    if (received.length < head + size) return 0;
    const [opcode, payload] = [first & 0x0f, received.subarray(head, head + size)];
    if (opcode === opcodes.ping) this.#socket?.write(toFrame(opcodes.pong, payload));
    if (opcode === opcodes.close) this.leave();
    if (opcode === opcodes.text || opcode === opcodes.binary) this.#takePayload(opcode, payload);
    return head + size;
  }

  #takePayload(opcode: number, payload: Buffer): void {
    const isBytes = opcode === opcodes.binary;
    const text = payload.toString(isBytes ? "base64" : "utf8");
    if (this.#transport === "plain") return this.#options.onNotice({ message: { data: text, isBytes } });
    const { type, id, resumed, ...rest } = JSON.parse(text);
    if (type === "welcome") this.#begun.resolve({ id, ...(resumed !== undefined && { resumed }) });
    else if (type === "message") this.#options.onNotice(toNotice({ id, ...rest }));
    else if (type === "position") this.#options.onNotice({ id });
    else throw new Error(`the server sent a frame that tells nothing: ${text}`);
  }

  #takeChunk(received: Buffer): number {
    const lineEnd = received.indexOf("\r\n");
    if (lineEnd === -1) return 0;
    const size = Number.parseInt(received.toString("latin1", 0, lineEnd), 16);
    const length = lineEnd + 2 + size + 2;
    if (received.length < length) return 0;
    this.#text += this.#decoder.decode(received.subarray(lineEnd + 2, length - 2), { stream: true });
    const blocks = this.#text.split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) this.#takeBlock(block);
    if (size === 0) this.leave();
    return length;
  }

  #takeBlock(block: string): void {
    const lines = block.split("\n");
    const valuesOf = (name: string) =>
      lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
    const [id] = valuesOf("id");
    const [event] = valuesOf("event");
    const data = valuesOf("data");
    if (event === "push.welcome" || id === undefined) return;
    if (data.length === 0) return this.#options.onNotice({ id });
    this.#options.onNotice({
      id,
      message: { data: data.join("\n"), ...(event !== undefined && { event }) },
    });
  }
}

interface Content {
  readonly id: string;
  readonly event?: string;
  readonly data?: string;
  readonly base64?: string;
}

function toNotice({ id, event, data, base64 }: Content): Notice {
  const isBytes = base64 !== undefined;
  return { id, message: { data: base64 ?? data ?? "", isBytes, ...(event !== undefined && { event }) } };
}

function toRequest(transport: Readable, { query = "", since, wait = 25 }: ReaderOptions): string {
  const target = new URLSearchParams(query);
  if (since !== undefined) target.set("since", since);
  if (transport === "poll") target.set("wait", String(wait));
  // What stands in a query as a plus sign is not a space everywhere.
  const text = target.toString().replaceAll("+", "%20");
  if (transport === "plain") return toHandshake(text);
  if (transport === "push.v1") return toHandshake(text, ["Sec-WebSocket-Protocol: push.v1"]);
  const path = transport === "SSE" ? "sse" : "poll";
  return `GET /${path}?${text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
}
