/**
 * Up to where each webhook has taken the events, in a file beside the log, so that it goes on there after a restart.
 *
 * The file is written anew every second at the most: what was taken in the last second before a crash is sent again, with the same id.
 */
import { rename } from "node:fs/promises";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";

export interface CursorsParts {
  readonly path: string;
  /** Of the log that the places are in: those of another one are worth nothing. */
  readonly epoch: string;
  readonly logger: Logger;
  /** Where each webhook, by its name, is now. */
  readonly read: () => Readonly<Record<string, Offset>>;
}

const saveMs = 1000;

export class Cursors {
  readonly #parts: CursorsParts;
  readonly #timer: Timer;
  #saved = "";
  #saving: Promise<void> = Promise.resolve();

  constructor(parts: CursorsParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.save(), saveMs);
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
    const text = JSON.stringify({ epoch, cursors: read() });
    if (text === this.#saved) return;
    try {
      await Bun.write(`${path}.new`, text, { mode: 0o600 });
      await rename(`${path}.new`, path);
      this.#saved = text;
    } catch (error) {
      logger.error("where the webhooks are cannot be written down", {
        path,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

/** What was written down; nothing, where there is no such file, or one of another log, or one that is damaged. */
export async function readCursors(path: string, epoch: string): Promise<ReadonlyMap<string, Offset>> {
  try {
    const saved: unknown = await Bun.file(path).json();
    if (!isSaved(saved) || saved.epoch !== epoch) return new Map();
    return new Map(
      Object.entries(saved.cursors).flatMap(([name, offset]) =>
        typeof offset === "number" && Number.isSafeInteger(offset) ? [[name, offset] as const] : [],
      ),
    );
  } catch {
    return new Map();
  }
}

function isSaved(value: unknown): value is { readonly epoch: string; readonly cursors: object } {
  return (
    typeof value === "object" &&
    value !== null &&
    "epoch" in value &&
    typeof value.epoch === "string" &&
    "cursors" in value &&
    typeof value.cursors === "object" &&
    value.cursors !== null
  );
}
