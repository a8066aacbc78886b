/**
 * What browsers run, as text: a macro, which runs when the code that calls it is read, from source as in the build, and whose result stands
 * in place of the call. So it is in the executable, and a start from source has it too.
 *
 *   import { bundle } from "./bundle.ts" with { type: "macro" };
 *   const script = bundle("client/script.ts", "iife");
 */
import { join } from "node:path";
import { minify_sync as minify } from "terser";

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

/** The same for what every page loads: in the fewest bytes that there are, for a second more of building. */
export function bundleSmall(entry: string, format: "iife" | "esm"): string {
  const { code } = minify(bundle(entry, format), {
    module: true,
    ecma: 2020,
    // What is unsafe is so where built-ins are replaced, or functions are asked for their source.
    compress: { passes: 4, unsafe: true, unsafe_arrows: true, hoist_funs: true },
  });
  if (code === undefined) throw new Error(`${entry} cannot be made smaller`);
  return code;
}
