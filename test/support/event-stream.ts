/**
 * A client of Server-Sent Events for tests: it shows each block of the stream as it is on the wire, reads only when a test lets it,
 * and does nothing by itself.
 *
 *   await using stream = await openEventStream(server, { query: "userid=1" });
 *   expect((await stream.block()).text).toBe("id: …\ndata: hello\n\n");
 */
import { openTextStream } from "./text-stream.ts";
import type { RawAnswer, RawConnection } from "./raw.ts";

/** What stands between two empty lines. */
export interface Block {
  /** As it came, with the empty line at its end. */
  readonly text: string;
  readonly id?: string;
  readonly event?: string;
  /** Its lines; without any, the block is no event. */
  readonly data?: string;
  readonly retry?: string;
}

export interface EventStreamOptions {
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestEventStream extends AsyncDisposable {
  readonly raw: RawConnection;
  /** Status and headers of the answer. */
  readonly head: RawAnswer;
  /** The next block, whatever it is; `undefined` at the end of the stream. Fails when the connection ends before. */
  block(): Promise<Block | undefined>;
  /** The next block with data. Fails at the end of the stream. */
  event(): Promise<Block>;
}

/** Asks for a stream, and gives it when its head has come. */
export async function openEventStream(
  server: { readonly port: number },
  { path = "/sse", query = "", headers = {} }: EventStreamOptions = {},
): Promise<TestEventStream> {
  const { raw, head, until } = await openTextStream(server, `${path}${query && `?${query}`}`, {
    Accept: "text/event-stream",
    ...headers,
  });
  const block = async () => {
    const text = await until("\n\n");
    return text === undefined ? undefined : parseBlock(text);
  };
  return {
    raw,
    head,
    block,
    async event() {
      for (;;) {
        const next = await block();
        if (next === undefined) throw new Error("the stream ended");
        if (next.data !== undefined) return next;
      }
    },
    [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose](),
  };
}

/** Everything up to the end of the stream, in good order or not. */
export async function readToEnd(stream: TestEventStream): Promise<Block[]> {
  const blocks: Block[] = [];
  for (;;) {
    const block = await stream.block().catch(() => undefined);
    if (block === undefined) return blocks;
    blocks.push(block);
  }
}

/** The fields of a block, as the HTML standard reads them (section 9.2.6). */
function parseBlock(text: string): Block {
  const fields: Record<string, string> = {};
  const lines: string[] = [];
  for (const line of text.slice(0, -2).split(/\r\n|\r|\n/)) {
    const [, name = line, value = ""] = /^([^:]*): ?(.*)$/su.exec(line) ?? [];
    if (name === "data") lines.push(value);
    else if (name !== "") fields[name] = value;
  }
  return { text, ...fields, ...(lines.length > 0 && { data: lines.join("\n") }) };
}
