/**
 * Starting the writer of a SQLite journal, and asking it one thing at a time.
 */
import { UnusableFile } from "../journal.ts";
import type { FileOptions, Log } from "./sqlite-file.ts";
import type { Answer, Request } from "./sqlite-writer.ts";

export interface OpenedWriter {
  readonly worker: Worker;
  /** The file itself, whatever links lead to it. */
  readonly path: string;
  readonly log: Log;
  /** Why the file took a new epoch, if it did. */
  readonly forgotten?: string;
}

/** @throws UnusableFile */
export async function openWriter(file: FileOptions): Promise<OpenedWriter> {
  const worker = new Worker(new URL("./sqlite-writer.ts", import.meta.url).href);
  const opened = await ask(worker, { kind: "open", ...file });
  if (opened.kind === "opened") return { worker, ...opened };
  await ask(worker, { kind: "close" });
  worker.unref();
  throw new UnusableFile(opened.kind === "unusable" ? opened.reason : "the writer did not start");
}

export async function ask(worker: Worker, request: Request): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = ({ message }) => resolve({ kind: "unusable", reason: `the writer has ended: ${message}` });
  worker.postMessage(request);
  return await promise;
}
