/**
 * The requests of all webhooks, made in a thread of their own: thousands a second, each with a signature and a response to be
 * collected as garbage, would be felt by everybody to whom something is pushed meanwhile.
 *
 *   webhook ──► post ──┐ all of a turn              ┌──► request
 *                      ├─────────────► worker ──────┤
 *   webhook ◄── answer ┘             together       └◄── response
 */
import type { Answer, Letter, Target } from "./request.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

export class Poster {
  readonly #targets: readonly Target[];
  #worker: Worker | undefined = undefined;
  /** Who waits for an answer, by the number of the request. */
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;
  #unsent: Extract<ToWorker, { kind: "post" }>["posts"] = [];
  #isClosed = false;

  constructor(targets: readonly Target[]) {
    this.#targets = targets;
  }

  /**
   * @param target which of the targets, counted from 0
   * @returns what came of it; never rejects
   */
  async post(target: number, letter: Letter): Promise<Answer> {
    const number = this.#next++;
    if (this.#unsent.length === 0) setImmediate(() => this.#send());
    this.#unsent.push({ number, target, ...letter });
    return await new Promise((resolve) => this.#waiting.set(number, resolve));
  }

  /** Gives up what is under way: nobody learns what came of it. */
  close(): void {
    this.#isClosed = true;
    this.#waiting.clear();
    this.#worker?.postMessage({ kind: "close" } satisfies ToWorker);
    this.#worker?.unref();
  }

  #send(): void {
    if (this.#isClosed) return;
    const posts = this.#unsent;
    this.#unsent = [];
    this.#worker ??= this.#start();
    this.#worker.postMessage({ kind: "post", posts } satisfies ToWorker);
  }

  #start(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url).href);
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      for (const { number, ...answer } of data) this.#answer(number, answer);
    };
    worker.onerror = ({ message }) => this.#end(worker, message);
    worker.addEventListener("close", () => this.#end(worker, "it stopped"));
    worker.postMessage({ kind: "open", targets: this.#targets } satisfies ToWorker);
    return worker;
  }

  #answer(number: number, answer: Answer): void {
    const resolve = this.#waiting.get(number);
    this.#waiting.delete(number);
    resolve?.(answer);
  }

  /** What it had was not answered, and the next request starts another one. */
  #end(worker: Worker, message: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    for (const number of this.#waiting.keys())
      this.#answer(number, { isTaken: false, reason: `what makes the requests has ended: ${message}` });
  }
}
