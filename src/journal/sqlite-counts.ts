/**
 * To how many sessions the messages of an append went, as a SQLite journal keeps it: one number when it is the same for all of them,
 * else one for each, of as many bytes as the largest needs, the lowest first.
 */

export function toCounts(sessions: readonly number[]): number | Uint8Array {
  const first = sessions[0] ?? 0;
  if (sessions.every((count) => count === first)) return first;
  const most = sessions.reduce((one, other) => Math.max(one, other), 0);
  const width = most < 2 ** 8 ? 1 : most < 2 ** 16 ? 2 : 4;
  const bytes = Buffer.alloc(sessions.length * width);
  for (const [index, count] of sessions.entries()) bytes.writeUIntLE(count, index * width, width);
  return bytes;
}

/** @param count how many messages there were */
export function fromCounts(kept: number | Uint8Array, count: number): readonly number[] {
  if (typeof kept === "number") return Array.from({ length: count }, () => kept);
  const bytes = Buffer.from(kept.buffer, kept.byteOffset, kept.length);
  const width = bytes.length / count;
  return Array.from({ length: count }, (_, index) => bytes.readUIntLE(index * width, width));
}
