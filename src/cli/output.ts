import { toEscapes } from "../errors.ts";

/** Says what is wrong, a line each, and gives the exit status. */
export function fail(status: number, ...lines: readonly string[]): number {
  for (const line of lines) note(line);
  return status;
}

/** Says something beside the output; what a server or a caller put into it cannot act on the terminal. */
export function note(line: string): void {
  process.stderr.write(`server-push: ${line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, toEscapes)}\n`);
}
