/**
 * Clients that lose their connection again and again, as on a train: each comes back over the next transport, with what it was told last.
 */
import { openReader, readable, type Notice, type Readable, type Reader } from "./reader.ts";

export interface CommuterOptions {
  readonly server: { readonly port: number };
  readonly query: string;
  /** The transport that it begins with. */
  readonly first: number;
  /** How long a connection lasts, and how long there is none until the next, in milliseconds. */
  readonly onlineMs: number;
  readonly offlineMs: number;
  /** Of the first connection: what of its time has gone already, so that not all are cut at once. */
  readonly phaseMs: number;
  /** The id of a message on a plain WebSocket, from what else is known of it; waits until it is. */
  readonly toId: (data: string) => Promise<string>;
  readonly onMessage: (data: string, commuter: Commuter) => void;
}

/** When there was no connection, in milliseconds: from the cut until it was told where it begins. */
export interface Window {
  readonly from: number;
  to: number;
}

export class Commuter {
  /** Where its first connection began; everything after it is owed. */
  start: string | undefined = undefined;
  readonly windows: Window[] = [];
  readonly #options: CommuterOptions;
  #reader: Reader | undefined = undefined;
  #last: Notice | undefined = undefined;
  #connections = 0;
  #staying = false;
  #gone = false;
  #wake = () => {};
  readonly #begun = Promise.withResolvers<void>();
  readonly over: Promise<void>;

  constructor(options: CommuterOptions) {
    this.#options = options;
    this.over = this.#commute();
    this.over.catch(this.#begun.reject);
  }

  /** Resolves when it is connected for the first time. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** How often it came back. */
  get returns(): number {
    return this.windows.length;
  }

  /** From now on its connection is not cut any more. */
  stay(): void {
    this.#staying = true;
  }

  /** Ends it. */
  async leave(): Promise<void> {
    this.#gone = true;
    this.#wake();
    this.#reader?.drop();
    await this.over;
  }

  async #commute(): Promise<void> {
    const { onlineMs, offlineMs, phaseMs } = this.#options;
    let cutAt = performance.now() + onlineMs - phaseMs;
    for (;;) {
      const transport = readable[(this.#options.first + this.#connections++) % readable.length] ?? "SSE";
      await this.#stayOnline(transport, () => cutAt);
      if (this.#gone) return;
      this.windows.push({ from: performance.now(), to: Number.POSITIVE_INFINITY });
      await Bun.sleep(offlineMs);
      if (this.#gone) return;
      cutAt = performance.now() + onlineMs;
    }
  }

  /** Until it is cut; a client that polls makes one poll after another. */
  async #stayOnline(transport: Readable, cutAt: () => number): Promise<void> {
    for (;;) {
      const since = await this.#lastId();
      const reader = openReader(transport, this.#options.server, {
        query: this.#options.query,
        ...(since !== undefined && { since }),
        wait: since === undefined ? 0 : 60,
        onNotice: (notice) => this.#take(notice),
      });
      this.#reader = reader;
      // A poll is there when it is asked: its answer says where the next one begins.
      if (transport !== "poll" || since === undefined) await this.#begin(reader, since);
      else this.#endWindow();
      const cut = Promise.withResolvers<"cut">();
      this.#wake = () => cut.resolve("cut");
      const timer = setTimeout(
        () => !this.#staying && this.#wake(),
        Math.max(0, cutAt() - performance.now()),
      );
      const how = await Promise.race([cut.promise, reader.ended]);
      clearTimeout(timer);
      if (this.#gone) return;
      if (how === "cut") return reader.drop();
      if (transport !== "poll") throw new Error(`the server ended a connection over ${transport}`);
      await this.#begin(reader, since);
    }
  }

  async #begin(reader: Reader, since: string | undefined): Promise<void> {
    const begun = await reader.begun.catch((error: unknown) => {
      // It was told to leave before it was there.
      if (!this.#gone) throw error;
    });
    if (begun === undefined) return;
    const { id, resumed } = begun;
    if (since !== undefined && resumed !== true) throw new Error(`${since} was not resumed`);
    this.start ??= id;
    this.#endWindow();
    this.#begun.resolve();
  }

  #endWindow(): void {
    const window = this.windows.at(-1);
    if (window !== undefined) window.to = Math.min(window.to, performance.now());
  }

  #take(notice: Notice): void {
    this.#last = notice;
    if (notice.message !== undefined) this.#options.onMessage(notice.message.data, this);
  }

  async #lastId(): Promise<string | undefined> {
    if (this.#last === undefined) return this.start;
    return this.#last.id ?? (await this.#options.toId(this.#last.message?.data ?? ""));
  }
}
