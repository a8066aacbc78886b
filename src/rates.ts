/**
 * How often something may happen, and how many at once. Pure: the time is given.
 *
 * A rate is kept by the generic cell rate algorithm (ITU-T I.371, known as GCRA), which needs one number. Time is a position that
 * moves on by `rate` events a second; `due` moves on by one with each event, and never lags behind the position. An event is taken
 * while that leaves `due` no more than `burst` ahead. With 2 a second and 3 at once:
 *
 *     at 0.0 s    position  0    due  0 → 1 → 2 → 3    a fourth would be 4 ahead: in 500 ms
 *     at 0.5 s    position  1    due  3 → 4            taken
 *     at 9.0 s    position 18    due 18 → 19           whoever was quiet has the whole burst again, and no more
 *
 * Nothing is refilled in steps, so nothing can be rounded away or add up, in years either: the position is one
 * multiplication, and an event is exactly 1.
 */
export interface RateLimit {
  /** Events a second, over time. May be a fraction. */
  readonly rate: number;
  /** How many may come at once, at least 1. */
  readonly burst: number;
}

/** Early by less than this is on time, in milliseconds: clocks and floating point are no finer. It does not add up. */
const slackMs = 0.001;

/** A limit in the terms of the positions. */
interface Scale {
  /** Events a millisecond. */
  readonly perMs: number;
  /** Events. */
  readonly burst: number;
  /** Events. */
  readonly slack: number;
}

function toScale({ rate, burst }: RateLimit): Scale {
  if (!(rate > 0 && rate < Infinity && burst >= 1 && burst < Infinity))
    throw new RangeError(`a rate of ${rate} with a burst of ${burst}, expected more than 0 and at least 1`);
  return { perMs: rate / 1000, burst, slack: (rate / 1000) * slackMs };
}

/**
 * `due` as it counts at the position `at`: not behind it; nor farther ahead than it can have come, which is seen when the clock went
 * back. Then the burst is used up and comes again with time, instead of after all the time that the clock lost.
 */
function settle({ burst, slack }: Scale, due: number, at: number): number {
  return Math.min(Math.max(due, at), at + burst + slack);
}

/** For how long `count` events have to wait, 0 for not at all, in milliseconds. */
function toWait({ perMs, burst, slack }: Scale, due: number, at: number, count: number): number {
  const over = due + count - burst - at;
  return over <= slack ? 0 : over / perMs;
}

/** The rate of one thing. */
export class Rate {
  readonly #scale: Scale;
  #due = -Infinity;

  /** @throws RangeError when the rate is not above 0, or the burst is below 1 */
  constructor(limit: RateLimit) {
    this.#scale = toScale(limit);
  }

  /**
   * Takes `count` events, all or none.
   *
   * @param now   in milliseconds, on a clock that should not go back; one that does gives nothing away
   * @param count a whole number; a refusal costs nothing
   * @returns 0 when they are taken; else in how many milliseconds they would be, `Infinity` where they are more than the burst
   */
  take(now: number, count = 1): number {
    if (count > this.#scale.burst) return Infinity;
    const at = now * this.#scale.perMs;
    const due = settle(this.#scale, this.#due, at);
    const wait = toWait(this.#scale, due, at, count);
    this.#due = wait === 0 ? due + count : due;
    return wait;
  }
}

export interface RatesLimit extends RateLimit {
  /** How many keys are known at once, at least 2. */
  readonly maxKeys: number;
}

/**
 * The rates of many, each with a key: an address, a user.
 *
 * Keys live in two generations. A take moves its key to the young one; in the time in which a used-up burst comes back, or when the
 * young one has half of `maxKeys`, it becomes the old one, and what was the old one is forgotten. In the first case nothing is lost by
 * that: whoever was quiet for that long is as good as new. The second takes somebody with very many keys (a /40 of IPv6 has
 * 16 million networks), and this is all that it gets them:
 *
 * - Memory: never more than `maxKeys`, whatever comes.
 * - Locking others out: no. A table that is full refuses nobody; forgetting can only forgive.
 * - Their own limit: a key that was used up is new after takes with `maxKeys / 2` *other* keys, before its burst would have come back by
 *   itself. That is half a table of requests for one burst. A key that keeps asking is kept, also while it is refused.
 * - All limits together cease to hold only above `maxKeys / 2` requests in `burst / rate` seconds, with as many keys. With
 *   100,000 keys, 20 at once and 10 a second, these are 25,000 a second. A `Rate` for everyone together that is asked first, and
 *   lets fewer through, closes this too: then nothing is ever forgotten early.
 */
export class Rates<Key = string> {
  readonly #scale: Scale;
  readonly #half: number;
  /** In how many milliseconds a used-up burst has come back. */
  readonly #fullMs: number;
  /** `due` by key. A key in both counts as it is in the young one. */
  #young = new Map<Key, number>();
  #old = new Map<Key, number>();
  #bornAt = -Infinity;

  /** @throws RangeError when the rate is not above 0, the burst is below 1, or there are fewer than 2 keys */
  constructor(limit: RatesLimit) {
    if (!(limit.maxKeys >= 2)) throw new RangeError(`a table of ${limit.maxKeys} keys, expected at least 2`);
    this.#scale = toScale(limit);
    this.#half = Math.floor(limit.maxKeys / 2);
    this.#fullMs = limit.burst / this.#scale.perMs + slackMs;
  }

  /** How many keys take memory; a key may count twice. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** As `take` of `Rate`, for this key. */
  take(key: Key, now: number, count = 1): number {
    if (count > this.#scale.burst) return Infinity;
    this.#age(now);
    const at = now * this.#scale.perMs;
    const known = this.#young.get(key);
    const due = settle(this.#scale, known ?? this.#old.get(key) ?? -Infinity, at);
    const wait = toWait(this.#scale, due, at, count);
    if (known === undefined && this.#young.size >= this.#half) this.#turn(now);
    this.#young.set(key, wait === 0 ? due + count : due);
    return wait;
  }

  #age(now: number): void {
    // A clock that went back would keep everything until it has caught up.
    if (now < this.#bornAt) this.#bornAt = now;
    const age = now - this.#bornAt;
    if (age < this.#fullMs) return;
    // The young are at most this old too, as every take would have turned them over.
    if (age >= 2 * this.#fullMs) this.#young.clear();
    this.#turn(now);
  }

  #turn(now: number): void {
    const forgotten = this.#old;
    forgotten.clear();
    this.#old = this.#young;
    this.#young = forgotten;
    this.#bornAt = now;
  }
}

/**
 * How many are inside at once, by key: the sessions of a user, or of an address.
 *
 * Has an entry for each key that has somebody inside, and no others: what bounds those inside bounds this.
 */
export class Concurrency<Key = string> {
  readonly #limit: number;
  readonly #inside = new Map<Key, number>();

  /** @param limit how many may be inside with one key */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many keys have somebody inside. */
  get size(): number {
    return this.#inside.size;
  }

  /** How many are inside with this key. */
  count(key: Key): number {
    return this.#inside.get(key) ?? 0;
  }

  /** Whether there is no room for one more. */
  isFull(key: Key): boolean {
    return this.count(key) >= this.#limit;
  }

  /** Counts one more, also beyond the limit. Whoever enters owes exactly one `leave`. */
  enter(key: Key): void {
    this.#inside.set(key, this.count(key) + 1);
  }

  /** Makes room again. Where nobody is inside it does nothing, so a count never falls below 0, which would let more in. */
  leave(key: Key): void {
    const count = this.count(key);
    if (count > 1) this.#inside.set(key, count - 1);
    else this.#inside.delete(key);
  }
}
