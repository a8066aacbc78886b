/**
 * Up to where each webhook has taken the events, in a file beside the log, so that it goes on there after a restart.
 *
 * The file is written anew every second at the most: what was taken in the last second before a crash is sent again, with the same id.
 */
import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";

export interface CursorsParts {
  readonly path: string;
  /** Of the log that the places are in: those of another one are worth nothing. */
  readonly epoch: string;
  readonly logger: Logger;
  /** Where each webhook, by its name, is now. */
  readonly read: () => ReadonlyMap<string, Offset>;
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
    const text = JSON.stringify({ epoch, cursors: Object.fromEntries(read()) } satisfies Saved);
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
export interface Places {
  readonly cursors: ReadonlyMap<string, Offset>;
  /** Why it says nothing although it should. */
  readonly problem?: string;
}

interface Saved {
  readonly epoch: string;
  readonly cursors: Readonly<Record<string, Offset>>;
}

/** @param log of which the places must be. Without a file there are none, and that is no problem: it is the first start with a webhook */
export async function readPlaces(
  path: string,
  log: { readonly epoch: string; readonly head: Offset },
): Promise<Places> {
  const file = Bun.file(path);
  if (!(await file.exists())) return { cursors: new Map() };
  const saved = parse(await file.text());
  if (saved === undefined) return { cursors: new Map(), problem: `${path} is damaged` };
  if (saved.epoch !== log.epoch)
    return { cursors: new Map(), problem: `${path} belongs to another log of events than the one beside it` };
  const cursors = new Map(Object.entries(saved.cursors));
  for (const offset of cursors.values())
    if (offset > log.head) return { cursors: new Map(), problem: `${path} is ahead of the log of events` };
  return { cursors };
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
  return (
    typeof value === "object" &&
    value !== null &&
    "epoch" in value &&
    typeof value.epoch === "string" &&
    "cursors" in value &&
    typeof value.cursors === "object" &&
    value.cursors !== null &&
    Object.values(value.cursors).every((offset) => Number.isSafeInteger(offset) && offset >= 0)
  );
}

/** A URL without what it may have of a secret: its user, its query. */
export function toShown(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** What stands for a URL in the file: a path may be a secret too, and a secret in the query may be replaced by another. */
export function toName(url: string): string {
  return createHash("sha256").update(toShown(url)).digest("hex").slice(0, 16);
}
