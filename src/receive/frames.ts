/**
 * The frames of `push.v1` and what other JSON says of a message. Their shapes are in protocol.ts.
 */
import { PushError, show } from "../errors.ts";
import type { Body, Message } from "../message.ts";
import type { ClientFrame, MessageContent } from "../protocol.ts";
import type { PushFrame } from "./client-push.ts";

export function toContent(id: string, { event, body }: Pick<Message, "event" | "body">): MessageContent {
  return {
    id,
    ...(event !== undefined && { event }),
    ...(typeof body === "string" ? { data: body } : { base64: body.toBase64() }),
  };
}

export function toMessageFrame(id: string, message: Pick<Message, "event" | "body">): string {
  return JSON.stringify({ type: "message", ...toContent(id, message) });
}

/** What a client sent, or what is wrong with it: no reason to end the session. */
export function readClientFrame(body: Body): ClientFrame | PushError {
  const frame = parse(body);
  if (frame instanceof PushError) return frame;
  if (!("type" in frame)) return malformed(`has no type, expected an object with type ${types}`);
  const { type } = frame;
  if (type === "message") return readMessage(frame);
  if (type === "ack")
    return "id" in frame && typeof frame.id === "string"
      ? { type, id: frame.id }
      : malformed("of type ack has no id, expected a string");
  if (type === "token")
    return "token" in frame && typeof frame.token === "string"
      ? { type, token: frame.token }
      : malformed("of type token has no token, expected a string");
  if (type === "push") return readPush(frame);
  return malformed(`has the type ${show(type)}, expected ${types}`);
}

/** What the answer to a frame that is refused has to have, so that its client knows which one it was: whatever else is wrong with it. */
export function refOf(body: Body): string | undefined {
  const frame = parse(body);
  return "ref" in frame && isRef(frame.ref) ? frame.ref : undefined;
}

function parse(body: Body): object | PushError {
  if (typeof body !== "string") return malformed("is binary, expected JSON as text");
  let frame: unknown;
  try {
    frame = JSON.parse(body);
  } catch {
    return malformed("is not JSON");
  }
  return typeof frame === "object" && frame !== null
    ? frame
    : malformed(`has no type, expected an object with type ${types}`);
}

const types = "message, ack, token or push";

/** The longest `ref`, in characters. */
const maxRef = 64;

function isRef(ref: unknown): ref is string {
  return typeof ref === "string" && ref.length <= maxRef;
}

function readMessage(frame: {
  readonly type: unknown;
  readonly data?: unknown;
  readonly ref?: unknown;
}): ClientFrame | PushError {
  const { data, ref } = frame;
  if (typeof data !== "string") return malformed("of type message has no data, expected a string");
  if (!data.isWellFormed()) return malformed("of type message has half of a surrogate pair in its data");
  if (ref === undefined) return { type: "message", data };
  return isRef(ref)
    ? { type: "message", data, ref }
    : malformed(
        `of type message has ${show(ref)} as its ref, expected a string of up to ${maxRef} characters`,
      );
}

function readPush(frame: { readonly [name in keyof PushFrame]?: unknown }): ClientFrame | PushError {
  const { data, ttl } = frame;
  if (typeof data !== "string") return malformed("of type push has no data, expected a string");
  if (!data.isWellFormed()) return malformed("of type push has half of a surrogate pair in its data");
  const texts: { [name in (typeof pushTexts)[number]]?: string } = {};
  for (const name of pushTexts) {
    const value = frame[name];
    if (value === undefined) continue;
    if (typeof value !== "string")
      return malformed(`of type push has ${show(value)} as its ${name}, expected a string`);
    texts[name] = value;
  }
  if (texts.ref !== undefined && texts.ref.length > maxRef)
    return malformed(`of type push has a ref of more than ${maxRef} characters`);
  if (ttl !== undefined && typeof ttl !== "number")
    return malformed(`of type push has ${show(ttl)} as its ttl, expected a number`);
  return { type: "push", data, ...texts, ...(ttl !== undefined && { ttl }) };
}

const pushTexts = ["userid", "compid", "event", "key", "except", "ref"] as const;

function malformed(what: string): PushError {
  return new PushError("malformed_frame", `the frame ${what}`);
}
