/**
 * Which build this is. The compiled file has both constants put in by src/build/compile.ts; run from source, neither exists.
 */
import manifest from "../../package.json" with { type: "json" };

declare const BUILD_COMMIT: string;

export const build = {
  version: manifest.version,
  commit: typeof BUILD_COMMIT === "string" ? BUILD_COMMIT : "source",
};
