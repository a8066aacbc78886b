/**
 * Makes dist/client.mjs and dist/client.d.ts: the library for pages as the npm package has it, `server-push/client`.
 *
 * `npm run build` and `npm pack` run it.
 */
import { build } from "bun";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

await build({
  entrypoints: [join(root, "src/client/module.ts")],
  outdir: join(root, "dist"),
  naming: "client.mjs",
  target: "browser",
  format: "esm",
  minify: true,
});
await copyFile(join(root, "src/client/contract.d.ts"), join(root, "dist/client.d.ts"));
