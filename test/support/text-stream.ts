/**
 * An answer of text without end, byte for byte as it is on the wire, that reads only when a test lets it.
 */
import { openRaw, type RawAnswer, type RawConnection, type Taken } from "./raw.ts";

export interface TextStream {
  readonly raw: RawConnection;
  /** Status and headers of the answer; of one that has an end, the whole of it. */
  readonly head: RawAnswer;
  /** What comes next, up to this separator and with it; `undefined` at the end. Fails when the connection ends before. */
  until(separator: string): Promise<string | undefined>;
}

/** Asks for a stream, and gives it when its head has come. */
export async function openTextStream(
  server: { readonly port: number },
  target: string,
  headers: Readonly<Record<string, string>>,
): Promise<TextStream> {
  const raw = await openRaw(server);
  await raw.write(
    [
      `GET ${target} HTTP/1.1`,
      ...Object.entries({ Host: "127.0.0.1", ...headers }).map(([name, value]) => `${name}: ${value}`),
      "\r\n",
    ].join("\r\n"),
  );
  const head = await raw.answer();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const isChunked = head.headers.get("transfer-encoding") === "chunked";
  let received = isChunked ? "" : head.body;
  let isOver = !isChunked;
  return {
    raw,
    head,
    async until(separator) {
      for (;;) {
        const end = received.indexOf(separator);
        if (end !== -1) {
          const text = received.slice(0, end + separator.length);
          received = received.slice(text.length);
          return text;
        }
        if (isOver) return undefined;
        const chunk = await raw.take(parseChunk);
        if (chunk.length === 0) isOver = true;
        else received += decoder.decode(chunk, { stream: true });
      }
    },
  };
}

/** One chunk of RFC 9112 section 7.1; the last one is empty. */
function parseChunk(received: Buffer): Taken<Buffer> | undefined {
  const lineEnd = received.indexOf("\r\n");
  if (lineEnd === -1) return undefined;
  const size = Number.parseInt(received.toString("latin1", 0, lineEnd), 16);
  const begin = lineEnd + 2;
  const length = begin + size + 2;
  if (received.length < length) return undefined;
  return { value: received.subarray(begin, begin + size), length };
}
