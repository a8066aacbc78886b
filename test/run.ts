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
/** The same, but nothing may run beside it: it is about who is held up by what. */
const loadSuite = "hardening";
/** What waits for a browser most of the time. */
const browserSuites = ["client", "console"];
const browserFile = /^(browser|library)[-.]/;

const chosen = process.argv.slice(2);
const reports = await mkdtemp(join(tmpdir(), "server-push-test-"));
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
try {
  installMissing();
  if (chosen.length > 0) add(await suite("source", chosen, {}));
  else {
    add(runChecks());
    build();
    const [browsers, others] = await divide();
    const compiled = { TEST_BINARY: compiledFile };
    const beside = suite("browsers", browsers, {}, "afterwards");
    add(await suite("source", others, {}));
    add(await suite("compiled", serverSuites.map(toPath), compiled));
    add(await beside);
    add(await suite("load", [toPath(loadSuite)], compiled));
  }
} finally {
  await rm(reports, { recursive: true });
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

function toPath(name: string): string {
  return join("test", name);
}

/** Files and folders that need a browser, and all that are in no suite of their own. */
async function divide(): Promise<[browsers: string[], others: string[]]> {
  const folders = await readdir(join(root, "test"));
  const e2e = (await readdir(join(root, "test/e2e"))).map((name) => join("e2e", name));
  const apart = new Set([...serverSuites, ...browserSuites, loadSuite, "e2e"]);
  const browsers = [...browserSuites.filter((name) => folders.includes(name)), ...e2e.filter(isBrowser)];
  const others = folders.filter((name) => !apart.has(name));
  return [
    browsers.map(toPath),
    [...others, ...e2e.filter((path) => path.endsWith(".test.ts") && !isBrowser(path))].map(toPath),
  ];
}

function isBrowser(path: string): boolean {
  return browserFile.test(basename(path));
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
