/** Numbers that look random and are the same for the same seed: "mulberry32", by Tommy Ettinger, public domain. */
export interface Random {
  /** A whole number from 0 to one less than `limit`. */
  below(limit: number): number;
  /** So many of these, each at most once. */
  pick<Value>(values: readonly Value[], count: number): Value[];
}

export function seeded(seed: number): Random {
  let state = seed;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
  return {
    below,
    pick(values, count) {
      const left = [...values];
      return Array.from({ length: Math.min(count, left.length) }, () =>
        left.splice(below(left.length), 1),
      ).flat();
    },
  };
}

/** Lets chance have no say. */
export function fixChance(value: number): Disposable {
  const { random } = Math;
  Math.random = () => value;
  return {
    [Symbol.dispose]() {
      Math.random = random;
    },
  };
}
