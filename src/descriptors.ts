/**
 * Whether the process is about to run out of file descriptors.
 *
 * Every connection takes one, also one that asks nothing. With none left, new connections wait in the kernel until others end, and Bun
 * tries to take them again and again; those that are there are served as before. Bun cannot be told to take no more, so this can only
 * say it: in the log, and to whatever asks whether more should come (/readyz).
 */
import { closeSync, openSync } from "node:fs";
import type { Logger } from "./logger.ts";

/** From so many of them on. */
const nearly = 0.95;

export interface DescriptorWatchParts {
  /** How many there can be. */
  readonly limit: number;
  readonly logger: Logger;
  /** The lowest one that is free, which is higher than all that are used as long as none was given back. */
  readonly findFree?: () => number;
}

export class DescriptorWatch {
  readonly #parts: Required<DescriptorWatchParts>;
  readonly #timer: Timer;
  #areScarce = false;

  /** @param checkMs how often it is looked at */
  constructor(parts: DescriptorWatchParts, checkMs = 1000) {
    this.#parts = { findFree, ...parts };
    this.#timer = setInterval(() => this.check(), checkMs).unref();
  }

  get areScarce(): boolean {
    return this.#areScarce;
  }

  check(): void {
    const { limit, logger, findFree: find } = this.#parts;
    const free = find();
    const areScarce = free >= limit * nearly;
    if (areScarce === this.#areScarce) return;
    this.#areScarce = areScarce;
    if (areScarce)
      logger.warn("nearly all file descriptors are used: new connections will have to wait", { limit });
    else logger.info("there are file descriptors again", { limit });
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function findFree(): number {
  try {
    const descriptor = openSync("/dev/null", "r");
    closeSync(descriptor);
    return descriptor;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
