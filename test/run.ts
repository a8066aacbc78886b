/**
 * The whole proof: the checks, and the tests, which talk to the compiled file, as that is what people run. Ends with one line that
 * counts it all.
 *
 *   npm test                      everything
 *   npm test -- test/http         only these files, against the source
 */
import type { Subprocess } from "bun";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Counts, runChecks } from "./check.ts";
import { compiledFile, root } from "./support/process.ts";
import { installMissing } from "./support/system.ts";

/** What is about figures, memory or who is held up by what: nothing may run beside it. */
const alone = {
  source: /^webhook\/|^e2e\/(storm|stalled|memory|jitter)\./,
  compiled: /^hardening\/(?!fuzz)/,
};
/** What looks into the source. */
const source = /^[^/]*$|^(auth|journal)\//;
/** All else waits most of the time: for browsers, for processes, for clients that come back; and longer, beside each other. */
const together = { two: ["--parallel=2"], four: ["--parallel=4"] };
/** A test that takes longer has failed, and so has a suite: one of its tests may be in a loop without an end. */
const testMs = 60_000;
const suiteMs = 600_000;
const stopMs = 5000;

const chosen = process.argv.slice(2);
const reports = await mkdtemp(join(tmpdir(), "server-push-test-"));
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
/** What runs just now; whether it was told to stop. */
let running: Subprocess | undefined;
let isStopped = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    isStopped = true;
    stop();
  });
try {
  installMissing();
  if (chosen.length > 0) add(await suite("from source", chosen, {}));
  else {
    add(runChecks());
    build();
    const compiled = { TEST_BINARY: compiledFile };
    const tests = Array.from(new Bun.Glob("**/*.test.ts").scanSync(join(root, "test"))).toSorted();
    const kinds = Object.groupBy(tests, (path) => {
      if (alone.source.test(path)) return "figures";
      if (alone.compiled.test(path)) return "compiled";
      return source.test(path) ? "source" : "together";
    });
    add(await suite("from source", toPaths(kinds.source), {}, together.two));
    add(await suite("figures", toPaths(kinds.figures), {}));
    add(await suite("under load", toPaths(kinds.compiled), compiled));
    add(await suite("together", toPaths(kinds.together), compiled, together.four));
  }
} finally {
  await rm(reports, { recursive: true });
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

function toPaths(names: readonly string[] = []): readonly string[] {
  return names.map((name) => join("test", name));
}

function build(): void {
  const { exitCode } = Bun.spawnSync([process.execPath, "src/build/compile.ts"], {
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  });
  if (exitCode !== 0) total.failed++;
}

/** Runs these files with Bun's test runner, and counts by its JUnit report. */
async function suite(
  name: string,
  files: readonly string[],
  environment: Record<string, string>,
  options: readonly string[] = [],
): Promise<Counts> {
  if (isStopped) return { passed: 0, failed: 1, skipped: 0 };
  const report = join(reports, `${name}.xml`);
  const flags = [`--timeout=${testMs}`, "--reporter=junit", `--reporter-outfile=${report}`];
  const command = ["test", ...options, ...files, ...flags];
  process.stdout.write(`\ntests: ${name}\n`);
  running = Bun.spawn([process.execPath, ...command], {
    cwd: root,
    // As the server is started, in all processes of a run that has several; and where a test that was left to run alone is refused.
    env: { CI: "1", ...process.env, BUN_OPTIONS: "--max-http-header-size=262144", ...environment },
    stdout: "inherit",
    stderr: "inherit",
    // A group of its own.
    detached: true,
  });
  const { pid, exited } = running;
  const timer = setTimeout(() => {
    process.stdout.write(`\n${name}: not over in ${suiteMs / 1000} s\n`);
    stop();
  }, suiteMs);
  const exitCode = await exited;
  clearTimeout(timer);
  endGroup(pid);
  const [, tests, failures, skipped] =
    /<testsuites[^>]* tests="(\d+)"[^>]* failures="(\d+)"[^>]* skipped="(\d+)"/.exec(
      await Bun.file(report)
        .text()
        .catch(() => ""),
    ) ?? [];
  // A run that dies, or ends itself, makes no report; a file that cannot be loaded is in none.
  if (tests === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const failed = Number(failures);
  return {
    passed: Number(tests) - failed - Number(skipped),
    failed: exitCode === 0 ? failed : Math.max(failed, 1),
    skipped: Number(skipped),
  };
}

/** Lets what runs say what it was at; what does not end by itself is ended. */
function stop(): void {
  if (running === undefined) return;
  const { pid } = running;
  running.kill("SIGTERM");
  setTimeout(() => endGroup(pid), stopMs).unref();
}

/** Ends what tests that have failed have left behind. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // There is nothing left.
  }
}

function add(counts: Counts): void {
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
}
