/**
 * Types, format, lint and known vulnerabilities: what needs no running. `npm run check`; also the first part of `npm test`.
 *
 *   npm run check               all of it
 *   npm run check -- audit      some of it
 */
import { root } from "./support/process.ts";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

type Outcome = keyof Counts;

const checks: Readonly<Record<string, () => Outcome>> = {
  // What browsers run has their types, and not Bun's.
  types: () => executeAll(["check", "--no-script"], ["check", "--no-script", "-p", "src/console"]),
  format: () => execute(["fmt", "--no-script", "--check"]),
  lint: () => execute(["x", "oxlint", "--deny-warnings"]),
  audit,
};

/** Runs every check, or those of these names, also after one has failed. */
export function runChecks(names: readonly string[] = Object.keys(checks)): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const name of names) {
    process.stdout.write(`check: ${name}\n`);
    const outcome = checks[name]?.();
    if (outcome === undefined)
      process.stdout.write(`no such check, expected ${Object.keys(checks).join(", ")}\n`);
    counts[outcome ?? "failed"]++;
  }
  return counts;
}

function executeAll(...commands: readonly (readonly string[])[]): Outcome {
  const outcomes = commands.map(execute);
  return outcomes.includes("failed") ? "failed" : "passed";
}

function execute(command: readonly string[]): Outcome {
  const { exitCode } = Bun.spawnSync([process.execPath, ...command], {
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  });
  return exitCode === 0 ? "passed" : "failed";
}

/** A registry that takes the question and never answers must not hold up everything else. */
const auditMs = 20_000;

/** The form of what Bun says when the registry gave no answer that can be used, and of nothing that is wrong here. */
const noAnswer = /^error: .*https?:\/\//m;

/**
 * Asks the registry about everything in bun.lock that the server is made of. A vulnerability that is moderate or worse fails the
 * check: a low one is seldom within anybody's reach, and what only the tests use never meets a stranger's input.
 *
 * Many registries have no such answers, and there may be no network. Then nothing is known, which is not the same as well.
 */
function audit(): Outcome {
  const { exitCode, exitedDueToTimeout, stdout, stderr } = Bun.spawnSync(
    [process.execPath, "audit", "--production", "--audit-level=moderate", "--json"],
    { cwd: root, stdout: "pipe", stderr: "pipe", timeout: auditMs },
  );
  const said = stderr.toString().trim();
  const answer = toAdvisories(stdout.toString());
  if (answer !== undefined && said === "" && exitCode !== null) {
    for (const line of answer) process.stdout.write(`${line}\n`);
    return exitCode === 0 ? "passed" : "failed";
  }
  // A scope of another registry that says nothing is a part that is not known, though the rest may be well.
  const isUnknown = exitedDueToTimeout === true || noAnswer.test(said) || exitCode === 0;
  const why =
    exitedDueToTimeout === true
      ? `no answer within ${auditMs / 1000} s`
      : said.split("\n", 1)[0]?.replace("error: ", "");
  process.stdout.write(
    `audit: ${isUnknown ? "SKIPPED, the registry cannot tell" : "it could not run"}: ${why}\n`,
  );
  return isUnknown ? "skipped" : "failed";
}

interface Advisory {
  readonly severity: string;
  readonly title: string;
  readonly url: string;
}

/** A line for each that the registry has named, also where it is too low to count; `undefined` when it has not answered. */
function toAdvisories(output: string): readonly string[] | undefined {
  let named: unknown;
  try {
    named = JSON.parse(output);
  } catch {
    return undefined;
  }
  if (typeof named !== "object" || named === null || Array.isArray(named)) return undefined;
  // Bun has checked that these are lists of advisories, as npm's registry sends them.
  return Object.entries(named as Record<string, readonly Advisory[]>).flatMap(([name, advisories]) =>
    advisories.map(({ severity, title, url }) => `${name}: ${severity}: ${title} (${url})`),
  );
}

if (import.meta.main) {
  const names = process.argv.slice(2);
  const { passed, failed, skipped } = runChecks(names.length > 0 ? names : undefined);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}
