/**
 * What one user and one address may take of the server: how many sessions at once, and how many of them they may begin in a second. And
 * how many messages one publisher may push.
 *
 * An address is as `toAddressKey` gives it. Programs on this machine have none: behind a proxy that is not in `--trusted-proxies`
 * everybody would be one of them.
 */
import { OverLimit, PushError, quote } from "./errors.ts";
import { Concurrency, Rates } from "./rates.ts";

/** Who wants a session, or has one. */
export interface Claimant {
  readonly userid?: string;
  readonly address?: string;
}

export interface QuotasOptions {
  readonly maxPerUser: number;
  readonly maxPerAddress: number;
  /** How many sessions an address may begin in a second, over time. */
  readonly perSecond: number;
  /** Milliseconds, on a clock that never goes back. */
  readonly now?: () => number;
}

/** For how many seconds' worth at once: a page with many frames, an office after a restart. */
const burstSeconds = 10;
const maxKeys = 100_000;

export class Quotas {
  readonly #options: Required<QuotasOptions>;
  readonly #rates: Rates;
  readonly #users: Concurrency;
  readonly #addresses: Concurrency;

  constructor({ now = () => performance.now(), ...options }: QuotasOptions) {
    const { maxPerUser, maxPerAddress, perSecond } = options;
    this.#options = { now, ...options };
    this.#rates = new Rates({ rate: perSecond, burst: burstSeconds * perSecond, maxKeys });
    this.#users = new Concurrency(maxPerUser);
    this.#addresses = new Concurrency(maxPerAddress);
  }

  /**
   * The address asks for a session.
   *
   * @throws PushError `rate_limited`
   */
  throttle(address: string): void {
    const { now, perSecond } = this.#options;
    const waitMs = this.#rates.take(address, now());
    if (waitMs > 0)
      throw new OverLimit(
        "rate_limited",
        "max-session-rate",
        `${address} begins too many sessions, the limit is ${perSecond} a second`,
        waitMs,
      );
  }

  /** @throws PushError `quota_exceeded` */
  check({ userid, address }: Claimant): void {
    const { maxPerUser, maxPerAddress } = this.#options;
    if (userid !== undefined && this.#users.isFull(userid))
      throw new OverLimit(
        "quota_exceeded",
        "max-sessions-per-user",
        `the user ${quote(userid)} has ${maxPerUser} sessions, which is the limit for one`,
      );
    if (address !== undefined && this.#addresses.isFull(address))
      throw new OverLimit(
        "quota_exceeded",
        "max-sessions-per-address",
        `${address} has ${maxPerAddress} sessions, which is the limit for one`,
      );
  }

  /** A session has begun; `leave` is owed for it. */
  enter({ userid, address }: Claimant): void {
    if (userid !== undefined) this.#users.enter(userid);
    if (address !== undefined) this.#addresses.enter(address);
  }

  leave({ userid, address }: Claimant): void {
    if (userid !== undefined) this.#users.leave(userid);
    if (address !== undefined) this.#addresses.leave(address);
  }
}

export interface PushRatesOptions {
  /** How many messages a publisher may push in a second, over time. */
  readonly perSecond: number;
  /** Milliseconds, on a clock that never goes back. */
  readonly now?: () => number;
}

export class PushRates {
  readonly #perSecond: number;
  readonly #now: () => number;
  readonly #burst: number;
  readonly #rates: Rates<string | undefined>;

  constructor({ perSecond, now = () => performance.now() }: PushRatesOptions) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#burst = burstSeconds * perSecond;
    this.#rates = new Rates({ rate: perSecond, burst: this.#burst, maxKeys });
  }

  /**
   * The publisher pushes so many messages, all or none of them; without a name it is one with all that have none.
   *
   * @throws PushError `rate_limited`, or `too_large` for more than are ever taken at once; and then none of them counts
   */
  take(publisher: string | undefined, count: number): void {
    const limit = `the limit is ${this.#perSecond} a second`;
    if (count > this.#burst)
      throw new PushError(
        "too_large",
        `the batch has ${count} messages and ${limit}, expected at most ${this.#burst} at once`,
      );
    const waitMs = this.#rates.take(publisher, this.#now(), count);
    if (waitMs === 0) return;
    throw new OverLimit(
      "rate_limited",
      "max-push-rate",
      publisher === undefined
        ? `too many messages are pushed, ${limit}`
        : `too many messages are pushed by this API key or user, ${limit} for each`,
      waitMs,
    );
  }
}
