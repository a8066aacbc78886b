/**
 * A folder of its own for a test, gone with it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Folder extends AsyncDisposable {
  readonly path: string;
  /** The path of the file of this name in it. */
  file(name: string): string;
}

/** @param files what is in it, by name */
export async function makeFolder(files: Readonly<Record<string, string>> = {}): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "server-push-"));
  for (const [name, text] of Object.entries(files)) await Bun.write(join(path, name), text);
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}
