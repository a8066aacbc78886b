/**
 * The whole proof: the checks, the suite against the source, and the part of it that talks to a server against the
 * compiled file. Ends with one line that counts it all.
 *
 *   npm test                      everything
 *   npm test -- test/http         only these files, against the source
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Counts, runChecks } from "./check.ts";
import { compiledFile, root } from "./support/process.ts";
import { installMissing } from "./support/system.ts";

/** What talks to a server is proven of the compiled file, which is what people run; `npm test -- FOLDER` proves it of the source. */
const serverSuites = ["http", "receive", "cli"];
/** The same, but it is about who is held up by what: nothing may run beside it, but for what it only tries at random. */
const loadSuite = "hardening";
const tries = /^fuzz/;
/** What is about figures too, or about memory. */
const heavy = /^(storm|stalled|memory|jitter)\./;
/** What waits for browsers, and for clients that come back, most of the time; and so does the rest of e2e. */
const waitingSuites = ["client", "console"];

const chosen = process.argv.slice(2);
const reports = await mkdtemp(join(tmpdir(), "server-push-test-"));
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
try {
  installMissing();
  if (chosen.length > 0) add(await suite("source", chosen, {}));
  else {
    add(runChecks());
    build();
    const { alone, load, beside, waiting } = await divide();
    const compiled = { TEST_BINARY: compiledFile };
    add(await suite("source", alone, {}));
    add(await suite("load", load, compiled));
    const both = [suite("compiled", beside, compiled), suite("waiting", waiting, {}, "afterwards")];
    for (const counts of await Promise.all(both)) add(counts);
  }
} finally {
  await rm(reports, { recursive: true });
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

function toPath(name: string): string {
  return join("test", name);
}

/** All there is, by what may run beside what. */
async function divide(): Promise<Record<"alone" | "load" | "beside" | "waiting", readonly string[]>> {
  const folders = await readdir(join(root, "test"));
  const apart = new Set([...serverSuites, ...waitingSuites, loadSuite, "e2e"]);
  const others = folders.filter((name) => !apart.has(name));
  const e2e = Object.groupBy(await readTests("e2e"), (path) =>
    heavy.test(basename(path)) ? "alone" : "waiting",
  );
  const hardening = Object.groupBy(await readTests(loadSuite), (path) =>
    tries.test(basename(path)) ? "beside" : "load",
  );
  return {
    alone: [...others.map(toPath), ...(e2e.alone ?? [])],
    load: hardening.load ?? [],
    beside: [...serverSuites.map(toPath), ...(hardening.beside ?? [])],
    waiting: [...waitingSuites.map(toPath), ...(e2e.waiting ?? [])],
  };
}

async function readTests(folder: string): Promise<readonly string[]> {
  const names = await readdir(join(root, toPath(folder)));
  return names.filter((name) => name.endsWith(".test.ts")).map((name) => toPath(join(folder, name)));
}

function build(): void {
  const { exitCode } = Bun.spawnSync([process.execPath, "src/build/compile.ts"], {
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  });
  if (exitCode !== 0) total.failed++;
}

/**
 * Runs these files with Bun's test runner, and counts by its JUnit report.
 *
 * @param shown when it says what it says: beside another suite, only when it is over
 */
async function suite(
  name: string,
  files: readonly string[],
  environment: Record<string, string>,
  shown: "live" | "afterwards" = "live",
): Promise<Counts> {
  const report = join(reports, `${name}.xml`);
  const command = [
    "--max-http-header-size=262144",
    "test",
    ...files,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ];
  const isLive = shown === "live";
  if (isLive) process.stdout.write(`\ntests: ${name}\n`);
  const child = Bun.spawn([process.execPath, ...command], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdout: isLive ? "inherit" : "pipe",
    stderr: isLive ? "inherit" : "pipe",
  });
  const said = [child.stdout, child.stderr].map((stream) => stream?.text());
  const exitCode = await child.exited;
  if (!isLive) process.stdout.write(`\ntests: ${name}\n${(await Promise.all(said)).join("")}`);
  const [, tests, failures, skipped] =
    /<testsuites[^>]* tests="(\d+)"[^>]* failures="(\d+)"[^>]* skipped="(\d+)"/.exec(
      await Bun.file(report)
        .text()
        .catch(() => ""),
    ) ?? [];
  const failed = Number(failures ?? 0);
  // A file that cannot be loaded, or a run that dies, is in no report.
  if (exitCode !== 0 && failed === 0) return { passed: 0, failed: 1, skipped: 0 };
  return { passed: Number(tests) - failed - Number(skipped), failed, skipped: Number(skipped) };
}

function add(counts: Counts): void {
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
}
