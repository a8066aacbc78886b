/**
 * Makes dist/server-push: one file that runs where there is neither Node nor Bun. And the library's package, see client.ts.
 *
 *   npm run build              for this machine
 *   npm run build -- --all     for every target, named after it, with a SHA256SUMS
 *
 * `--minify` stays off: it breaks Elysia's reading of its handlers' sources. The binary must read no .env and no
 * bunfig.toml from wherever it is started, as either could run code in it.
 */
import { $, CryptoHasher } from "bun";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";

const root = join(import.meta.dir, "../..");
const dist = join(root, "dist");

const targets = [
  "linux-x64",
  "linux-arm64",
  "linux-x64-musl",
  "linux-arm64-musl",
  "darwin-x64",
  "darwin-arm64",
  "windows-x64",
  "windows-arm64",
];

/** What runs in a worker of its own. In the binary all of it lies in one folder, so no two may have the same name. */
const workers = ["src/journal/sqlite-writer.ts", "src/webhook/post-worker.ts"];
const entries = ["src/main.ts", ...workers];

/** Enough for the largest message that `--max-message` allows by default, each byte percent-encoded, in a GET. */
const maxHeaderSize = 262144;

const argv = process.argv.slice(2);
const unknown = argv.filter((argument) => argument !== "--all");
if (unknown.length > 0) {
  process.stderr.write(`${unknown.join(" ")}: unknown, expected --all or nothing\n`);
  process.exit(2);
}
const commit = await readCommit();
await mkdir(dist, { recursive: true });
await $`${process.execPath} src/build/client.ts`.cwd(root);
if (argv.length === 0) await compile("server-push");
else await compileAll();

async function compileAll(): Promise<void> {
  const sums: string[] = [];
  for (const target of targets) {
    const name = `server-push-${target}${target.startsWith("windows") ? ".exe" : ""}`;
    await compile(name, target);
    const hasher = new CryptoHasher("sha256").update(await Bun.file(join(dist, name)).bytes());
    sums.push(`${hasher.digest("hex")}  ${name}\n`);
  }
  await Bun.write(join(dist, "SHA256SUMS"), sums.join(""));
}

async function compile(name: string, target?: string): Promise<void> {
  // Made beside its place and moved there, so that a running one can be replaced and a half-written one is never seen.
  const unfinished = join(dist, `.unfinished-${process.pid}-${name}`);
  const flags = [
    "--compile",
    ...(target === undefined ? [] : [`--target=bun-${target}`]),
    "--bytecode",
    "--format=esm",
    "--sourcemap",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    `--compile-exec-argv=--max-http-header-size=${maxHeaderSize}`,
    `--define=BUILD_COMMIT=${JSON.stringify(commit)}`,
    // A worker is found beside the file that starts it, in the source and in the binary alike.
    "--entry-naming=[name].[ext]",
    `--outfile=${unfinished}`,
  ];
  await $`${process.execPath} build ${flags} ${entries}`.cwd(root).quiet();
  await rename(unfinished, join(dist, name));
  // The binary has these inside.
  await rm(`${unfinished}.map`, { force: true });
  for (const worker of workers) await rm(join(dist, `${basename(worker, ".ts")}.js.map`), { force: true });
  process.stdout.write(`dist/${name}\n`);
}

/** The short commit, with a mark when the tree has changes on top; "unknown" outside a checkout. */
async function readCommit(): Promise<string> {
  const revision = await $`git rev-parse --short HEAD`.cwd(root).quiet().nothrow();
  if (revision.exitCode !== 0) return "unknown";
  const changes = await $`git status --porcelain`.cwd(root).quiet().nothrow();
  return revision.text().trim() + (changes.text() === "" ? "" : "+changes");
}
