/**
 * What a session sends, by how often it does: so much is taken, a frame too many is refused, and whoever goes on all the same is ended.
 *
 *   taken     `rate` a second, and ten seconds' worth at once
 *   refused   as many again: a client that is told may slow down
 *   ended     beyond that; being told would cost more than the frames, for as long as the client likes
 */
import { Rate, type RateLimit } from "../rates.ts";

export type Verdict = "taken" | "refused" | "ended";

const burstSeconds = 10;

export class Inflow {
  readonly #limit: RateLimit;
  readonly #taken: Rate;
  readonly #refused: Rate;
  #controls: Rate | undefined = undefined;

  /** @param rate how many frames may come in a second, over time */
  constructor(rate: number) {
    this.#limit = { rate, burst: burstSeconds * rate };
    this.#taken = new Rate(this.#limit);
    this.#refused = new Rate(this.#limit);
  }

  /** The same for pings, and pongs that were not asked for: each costs as much as a message. */
  judgeControl(now: number): Verdict {
    this.#controls ??= new Rate(this.#limit);
    return this.#controls.take(now) === 0 ? "taken" : "ended";
  }

  /** @param now in milliseconds, on a clock that does not go back */
  judge(now: number): Verdict {
    if (this.#taken.take(now) === 0) return "taken";
    return this.#refused.take(now) === 0 ? "refused" : "ended";
  }
}
