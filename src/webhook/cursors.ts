/**
 * Up to where each webhook has taken the events, in a file beside the log, so that it goes on there after a restart.
 *
 * The file is written anew every second at the most: what was taken in the last second before a crash is sent again, with the same id.
 */
import { rename } from "node:fs/promises";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";
import { mostExcept, type Place } from "./places.ts";

export interface CursorsParts {
  readonly path: string;
  /** Of the log that the places are in: those of another one are worth nothing. */
  readonly epoch: string;
  readonly logger: Logger;
  /** Where each webhook, by its name, is now. */
  readonly read: () => ReadonlyMap<string, Place>;
}

const saveMs = 1000;

export class Cursors {
  readonly #parts: CursorsParts;
  readonly #timer: Timer;
  #saved = "";
  #saving: Promise<void> = Promise.resolve();
  #isFailing = false;

  constructor(parts: CursorsParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.save(), saveMs);
    this.#timer.unref();
  }

  /** Writes them down, if there is anything new. */
  async save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save());
    await this.#saving;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.save();
  }

  async #save(): Promise<void> {
    const { path, epoch, logger, read } = this.#parts;
    const text = JSON.stringify({ epoch, webhooks: Object.fromEntries(read()) } satisfies Saved);
    if (text === this.#saved) return;
    try {
      await Bun.write(`${path}.new`, text, { mode: 0o600 });
      await rename(`${path}.new`, path);
      this.#saved = text;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing)
        logger.error(
          "it cannot be written down up to where webhooks have the events: after a restart they get some again",
          { path, reason: error instanceof Error ? error.message : String(error) },
        );
      this.#isFailing = true;
    }
  }
}

/** What the file says. */
export interface Known {
  readonly places: ReadonlyMap<string, Place>;
  /** Why it says nothing although it should. */
  readonly problem?: string;
}

interface Saved {
  readonly epoch: string;
  readonly webhooks: Readonly<Record<string, Place>>;
}

/** @param log of which the places must be. Without a file there are none, and that is no problem: it is the first start with a webhook */
export async function readPlaces(
  path: string,
  log: { readonly epoch: string; readonly head: Offset },
): Promise<Known> {
  const none = new Map<string, Place>();
  const file = Bun.file(path);
  if (!(await file.exists())) return { places: none };
  const saved = parse(await file.text());
  if (saved === undefined) return { places: none, problem: `${path} is damaged` };
  if (saved.epoch !== log.epoch) return { places: none, problem: `${path} is of another log of events` };
  const places = new Map(Object.entries(saved.webhooks));
  for (const { after } of places.values())
    if (after > log.head) return { places: none, problem: `${path} is ahead of the log of events` };
  return { places };
}

function parse(text: string): Saved | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isSaved(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isSaved(value: unknown): value is Saved {
  if (!isObject(value) || typeof value["epoch"] !== "string" || !isObject(value["webhooks"])) return false;
  return Object.values(value["webhooks"]).every(
    (place) =>
      isObject(place) &&
      isOffset(place["after"]) &&
      Array.isArray(place["except"]) &&
      place["except"].length <= mostExcept &&
      place["except"].every(isOffset),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOffset(value: unknown): value is Offset {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
