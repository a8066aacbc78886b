/** Says what is wrong, a line each, and gives the exit status. */
export function fail(status: number, ...lines: readonly string[]): number {
  for (const line of lines) process.stderr.write(`server-push: ${line}\n`);
  return status;
}
