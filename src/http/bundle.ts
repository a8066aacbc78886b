/**
 * What browsers run, as text: a macro, which runs when the code that calls it is read, from source as in the build, and whose result stands
 * in place of the call. So it is in the executable, and a start from source has it too.
 *
 *   import { bundle } from "./bundle.ts" with { type: "macro" };
 *   const script = bundle("client/script.ts", "iife");
 */
import { join } from "node:path";

/**
 * @param entry  a file in src
 * @param format `iife` for a classic script, `esm` for a module
 */
export function bundle(entry: string, format: "iife" | "esm"): string {
  const source = join(import.meta.dir, "..");
  // In a macro, the API of the bundler would wait for itself.
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, "build", "--minify", "--target=browser", `--format=${format}`, join(source, entry)],
    { cwd: source },
  );
  if (exitCode !== 0) throw new Error(`${entry} cannot be bundled: ${stderr}`);
  return stdout.toString();
}
