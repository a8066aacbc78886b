/**
 * The Node that the library has to run in: the one of this machine, where it is new enough, else one from the registry.
 */
import { run } from "./process.ts";

const least = 22;
/** What the registry has of Node itself: a file for each platform. */
const platform = `${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
const packaged = `node-${platform}@22.23.3`;

/** The path of a Node that is new enough; or nothing where there is none, and then says so. With CI=true that is an error. */
export async function findNode(): Promise<string | undefined> {
  const own = await ask(["node"]);
  if (own !== undefined) return own;
  const fetched = await ask([
    "npm",
    "exec",
    "--yes",
    "--prefer-offline",
    `--package=${packaged}`,
    "--",
    "node",
  ]);
  if (fetched !== undefined) return fetched;
  if (process.env["CI"] === "true") throw new Error(`Node ${least} is missing, and so is ${packaged}`);
  process.stdout.write(`MISSING: Node ${least} or later: the tests that need it are skipped\n`);
  return undefined;
}

async function ask([name = "", ...rest]: readonly string[]): Promise<string | undefined> {
  const path = Bun.which(name);
  if (path === null) return undefined;
  const { stdout } = await run([path, ...rest, "-p", "`${process.versions.node} ${process.execPath}`"]);
  const [, major, found] = /^(\d+)\.\S+ (.+)$/m.exec(stdout) ?? [];
  return Number(major) >= least ? found : undefined;
}
