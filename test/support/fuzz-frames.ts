/**
 * WebSocket frames at random: any bytes, frames that break the rules, and frames of `push.v1` that are right but for what is in them.
 */
import fc from "fast-check";
import { toFrame } from "./frames.ts";
import { maxMessage } from "./fuzz-server.ts";
import { type TokenRecipe, tokenRecipe, toToken } from "./fuzz-tokens.ts";

/** One thing that is written to a socket, as it can be printed. */
export type Write =
  | { readonly kind: "bytes"; readonly bytes: string }
  | {
      readonly kind: "frame";
      readonly opcode: number;
      readonly payload: string;
      readonly fin: boolean;
      readonly rsv: number;
      readonly masked: boolean;
    };

const latin1 = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("latin1"));

const payload = fc.oneof(
  { weight: 3, arbitrary: latin1(200) },
  {
    weight: 2,
    arbitrary: fc.constantFrom("", "x", "\xc3", "\xa9", "\xed\xa0\x80", "\x03\xe8", "\x03\xedbye", "\x00"),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(125, 126, 127, maxMessage, maxMessage + 1, 65_536)
      .map((size) => "x".repeat(size)),
  },
);

export const write: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("frame" as const),
      opcode: fc.oneof(fc.constantFrom(0, 1, 1, 2, 8, 9, 10), fc.nat(15)),
      payload,
      fin: fc.constantFrom(true, true, false),
      rsv: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 2, 4),
      masked: fc.constantFrom(true, true, true, true, true, true, false),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("bytes" as const), bytes: latin1(100) }) },
);

export function toBytes(one: Write): Buffer {
  if (one.kind === "bytes") return Buffer.from(one.bytes, "latin1");
  return toFrame(one.opcode, Buffer.from(one.payload, "latin1"), one);
}

/** What is in a text frame of `push.v1`. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "token"; readonly recipe: TokenRecipe };

const text = fc.oneof(
  fc.constantFrom("", "hello", "\u0000", "\u202e", "\u{1f600}", '"', "x".repeat(1000), "k3f9a0zq-1"),
  fc.string({ unit: "grapheme", maxLength: 20 }),
);

const jsonFrame = fc.record(
  {
    type: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom("message", "ack", "token", "welcome", "error", "Message", "") },
      { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
    ),
    data: fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) }),
    id: fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) }),
    token: fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) }),
    more: text,
  },
  { requiredKeys: [] },
);

/** Without tokens, which a server that is open would take for what it may log: the content of a message. */
export const content: fc.Arbitrary<Content> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("json" as const), value: jsonFrame }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("json" as const), value: fc.jsonValue({ maxDepth: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("text" as const),
      text: fc.oneof(
        text,
        fc.constantFrom(
          "[".repeat(3000),
          '{"type":"message","data":',
          '{"type":"ack","id":"a"}{',
          "\ufeff{}",
        ),
      ),
    }),
  },
);

export const contentWithTokens: fc.Arbitrary<Content> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("token" as const), recipe: tokenRecipe }) },
  { weight: 1, arbitrary: content },
);

/** The text of the frame, cut to what the server takes. */
export function toText(one: Content): string {
  switch (one.kind) {
    case "text":
      return one.text;
    case "json":
      return JSON.stringify(one.value);
    case "token":
      return JSON.stringify({ type: "token", token: toToken(one.recipe).text.slice(0, 3500) });
  }
}
