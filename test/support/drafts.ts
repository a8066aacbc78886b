import type { Draft } from "../../src/message.ts";

/** A draft to the same address for each text. */
export function toDrafts(...texts: readonly string[]): Draft[] {
  return texts.map((body) => ({ topic: "a", body }));
}
