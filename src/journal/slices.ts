/**
 * Work that is done for one message after the other, so much of it in one turn of the event loop, and the rest in the next ones: what
 * is handed over in one turn waits for its sockets until the turn is over, so a batch that came as a whole would make readers slow
 * that are not, and hold up everything else.
 */

import type { Draft } from "../message.ts";

/** For how long messages are handed over before everything else has its turn. */
const turnMs = 4;

/** How much of them when nobody says otherwise. */
export const defaultTurnBytes = 64 * 1024;

/** About what a message takes on the wire. */
export function toWireSize({ body }: Draft): number {
  return 64 + body.length;
}

export interface Job {
  /** How many messages there are. */
  readonly count: number;
  /** Does it for one of them, and gives its bytes. Must not throw. */
  step(index: number): number;
  /** All of them are done. */
  done(): void;
}

export class Slices {
  readonly #turnBytes: number;
  readonly #jobs: { readonly job: Job; next: number }[] = [];
  #used = 0;
  #scheduled = false;

  /** @param turnBytes how much may be done in one turn */
  constructor(turnBytes: number) {
    this.#turnBytes = turnBytes;
  }

  /** Whether so many bytes may be handed over at once, without a job: nothing waits, and this turn has room for them. */
  take(bytes: number): boolean {
    if (this.#jobs.length > 0) return false;
    this.#used += bytes;
    return this.#used <= this.#turnBytes;
  }

  /** Does the job after all those before it. */
  add(job: Job): void {
    this.#jobs.push({ job, next: 0 });
    if (!this.#scheduled) this.#run(this.#turnBytes, performance.now() + turnMs);
  }

  /** Does all that waits, now. */
  finish(): void {
    this.#run(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  #run(bytes: number, until: number): void {
    for (let current = this.#jobs[0]; current !== undefined; current = this.#jobs[0]) {
      const { job } = current;
      while (current.next < job.count) {
        if (this.#used >= bytes || performance.now() >= until) return this.#schedule();
        this.#used += job.step(current.next++);
      }
      this.#jobs.shift();
      job.done();
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#used = 0;
      this.#run(this.#turnBytes, performance.now() + turnMs);
    });
  }
}
