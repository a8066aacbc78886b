/**
 * The bodies of POSTs: read up to their limit, and no further, whatever the client announces or goes on to send.
 */
import { setImmediate } from "node:timers/promises";
import { PushError, quote } from "../errors.ts";
import type { Body } from "../message.ts";

/** The body as a message: text of any text type or JSON, bytes of `application/octet-stream`. */
export async function readMessage(request: Request, limit: number): Promise<Body> {
  const isBytes = readType(request.headers, isMessageType, messageTypes) === "application/octet-stream";
  const bytes = await readBytes(request, limit, "message");
  return isBytes
    ? bytes
    : decode(wholeUtf8, bytes, "; to push bytes, send Content-Type: application/octet-stream");
}

/** The body as text, and its type; without the byte order mark that some programs put before JSON (RFC 8259, section 8.1). */
export async function readBatch(
  request: Request,
  limit: number,
): Promise<{ readonly type: string; readonly text: string }> {
  const type = readType(request.headers, isBatchType, batchTypes);
  return { type, text: decode(utf8, await readBytes(request, limit, "batch"), "") };
}

const messageTypes = "text/plain, application/json or application/octet-stream";
const batchTypes = "application/json or application/x-ndjson";

function isMessageType(type: string): boolean {
  // No type at all counts as text: many HTTP libraries send a string so.
  return /^($|text\/.+|application\/(octet-stream|(.+\+)?json)$)/.test(type);
}

function isBatchType(type: string): boolean {
  return /^application\/(json|(x-)?ndjson|jsonl)$/.test(type);
}

function decode(decoder: TextDecoder, bytes: Uint8Array, advice: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new PushError("malformed_body", `the body is not UTF-8, expected UTF-8${advice}`);
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
/** Without `ignoreBOM`, which means "leave it in", a leading byte order mark would be lost. */
const wholeUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

async function readBytes(request: Request, limit: number, what: string): Promise<Uint8Array> {
  const announced = request.headers.get("content-length");
  if (announced !== null) {
    if (Number(announced) > limit)
      throw new PushError("too_large", `${what} is ${Number(announced)} bytes, the limit is ${limit}`);
    return await request.bytes();
  }
  // One buffer that grows: a client may send each byte as a chunk of its own, and each would be an object that takes fifty times as much.
  let bytes = new Uint8Array(Math.min(limit, firstBytes));
  let size = 0;
  let chunks = 0;
  let small = 0;
  for await (const chunk of request.body ?? []) {
    const end = size + chunk.byteLength;
    if (end > limit) throw new PushError("too_large", `${what} is larger than the limit, ${limit} bytes`);
    if (end > bytes.length) {
      const larger = new Uint8Array(Math.min(limit, Math.max(end, 2 * bytes.length)));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(chunk, size);
    size = end;
    small = chunk.byteLength < smallChunk ? small + 1 : 0;
    if (small >= mostSmall && size > mostInSmall)
      throw new PushError(
        "malformed_body",
        `${what} comes in chunks that are too small, expected at least ${smallChunk} bytes in each, or Content-Length`,
      );
    if (++chunks % chunksAtOnce === 0) await setImmediate();
  }
  return bytes.subarray(0, size);
}

const firstBytes = 64 * 1024;
/** How many chunks are taken before everything else has its turn. */
const chunksAtOnce = 1000;

/**
 * A body may come as a program happens to write it, a word at a time; but beyond so many bytes, so many chunks in a row that are so small are
 * refused: reading them takes all others' time.
 */
const mostInSmall = 2 ** 18;
const smallChunk = 16;
const mostSmall = 900;

/** The media type of a body that can be read: in lower case, without parameters; "" when none is given. */
function readType(given: Headers, isKnown: (type: string) => boolean, expected: string): string {
  const encoding = given.get("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity")
    throw new PushError(
      "unsupported_media_type",
      `Content-Encoding ${quote(encoding)} is not supported, expected none`,
    );
  const [type = "", ...parameters] = (given.get("content-type") ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  if (!isKnown(type))
    throw new PushError(
      "unsupported_media_type",
      `Content-Type ${quote(type)} is not supported, expected ${expected}`,
    );
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (
    charset !== undefined &&
    type !== "application/octet-stream" &&
    !["utf-8", "utf8", "us-ascii"].includes(charset)
  )
    throw new PushError(
      "unsupported_media_type",
      `charset ${quote(charset)} is not supported, expected utf-8`,
    );
  return type;
}
