/**
 * The calls of the server that this page is from, with the API key where it needs one.
 *
 * The key is kept for this tab alone, in `sessionStorage`, and goes nowhere but into the header of these calls.
 */
import { signal } from "@preact/signals";

/** The server does not answer, or objects: the message is for people. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  /** @param status of its answer, where there is one */
  constructor(
    message: string,
    readonly status?: number,
  ) {
    super(message);
  }

  /** Whether the same call would be refused again, also later. */
  get isFinal(): boolean {
    const { status = 0 } = this;
    return status >= 400 && status < 500 && status !== 429;
  }

  /** The client library tells people what its token's source has thrown. */
  override toString(): string {
    return this.message;
  }
}

/** Whether this page may call: `asking` for the key, with what is wrong with the one that was given. */
export type Entry =
  { readonly kind: "asking"; readonly problem: string } | { readonly kind: "open"; readonly hasKey: boolean };

export interface CallOptions {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly parameters?: readonly (readonly [name: string, value: string])[];
  /** A text. */
  readonly body?: string;
  readonly accept?: string;
  /** Ends it; without one it ends by itself when no answer comes in time. */
  readonly signal?: AbortSignal;
}

const keptKey = "server-push.key";
const timeoutMs = 10_000;

export class Api {
  readonly entry = signal<Entry>({ kind: "open", hasKey: false });
  /** Whether the last call was answered. */
  readonly isReachable = signal(true);
  /** When the last answer came, in milliseconds since 1970. */
  readonly answeredAt = signal(Date.now());
  #key = "";

  /** @param needsKey whether the server has said so; one that begins to need one later says so by refusing */
  constructor(needsKey: boolean) {
    if (!needsKey) {
      keep("");
      return;
    }
    this.#key = readKept();
    this.entry.value = this.#key === "" ? { kind: "asking", problem: "" } : { kind: "open", hasKey: true };
  }

  get hasKey(): boolean {
    const entry = this.entry.value;
    return entry.kind === "open" && entry.hasKey;
  }

  /** Enters with this key; keeps it when it is right. */
  async unlock(key: string): Promise<void> {
    if (key === "") {
      this.#ask("There is nothing but blanks, expected one of the server's API keys.");
      return;
    }
    try {
      await this.#send(key, "/sessions", { parameters: [["limit", "1"]] });
    } catch (error) {
      const isWrong = error instanceof Refusal && error.status === 401;
      this.#ask(isWrong ? "This is not one of the server's API keys." : toDetail(error));
      return;
    }
    this.#key = key;
    keep(key);
    this.entry.value = { kind: "open", hasKey: true };
  }

  forgetKey(): void {
    this.#ask("");
  }

  /** The server asks for none any more. */
  dropKey(): void {
    this.#key = "";
    keep("");
    this.entry.value = { kind: "open", hasKey: false };
  }

  /** @throws Refusal; or what has ended it, when the signal did */
  async call(path: string, options: CallOptions = {}): Promise<Response> {
    // What the page shows asks on until it is gone, a moment later.
    if (this.#isAsking) throw new Refusal("an API key is missing", 401);
    const key = this.#key;
    try {
      return await this.#send(key, path, options);
    } catch (error) {
      // Several calls may be under way with a key that is valid no longer, also when there is another one already.
      if (error instanceof Refusal && error.status === 401 && key === this.#key && !this.#isAsking)
        this.#ask(key === "" ? "The server now asks for an API key." : "The key is no longer valid.");
      throw error;
    }
  }

  /** Until when what is shown of the server holds, in milliseconds since 1970. */
  get shownAt(): number {
    return this.isReachable.value ? Date.now() : this.answeredAt.value;
  }

  /** What to tell people of a call that failed; nothing where the page as a whole says already that the server does not answer. */
  explain(error: unknown): string {
    return this.isReachable.peek() ? toDetail(error) : "";
  }

  async #send(key: string, path: string, options: CallOptions): Promise<Response> {
    const { method = "GET", parameters = [], body, accept, signal: stop } = options;
    const query = new URLSearchParams(parameters.map(([name, value]): [string, string] => [name, value]));
    const answer = await fetch(parameters.length === 0 ? path : `${path}?${query}`, {
      method,
      headers: toHeaders(key, accept),
      cache: "no-store",
      signal: stop ?? AbortSignal.timeout(timeoutMs),
      ...(body !== undefined && { body }),
    }).catch(() => undefined);
    stop?.throwIfAborted();
    const isAnswered = answer !== undefined && !isOfGateway(answer);
    this.isReachable.value = isAnswered;
    if (!isAnswered) {
      void answer?.body?.cancel();
      throw new Refusal("the server does not answer");
    }
    this.answeredAt.value = Date.now();
    if (answer.ok) return answer;
    throw new Refusal(await readDetail(answer), answer.status);
  }

  get #isAsking(): boolean {
    return this.entry.peek().kind === "asking";
  }

  #ask(problem: string): void {
    this.#key = "";
    keep("");
    this.entry.value = { kind: "asking", problem };
  }
}

/** A browser may deny a page its storage: then the key is asked for whenever the page is loaded. */
function readKept(): string {
  try {
    return sessionStorage.getItem(keptKey) ?? "";
  } catch {
    return "";
  }
}

/** @param key empty for none */
function keep(key: string): void {
  try {
    if (key === "") sessionStorage.removeItem(keptKey);
    else sessionStorage.setItem(keptKey, key);
  } catch {
    // It is not kept, as said above.
  }
}

/** What stands before the server answers so in its place. The server says why it is unavailable as all its errors. */
function isOfGateway({ status, headers }: Response): boolean {
  if (status === 503) return headers.get("Content-Type")?.startsWith("application/problem+json") !== true;
  return status === 502 || status === 504;
}

function toHeaders(key: string, accept: string | undefined): Headers {
  const headers = new Headers(accept === undefined ? {} : { Accept: accept });
  if (key === "") return headers;
  // Nothing else can be in a header; and no key has anything else.
  if (!/^[ -~]*$/.test(key))
    throw new Refusal("The key has characters that no key has, expected printable ASCII.");
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
