/**
 * Much that waits for a client: numbered messages, in few calls.
 */
import { toReceipt } from "./calls.ts";

export interface Backlog {
  readonly userid: string;
  readonly count: number;
  /** Of each message, in characters. */
  readonly size: number;
}

/** The text of a message of a backlog. */
export function toText(index: number, size: number): string {
  return `${index}`.padEnd(size);
}

export async function pushBacklog(
  { url }: { readonly url: string },
  { userid, count, size }: Backlog,
): Promise<void> {
  const atOnce = Math.max(1, Math.min(5000, Math.floor(2_000_000 / size)));
  for (let from = 0; from < count; from += atOnce) {
    const items = Array.from({ length: Math.min(atOnce, count - from) }, (_, index) => ({
      userid,
      message: toText(from + index, size),
    }));
    await toReceipt(
      await fetch(`${url}/batch`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(items),
      }),
    );
  }
}
