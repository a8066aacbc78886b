/**
 * The calls of the server that this page is from, with the API key where it needs one.
 *
 * The key is kept for this tab alone, in `sessionStorage`, and goes nowhere but into the header of these calls.
 */
import { signal } from "@preact/signals";

/** The server does not answer, or objects: the message is for people. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  /** The client library tells people what its token's source has thrown. */
  override toString(): string {
    return this.message;
  }
}

/** Whether this page may call: `asking` for the key, with what is wrong with the one that was given. */
export type Entry =
  | { readonly kind: "checking" }
  | { readonly kind: "asking"; readonly problem: string }
  | { readonly kind: "open"; readonly hasKey: boolean };

export interface CallOptions {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly parameters?: readonly (readonly [name: string, value: string])[];
  readonly accept?: string;
  /** Ends it; without one it ends by itself when no answer comes in time. */
  readonly signal?: AbortSignal;
}

const keptKey = "server-push.key";
const timeoutMs = 10_000;

export class Api {
  readonly entry = signal<Entry>({ kind: "checking" });
  /** Whether the last call was answered. */
  readonly isReachable = signal(true);
  #key = sessionStorage.getItem(keptKey) ?? "";

  get hasKey(): boolean {
    return this.#key !== "";
  }

  /** Finds out whether a key is needed, and whether the one that is kept is right. */
  async enter(): Promise<void> {
    try {
      await this.#probe();
    } catch (error) {
      // Anything but the key is said where it matters.
      if (this.entry.peek().kind === "asking" || !this.isReachable.peek()) throw error;
    }
    this.entry.value = { kind: "open", hasKey: this.hasKey };
  }

  /** Enters with this key; keeps it when it is right. */
  async unlock(key: string): Promise<void> {
    this.#key = key;
    try {
      await this.#probe();
    } catch (error) {
      this.#ask(toDetail(error));
      return;
    }
    sessionStorage.setItem(keptKey, key);
    this.entry.value = { kind: "open", hasKey: true };
  }

  forgetKey(): void {
    this.#ask("");
  }

  /** @throws Refusal; or what has ended it, when the signal did */
  async call(path: string, options: CallOptions = {}): Promise<Response> {
    const { method = "GET", parameters = [], accept, signal: stop } = options;
    const query = new URLSearchParams(parameters.map(([name, value]) => [name, value]));
    const key = this.#key;
    const headers = toHeaders(key, accept);
    const answer = await fetch(parameters.length === 0 ? path : `${path}?${query}`, {
      method,
      headers,
      cache: "no-store",
      signal: stop ?? AbortSignal.timeout(timeoutMs),
    }).catch(() => undefined);
    stop?.throwIfAborted();
    this.isReachable.value = answer !== undefined;
    if (answer === undefined) throw new Refusal("the server does not answer");
    if (answer.ok) return answer;
    const detail = await readDetail(answer);
    // Several calls may be under way with a key that is valid no longer, also when there is another one already.
    if (answer.status === 401 && key === this.#key) this.#ask(key === "" ? "" : detail);
    throw new Refusal(detail);
  }

  /** What to tell people of a call that failed; nothing where the page as a whole says already that the server does not answer. */
  explain(error: unknown): string {
    return this.isReachable.peek() ? toDetail(error) : "";
  }

  async #probe(): Promise<void> {
    await this.call("/sessions", { parameters: [["limit", "1"]] });
  }

  #ask(problem: string): void {
    this.#key = "";
    sessionStorage.removeItem(keptKey);
    this.entry.value = { kind: "asking", problem };
  }
}

function toHeaders(key: string, accept: string | undefined): Headers {
  const headers = new Headers(accept === undefined ? {} : { Accept: accept });
  if (key === "") return headers;
  // Nothing else can be in a header; and no key has anything else.
  if (!/^[ -~]*$/.test(key))
    throw new Refusal("the key has characters that no key has, expected printable ASCII");
  headers.set("Authorization", `Bearer ${key}`);
  return headers;
}

/** What to tell people of an error. */
export function toDetail(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What RFC 9457 has for people; what stands before the server may answer with anything. */
async function readDetail(answer: Response): Promise<string> {
  const problem: unknown = await answer.json().catch(() => undefined);
  if (typeof problem === "object" && problem !== null && "detail" in problem) return String(problem.detail);
  return `the answer is ${answer.status} ${answer.statusText}`.trimEnd();
}
