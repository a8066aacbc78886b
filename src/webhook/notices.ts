/**
 * Lines of the log about what can happen thousands of times a second: the first at once, then at most one a minute, which says how often
 * it happened in between.
 */
import type { LogFields, Logger } from "../logger.ts";

const quietMs = 60_000;

export type Lines = Pick<Logger, "warn" | "info">;

export class Notices {
  readonly #logger: Lines;
  readonly #fields: LogFields;
  readonly #quiet = new Map<string, { until: number; unsaid: number }>();
  #hasTrouble = false;

  /** @param fields what every line has */
  constructor(logger: Lines, fields: LogFields) {
    this.#logger = logger;
    this.#fields = fields;
  }

  warn(event: string, fields: LogFields): void {
    const now = performance.now();
    const quiet = this.#quiet.get(event);
    if (quiet !== undefined && now < quiet.until) {
      quiet.unsaid++;
      return;
    }
    this.#hasTrouble = true;
    const more = quiet === undefined || quiet.unsaid === 0 ? {} : { more: quiet.unsaid };
    this.#logger.warn(event, { ...this.#fields, ...fields, ...more });
    this.#quiet.set(event, { until: now + quietMs, unsaid: 0 });
  }

  /** Says that it is over, where there was something to say before. */
  over(event: string, fields: LogFields): void {
    if (!this.#hasTrouble) return;
    this.#hasTrouble = false;
    this.#logger.info(event, { ...this.#fields, ...fields });
  }
}
