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
    return fail(1, `cannot write the output: ${error instanceof Error ? error.message : error}`);
  }
}

/** Says something beside the output; what a server or a caller put into it cannot act on the terminal. */
export function note(line: string): void {
  process.stderr.write(`server-push: ${line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, toEscapes)}\n`);
}
