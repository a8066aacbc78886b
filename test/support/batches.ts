/**
 * Batches as a publisher sends them, and their answers.
 *
 *   const receipts = await toReceipts(await postBatch(server, toArray([{ userid: "1", message: "hello" }])));
 */
import type { Receipt, Target } from "./calls.ts";

export interface BatchItem {
  readonly userid?: string;
  readonly compid?: string;
  readonly all?: true;
  readonly message: string;
  readonly event?: string;
  readonly key?: string;
  readonly ttl?: number;
}

/** What is posted, and as what. */
export interface Batch {
  readonly body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly type: string;
}

export function toArray(items: readonly unknown[]): Batch & { readonly body: string } {
  return { body: JSON.stringify(items), type: "application/json" };
}

export function toLines(items: readonly unknown[]): Batch & { readonly body: string } {
  return { body: items.map((item) => JSON.stringify(item)).join("\n"), type: "application/x-ndjson" };
}

/** The two forms of a batch: a suite that must hold for both walks through the table. */
export const batchForms = [
  { name: "a JSON array", toBatch: toArray },
  { name: "NDJSON", toBatch: toLines },
] as const;

export function postBatch(
  { url }: Target,
  { body, type }: Batch,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return fetch(`${url}/batch`, {
    method: "POST",
    body,
    headers: { "Content-Type": type, ...headers },
    ...(body instanceof ReadableStream && { duplex: "half" }),
  });
}

/** The receipts in an answer; fails when the batch was refused. */
export async function toReceipts(response: Response): Promise<readonly Receipt[]> {
  const text = await response.text();
  if (!response.ok) throw new Error(`refused with ${response.status}: ${text}`);
  return JSON.parse(text);
}
