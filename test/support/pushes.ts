/**
 * Every form in which one message can be pushed, as one: a suite that must hold for each of them walks through the table.
 *
 *   describe.each(pushForms)("$name", ({ push }) => {
 *     const answer = await push(server, { message: "hello", ttl: 60 });
 */
import { postBatch, toArray, toLines } from "./batches.ts";
import type { Receipt, Target } from "./calls.ts";

/** A message, and how it is pushed. */
export interface Pushed {
  readonly message: string;
  readonly event?: string;
  readonly key?: string;
  readonly ttl?: number;
}

export interface PushForm {
  readonly name: string;
  /** Whether it pushes to all, else to user 1. */
  readonly isToAll: boolean;
  push(server: Target, pushed: Pushed, headers?: Readonly<Record<string, string>>): Promise<Response>;
}

export const pushForms: readonly PushForm[] = [
  {
    name: "GET /push",
    isToAll: false,
    push: ({ url }, pushed, headers = {}) =>
      fetch(`${url}/push?${toQuery({ userid: "1", ...pushed })}`, { headers }),
  },
  {
    name: "POST /push",
    isToAll: false,
    push: ({ url }, { message, ...options }, headers = {}) =>
      fetch(`${url}/push?${toQuery({ userid: "1", ...options })}`, {
        method: "POST",
        body: message,
        headers,
      }),
  },
  {
    name: "GET /pushtoall",
    isToAll: true,
    push: ({ url }, pushed, headers = {}) => fetch(`${url}/pushtoall?${toQuery({ ...pushed })}`, { headers }),
  },
  {
    name: "POST /pushtoall",
    isToAll: true,
    push: ({ url }, { message, ...options }, headers = {}) =>
      fetch(`${url}/pushtoall?${toQuery(options)}`, { method: "POST", body: message, headers }),
  },
  {
    name: "POST /batch with a JSON array",
    isToAll: false,
    push: (server, pushed, headers) => postBatch(server, toArray([{ userid: "1", ...pushed }]), headers),
  },
  {
    name: "POST /batch with NDJSON",
    isToAll: true,
    push: (server, pushed, headers) => postBatch(server, toLines([{ all: true, ...pushed }]), headers),
  },
];

export function toQuery(parameters: Readonly<Record<string, string | number>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
}

/** The one receipt in an answer of any form; fails when the push was refused. */
export async function toOnlyReceipt(response: Response): Promise<Receipt> {
  const text = await response.text();
  if (!response.ok) throw new Error(`refused with ${response.status}: ${text}`);
  const [receipt, ...more]: Receipt[] = [JSON.parse(text)].flat();
  if (receipt === undefined || more.length > 0) throw new Error(`expected one receipt: ${text}`);
  return receipt;
}
