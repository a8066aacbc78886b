/**
 * The library as a page has it, but in this process, with all that it has told.
 *
 *   using page = openLibrary(server, { userid: "123" });
 *   await page.until("open");
 */
import { open } from "../../src/client/client.ts";
import { defaultTimes, type Times } from "../../src/client/connection.ts";
import type { ConnectOptions, Push } from "../../src/client/contract.d.ts";
import { eventually } from "./eventually.ts";

export interface Message {
  readonly id: string;
  readonly type: string;
  readonly data: string | Uint8Array;
}

/** An event that is not a message, with what it says. */
export type Told = Readonly<Record<string, unknown>> & { readonly type: string };

export interface LibraryOptions extends ConnectOptions {
  /** Names of events that the page listens for, beside messages without one. */
  readonly events?: readonly string[];
  readonly times?: Partial<Times>;
}

export interface Library extends Disposable {
  readonly push: Push;
  readonly messages: readonly Message[];
  readonly told: readonly Told[];
  /** What events of this type have said. */
  of(type: string): Told[];
  /** Waits until so many events of this type have come. */
  until(type: string, count?: number): Promise<void>;
  untilMessages(count: number, timeoutMs?: number): Promise<void>;
}

/** So short that a test sees everything; but not how long a connection may take, which a busy machine may need. */
export const quick: Times = { ...defaultTimes, first: 20, cap: 200, spread: 50, open: 5000 };

const fields = {
  open: ["session", "transport", "resumed"],
  close: ["code", "reason", "willReconnect"],
  reset: [],
  error: ["code", "detail", "status", "willReconnect"],
} as const;

export function openLibrary(
  { url }: { readonly url: string },
  { events = [], times, ...options }: LibraryOptions = {},
): Library {
  const push = open({ url, ...options }, undefined, { ...quick, ...times });
  const messages: Message[] = [];
  const told: Told[] = [];
  for (const name of ["message", ...events])
    push.addEventListener(name, ({ type, data, lastEventId }) => {
      messages.push({ id: lastEventId, type, data });
    });
  for (const [type, names] of Object.entries(fields))
    push.addEventListener(type, (event) => {
      const said = names.map((name) => [name, (event as unknown as Told)[name]] as const); // by its type
      told.push({ type, ...Object.fromEntries(said.filter(([, value]) => value !== undefined)) });
    });
  const of = (type: string) => told.filter((one) => one.type === type);
  return {
    push,
    messages,
    told,
    of,
    until: (type, count = 1) =>
      eventually(`${count} times ${type}`, () => of(type).length >= count).catch((error: Error) => {
        throw new Error(`${error.message}, but ${JSON.stringify(told)}`);
      }),
    untilMessages: (count, timeoutMs) =>
      eventually(`${count} messages`, () => messages.length >= count, timeoutMs).catch((error: Error) => {
        throw new Error(`${error.message}, but ${messages.length}; ${JSON.stringify(told)}`);
      }),
    [Symbol.dispose]: () => push.close(),
  };
}

/** What is asked at every connect, so that each is noted. */
export function noteConnects() {
  const at: number[] = [];
  return {
    at,
    pauses: () => at.slice(1).map((time, index) => time - (at[index] ?? 0)),
    token() {
      at.push(performance.now());
      return "";
    },
  };
}
