/**
 * Makes dist/npm, the package of the library for pages: `server-push/client`, with its types and without anything of the server.
 *
 *   npm run build && npm pack ./dist/npm
 */
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { bundleSmall } from "../http/bundle.ts";
import manifest from "../../package.json" with { type: "json" };

const root = join(import.meta.dir, "../..");
const folder = join(root, "dist/npm");

/** What it loads from its server is none of what a page's bundler has. */
const ofServer = "import(/* webpackIgnore: true */ /* @vite-ignore */ ";

const { name, version, license } = manifest;
const packed = {
  name,
  version,
  description: "The browser's side of server-push.",
  license,
  type: "module",
  sideEffects: false,
  exports: { "./client": { types: "./client.d.ts", default: "./client.mjs" } },
};

const parts = bundleSmall("client/package.ts", "esm").split("import(");
if (parts.length !== 2) throw new Error(`the library loads ${parts.length - 1} files, expected 1`);
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
await Bun.write(join(folder, "client.mjs"), parts.join(ofServer));
await Bun.write(join(folder, "package.json"), `${JSON.stringify(packed, undefined, 2)}\n`);
await copyFile(join(root, "src/client/contract.d.ts"), join(folder, "client.d.ts"));
for (const file of ["LICENSE", "README.md"]) await copyFile(join(root, file), join(folder, file));
