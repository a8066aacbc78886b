/**
 * Runs the project's own Bun, after installing it and every dependency where they are missing.
 *
 * This is the one file that plain Node can run: `npm start` on a machine with Node and npm only ends up here. What it
 * installs is what bun.lock says, through the npm registry that npm is set up for. A stamp in node_modules remembers
 * which lock was installed, so that later starts ask nobody.
 *
 *   node src/build/bun.mjs [arguments for bun]
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const modules = join(root, "node_modules");
const stamp = join(modules, ".installed");
const bun = join(modules, "bun", "bin", "bun.exe"); // this very name on every platform: the package has it so
const manifest = readFileSync(join(root, "package.json"), "utf8");
const wanted = createHash("sha256")
  .update(manifest)
  .update(readFileSync(join(root, "bun.lock")))
  .digest("hex");

if (!existsSync(bun) || !existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) install();
run(process.argv.slice(2));

function install() {
  const version = JSON.parse(manifest).devDependencies.bun;
  const installation = ["install", "--frozen-lockfile"];
  process.stderr.write(`Installing Bun ${version} and the locked dependencies...\n`);
  // Under Bun of the right version (`bun start`), npm may not be there, and is not needed.
  if (process.versions.bun === version) execute(process.execPath, installation);
  else execute("npm", ["exec", "--yes", `--package=bun@${version}`, "--", "bun", ...installation]);
  // The package's own install step puts the binary in place; where scripts of packages are not run, run it here.
  if (spawnSync(bun, ["--version"], { encoding: "utf8" }).stdout?.trim() !== version)
    execute(process.execPath, [join(modules, "bun", "install.js")]);
  writeFileSync(stamp, wanted);
}

function execute(command, argv) {
  // npm is a .cmd file on Windows, which only a shell can start; every argument here is our own.
  const shell = process.platform === "win32" && command === "npm";
  const { status, error } = spawnSync(command, argv, { cwd: root, stdio: ["ignore", 2, 2], shell });
  if (status === 0) return;
  process.stderr.write(
    `${[command, ...argv].join(" ")} failed: ${error?.message ?? `exit status ${status}`}\n`,
  );
  process.exit(1);
}

function run(argv) {
  const child = spawn(bun, argv, { stdio: "inherit" });
  // A terminal sends Ctrl-C to the whole group, so the child has it already; a second copy would mean "end at once".
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  // A killed npm takes only its shell with it; what it started must not live on without it and keep the port. It is told once:
  // to be told twice means "end at once".
  const parent = process.ppid;
  const watch = setInterval(() => process.ppid === parent || stop(), 500).unref();
  const stop = () => {
    clearInterval(watch);
    child.kill("SIGTERM");
  };
  process.on("SIGTERM", stop);
  // A server reads its keys and certificates again.
  process.on("SIGHUP", () => child.kill("SIGHUP"));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
