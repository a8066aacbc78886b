/**
 * Types, format and lint: what needs no running. `npm run check`; also the first part of `npm test`.
 */
import { root } from "./support/process.ts";

const checks = {
  types: ["check", "--no-script"],
  format: ["fmt", "--no-script", "--check"],
  lint: ["x", "oxlint", "--deny-warnings"],
};

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs every check, also after one has failed. */
export function runChecks(): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, command] of Object.entries(checks)) {
    process.stdout.write(`check: ${name}\n`);
    const { exitCode } = Bun.spawnSync([process.execPath, ...command], {
      cwd: root,
      stdout: "inherit",
      stderr: "inherit",
    });
    counts[exitCode === 0 ? "passed" : "failed"]++;
  }
  return counts;
}

if (import.meta.main) process.exitCode = runChecks().failed === 0 ? 0 : 1;
