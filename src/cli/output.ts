import { toEscapes } from "../errors.ts";

/** Says what is wrong, a line each, and gives the exit status. */
export function fail(status: number, ...lines: readonly string[]): number {
  for (const line of lines) note(line);
  return status;
}

/** Writes the output, and gives the exit status: a full disk or a reader who is gone is a failure too. */
export async function print(text: string): Promise<number> {
  try {
    await Bun.write(Bun.stdout, text);
    return 0;
  } catch (error) {
    return failToWrite(error);
  }
}

/** What may wait for a reader of our output before the lines are full, in characters. */
const maxWaiting = 4 * 1024 * 1024;

/**
 * Standard output as lines that go out as they come. What its reader has not taken yet waits here: whoever writes has to stop
 * while the lines are full, or there is no bound to it.
 */
export class Lines {
  readonly #sink = Bun.stdout.writer();
  #waiting: string[] = [];
  /** The characters in `waiting`, and those that are being written. */
  #size = 0;
  #writing: Promise<void> | undefined = undefined;

  get areFull(): boolean {
    return this.#size > maxWaiting;
  }

  add(line: string): void {
    this.#waiting.push(`${line}\n`);
    this.#size += line.length + 1;
    this.#writing ??= this.#write();
  }

  /** Resolves when everything is written. */
  async written(): Promise<void> {
    await this.#writing;
  }

  /** Ends the process when nobody reads any more, as `head` does after its last line: then all is well. */
  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const text = this.#waiting.join("");
        this.#waiting = [];
        await this.#sink.write(text);
        await this.#sink.flush();
        this.#size -= text.length;
      }
      this.#writing = undefined;
    } catch (error) {
      const isReaderGone = error instanceof Error && "code" in error && error.code === "EPIPE";
      process.exit(isReaderGone ? 0 : failToWrite(error));
    }
  }
}

function failToWrite(error: unknown): number {
  return fail(1, `cannot write the output: ${error instanceof Error ? error.message : error}`);
}

/** Says something beside the output; what a server or a caller put into it cannot act on the terminal. */
export function note(line: string): void {
  process.stderr.write(`server-push: ${line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, toEscapes)}\n`);
}
