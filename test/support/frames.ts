/**
 * WebSocket frames by hand (RFC 6455 section 5): for clients that break the rules, and to see what is really on the wire.
 *
 *   await using session = await openRawSession(server, "userid=1");
 *   await session.raw.write(toFrame(opcodes.text, "hello", { masked: false }));
 *   expect((await session.close()).code).toBe(1002);
 */
import { openRaw, type RawAnswer, type RawConnection, type Taken } from "./raw.ts";

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export interface RawSession extends AsyncDisposable {
  readonly raw: RawConnection;
  /** The answer to the handshake. */
  readonly handshake: RawAnswer;
  /** The next frame that is not a ping. */
  frame(): Promise<Frame>;
  /** Reads up to the close frame, and gives what it says. */
  close(): Promise<{ readonly code: number; readonly reason: string }>;
}

/** A handshake that is right, with these headers on top. */
export function toHandshake(query = "", headers: readonly string[] = []): string {
  return [
    `GET /ws${query && `?${query}`} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
    "\r\n",
  ].join("\r\n");
}

/** Opens a session that does nothing by itself: it answers no ping and no close. */
export async function openRawSession(
  server: { readonly port: number },
  query = "",
  headers: readonly string[] = [],
): Promise<RawSession> {
  const raw = await openRaw(server);
  await raw.write(toHandshake(query, headers));
  const handshake = await raw.answer();
  if (handshake.status !== 101) throw new Error(`the handshake was answered with ${handshake.status}`);
  const frame = async () => {
    let next = await raw.take(parseFrame);
    while (next.opcode === opcodes.ping) next = await raw.take(parseFrame);
    return next;
  };
  return {
    raw,
    handshake,
    frame,
    async close() {
      let last = await frame();
      while (last.opcode !== opcodes.close) last = await frame();
      return { code: last.payload.readUInt16BE(), reason: last.payload.toString("utf8", 2) };
    },
    [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose](),
  };
}

const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** A frame from a client; `rsv` is the three reserved bits as a number. */
export function toFrame(
  opcode: number,
  payload: string | Uint8Array = "",
  { fin = true, rsv = 0, masked = true } = {},
): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(14);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  let length = 2;
  if (body.length < 126) head[1] = body.length;
  else if (body.length < 65536) {
    head[1] = 126;
    length = head.writeUInt16BE(body.length, 2);
  } else {
    head[1] = 127;
    length = head.writeBigUInt64BE(BigInt(body.length), 2);
  }
  if (!masked) return Buffer.concat([head.subarray(0, length), body]);
  head[1] |= 0x80;
  const hidden = body.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([head.subarray(0, length), mask, hidden]);
}

/** The payload of a close frame. */
export function toClosePayload(code: number, reason = ""): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return payload;
}

/** A whole frame from the server, which never masks. */
function parseFrame(received: Buffer): Taken<Frame> | undefined {
  if (received.length < 2) return undefined;
  const [first = 0, short = 0] = received;
  const headLength = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (received.length < headLength) return undefined;
  const size =
    short < 126 ? short : short === 126 ? received.readUInt16BE(2) : Number(received.readBigUInt64BE(2));
  const length = headLength + size;
  if (received.length < length) return undefined;
  return { value: { opcode: first & 0x0f, payload: received.subarray(headLength, length) }, length };
}
