/**
 * What tabs say to each other, over a channel of their own.
 */
import type { Notice } from "./connection.ts";

export interface Word {
  /** From the leader. */
  readonly notice?: Notice;
  /** From when it leads; of what it should send, whom that is for. */
  readonly term?: number;
  /** From the others: what it should send, with a ref; without any of these, that somebody wants to hear something. */
  readonly data?: string;
  readonly ref?: string;
  /** From who led, and does no more: who has the lock next may sleep. */
  readonly isFree?: boolean;
  /** Up to where another one has handled everything. */
  readonly ack?: string;
  /** Somebody looks at another one, or it has the network back. */
  readonly isAwake?: boolean;
}
