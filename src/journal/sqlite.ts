/**
 * The journal in a SQLite file: survives the end of the process, and a power cut.
 *
 *   append ──► queue ──► group ──► writer (a worker) ──► synced ──► head, tail, and every append of the group resolves
 *                │                    │
 *                └ all that comes     └ one at a time: a slow disk makes groups larger,
 *                  meanwhile            not the queue longer
 *
 * This thread decides: it gives out the offsets when a group leaves, and moves the horizon. The writer does as it is told. So a
 * group that fails leaves no trace, and the next one has its offsets.
 *
 * While the file cannot be written, appends are refused at once; an empty group, sent every second, finds out when it can be again.
 */
import { PushError } from "../errors.ts";
import {
  HorizonPassed,
  type Journal,
  type Once,
  type Remembered,
  type Retention,
  steadyNow,
  type TailListener,
  UnusableFile,
} from "../journal.ts";
import type { Logger } from "../logger.ts";
import { type Draft, type Message, type Offset, sizeOf, toMessage } from "../message.ts";
import { type Place, Reader } from "./sqlite-reader.ts";
import type { Log } from "./sqlite-file.ts";
import type { Answer, Group, Options, Request } from "./sqlite-writer.ts";

export interface SqliteJournalOptions {
  /** The file; it is made when it is not there. */
  readonly path: string;
  readonly retention: Retention;
  /** Of how many appends with `once` are remembered. */
  readonly maxOnce: number;
  /** For how long, in milliseconds. */
  readonly onceMs: number;
  readonly logger: Pick<Logger, "info" | "warn" | "error">;
  /** Milliseconds since 1970, as a clock that never goes back while the process runs. */
  readonly now?: () => number;
}

/** What a message is reckoned at beside its topic, event, key and body: its row, and its places in the indexes. */
export const rowBytes = 64;

/** A group ends after so many messages or bytes, with an append that is never split: what was asked first is not kept waiting. */
const groupMessages = 4096;
const groupBytes = 16 * 1024 * 1024;
/** What may wait to be written. */
export const queueBytes = 64 * 1024 * 1024;
const checkMs = 1000;

/** @throws UnusableFile */
export async function openSqliteJournal(options: SqliteJournalOptions): Promise<Journal> {
  const worker = new Worker(new URL("./sqlite-writer.ts", import.meta.url).href);
  const opened = await ask(worker, { kind: "open", path: options.path });
  if (opened.kind !== "opened") {
    await ask(worker, { kind: "close" });
    worker.unref();
    throw new UnusableFile(opened.kind === "unusable" ? opened.reason : "the writer did not start");
  }
  const { path, log, forgotten } = opened;
  if (forgotten !== undefined)
    options.logger.warn(
      "the journal's file may have lost messages; clients that come back are told that they may have missed some",
      { reason: forgotten },
    );
  return new SqliteJournal(options, worker, path, log);
}

interface Append {
  readonly drafts: readonly Draft[];
  readonly bytes: number;
  readonly once: Once | undefined;
  resolve(offsets: readonly Offset[]): void;
  reject(error: PushError): void;
}

interface Settled {
  readonly key: string;
  readonly sessions: readonly number[];
  done(): void;
}

/** The group that the writer has. */
interface UnderWay {
  readonly appends: readonly Append[];
  readonly settled: readonly Settled[];
  readonly messages: readonly Message[];
  readonly log: Group["log"];
}

class SqliteJournal implements Journal {
  readonly epoch: string;
  problem: PushError | undefined;
  readonly #options: SqliteJournalOptions;
  readonly #worker: Worker;
  readonly #reader: Reader;
  /** Where the log stands, by the last group that was synced; but the horizon is the one of now. */
  #log: Group["log"];
  /** The oldest message that is kept, when it has been looked up. */
  #oldest: Place | undefined;
  /** Up to which offset the writer has no rows any more. */
  #cleaned: Offset = 0;
  #queue: Append[] = [];
  #queuedBytes = 0;
  #settled: Settled[] = [];
  #underWay: UnderWay | undefined;
  #scheduled = false;
  #ended = false;
  #closed: Promise<void> | undefined;
  readonly #check: Timer;
  #whenIdle = () => {};
  #listener: TailListener = () => {};
  /** Milliseconds that are added to the clock, when the file has messages from its future. */
  readonly #ahead: number;

  constructor(options: SqliteJournalOptions, worker: Worker, path: string, log: Log) {
    this.epoch = log.epoch;
    this.#options = options;
    this.#worker = worker;
    this.#reader = new Reader(path);
    this.#log = log;
    this.#ahead = Math.max(0, log.time - this.#clock());
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#take(data);
    worker.onerror = ({ message }) => this.#end(message);
    worker.addEventListener("close", () => this.#end("it stopped"));
    this.#check = setInterval(() => this.#checkNow(), checkMs);
    this.#check.unref();
    this.#trim();
  }

  get head(): Offset {
    return this.#log.head;
  }

  get kept(): { count: number; bytes: number } {
    this.#trim();
    const { head, horizon, bytes } = this.#log;
    return { count: head - horizon, bytes: this.#oldest === undefined ? 0 : bytes - this.#oldest.start };
  }

  append(drafts: readonly Draft[], once?: Once): Promise<readonly Offset[]> {
    if (this.#closed !== undefined) throw new PushError("unavailable", "the journal is closed");
    if (this.problem !== undefined) throw this.problem;
    const bytes = drafts.reduce((sum, draft) => sum + toSize(draft), 0);
    if (this.#queue.length > 0 && this.#queuedBytes + bytes > queueBytes)
      throw new PushError(
        "unavailable",
        `${this.#queuedBytes} bytes wait to be written to disk, the limit is ${queueBytes}`,
      );
    return new Promise((resolve, reject) => {
      this.#queue.push({ drafts, bytes, once, resolve, reject });
      this.#queuedBytes += bytes;
      this.#schedule();
    });
  }

  tail(listener: TailListener): void {
    this.#listener = listener;
  }

  since(
    offset: Offset,
    topics: readonly string[],
    present: Offset = Number.POSITIVE_INFINITY,
  ): Iterable<readonly Message[]> | undefined {
    this.#trim();
    const { head, horizon } = this.#log;
    if (!Number.isSafeInteger(offset) || offset < horizon || offset > head) return undefined;
    return this.#pages(offset, topics, present);
  }

  offsetBefore(ageMs: number): Offset {
    this.#trim();
    return this.#newestBelow("time", this.#now() - ageMs);
  }

  settle(key: string, sessions: readonly number[]): Promise<void> {
    if (this.#closed !== undefined || this.problem !== undefined) return Promise.resolve();
    return new Promise((done) => {
      this.#settled.push({ key, sessions, done });
      this.#schedule();
    });
  }

  remembered(ageMs: number): Iterable<Remembered> {
    return this.#reader.remembered(this.#now(), ageMs);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    clearInterval(this.#check);
    if (this.#underWay !== undefined || this.#scheduled)
      await new Promise<void>((resolve) => (this.#whenIdle = resolve));
    this.#reader.close();
    this.#log = { ...this.#log, horizon: this.head };
    this.#oldest = undefined;
    if (!this.#ended) await ask(this.#worker, { kind: "close" });
    this.#worker.unref();
  }

  /** Everything that waits leaves together with what else comes in this turn of the event loop. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    const log = { ...this.#log, time: Math.max(this.#log.time, this.#now()) };
    const group = {
      topics: [] as string[],
      bodies: [] as Draft["body"][],
      starts: [] as number[],
      options: new Map<number, Options>(),
      once: [] as (Once & { first: Offset; count: number })[],
    };
    const messages: Message[] = [];
    const appends = this.#takeAppends();
    for (const { drafts, once } of appends) {
      if (once !== undefined) group.once.push({ ...once, first: log.head + 1, count: drafts.length });
      for (const draft of drafts) {
        const { topic, body, ...options } = draft;
        if (hasOptions(draft)) group.options.set(messages.length, options);
        group.topics.push(topic);
        group.bodies.push(toWhole(body));
        group.starts.push(log.bytes);
        log.head += 1;
        log.bytes += toSize(draft);
        messages.push(toMessage(draft, log.head, log.time));
      }
    }
    const settled = this.#settled;
    this.#settled = [];
    this.#underWay = { appends, settled, messages, log };
    const { maxOnce, onceMs } = this.#options;
    this.#post({
      kind: "commit",
      log,
      ...group,
      settled: settled.map(({ key, sessions }) => ({ key, sessions })),
      onceAfter: this.#now() - onceMs,
      maxOnce,
    });
  }

  #takeAppends(): readonly Append[] {
    let [count, messages, bytes] = [0, 0, 0];
    for (const append of this.#queue) {
      messages += append.drafts.length;
      bytes += append.bytes;
      if (count > 0 && (messages > groupMessages || bytes > groupBytes)) break;
      this.#queuedBytes -= append.bytes;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #post(request: Request): void {
    this.#worker.postMessage(request);
  }

  #take(answer: Answer): void {
    if (answer.kind === "refused") return this.#refuse(answer.reason);
    const underWay = this.#underWay;
    if (answer.kind !== "committed" || underWay === undefined) return;
    this.#underWay = undefined;
    this.#log = { ...underWay.log, horizon: this.#log.horizon };
    this.#cleaned = answer.cleaned;
    if (this.problem !== undefined) this.#options.logger.info("the journal can be written again");
    this.problem = undefined;
    this.#trim();
    // The writer has the next group while this one is delivered.
    this.#goOn();
    const { messages, appends, settled } = underWay;
    if (messages.length > 0) this.#listener(messages, true);
    let next = messages[0]?.offset ?? 0;
    for (const { drafts, resolve } of appends) resolve(drafts.map(() => next++));
    for (const { done } of settled) done();
  }

  #goOn(): void {
    if (this.#queue.length > 0 || this.#settled.length > 0) this.#send();
    else this.#whenIdle();
  }

  /** The group is not in the log, and what waits behind it would not be either. */
  #refuse(reason: string): void {
    const appends = [...(this.#underWay?.appends ?? []), ...this.#queue];
    const settled = [...(this.#underWay?.settled ?? []), ...this.#settled];
    this.#underWay = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#settled = [];
    if (this.problem === undefined)
      this.#options.logger.error("the journal cannot be written; pushes are refused until it can", {
        reason,
      });
    const problem = new PushError("unavailable", `the journal cannot be written: ${reason}`);
    this.problem = problem;
    for (const { reject } of appends) reject(problem);
    for (const { done } of settled) done();
    this.#whenIdle();
  }

  /** The writer is gone: nothing can be written before the next start. */
  #end(message: string): void {
    if (this.#closed !== undefined || this.#ended) return;
    this.#ended = true;
    this.#refuse(`its writer has ended: ${message}`);
  }

  #checkNow(): void {
    this.#trim();
    if (this.#underWay !== undefined || this.#scheduled || this.#ended) return;
    if (this.problem !== undefined || this.#cleaned < this.#log.horizon) this.#send();
  }

  *#pages(offset: Offset, topics: readonly string[], present: Offset): Generator<readonly Message[]> {
    for (let position = offset; ;) {
      if (position < this.#log.horizon) throw new HorizonPassed(`offset ${position} is gone`);
      const { messages, end } = this.#reader.read(topics, position, this.head);
      const now = this.#now();
      if (end && messages.length === 0) return;
      position = end ? this.head : (messages.at(-1)?.offset ?? position);
      yield messages.filter(({ ttl, time, offset: own }) => !isExpired(ttl, time, now) || own > present);
    }
  }

  #clock(): number {
    return (this.#options.now ?? steadyNow)();
  }

  #now(): number {
    return this.#clock() + this.#ahead;
  }

  #trim(): void {
    try {
      this.#moveHorizon();
    } catch {
      // A file that cannot be read is trimmed when it can be; whoever reads from it is told.
    }
  }

  #moveHorizon(): void {
    const { time, bytes, count } = this.#options.retention;
    if (this.head - this.#log.horizon > count) this.#moveTo(this.head - count);
    if (this.#lookUpOldest().time < this.#now() - time)
      this.#moveTo(this.#newestBelow("time", this.#now() - time));
    if (this.#lookUpOldest().start < this.#log.bytes - bytes)
      this.#moveTo(this.#newestBelow("start", this.#log.bytes - bytes));
  }

  #moveTo(horizon: Offset): void {
    this.#log = { ...this.#log, horizon };
    this.#oldest = undefined;
  }

  #lookUpOldest(): Place {
    const { head, horizon } = this.#log;
    if (horizon === head) return none;
    return (this.#oldest ??= this.#placeOf(horizon + 1));
  }

  /** The newest message that is kept whose place is below, or else the horizon. Places only ever grow. */
  #newestBelow(part: keyof Place, value: number): Offset {
    let [below, above] = [this.#log.horizon, this.head + 1];
    while (above - below > 1) {
      const middle = Math.floor((below + above) / 2);
      if (this.#placeOf(middle)[part] < value) below = middle;
      else above = middle;
    }
    return below;
  }

  #placeOf(offset: Offset): Place {
    const place = this.#reader.placeOf(offset);
    if (place === undefined) throw new TypeError(`expected the message ${offset} in the file, found none`);
    return place;
  }
}

/** Where the oldest message stands when there is none. */
const none: Place = { start: Number.POSITIVE_INFINITY, time: Number.POSITIVE_INFINITY };

async function ask(worker: Worker, request: Request): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = ({ message }) => resolve({ kind: "unusable", reason: `the writer has ended: ${message}` });
  worker.postMessage(request);
  return await promise;
}

/** What a message is reckoned at. */
function toSize({ topic, body, event = "", key = "" }: Draft): number {
  return rowBytes + sizeOf(topic) + sizeOf(body) + sizeOf(event) + sizeOf(key);
}

function hasOptions({ ttl, event, key }: Draft): boolean {
  return ttl !== undefined || event !== undefined || key !== undefined;
}

/** Bytes that are a part of a larger buffer would take all of it along to the writer. */
function toWhole(body: Draft["body"]): Draft["body"] {
  return typeof body === "string" || body.byteLength === body.buffer.byteLength ? body : body.slice();
}

function isExpired(ttl: number | undefined, time: number, now: number): boolean {
  return ttl !== undefined && now >= time + ttl * 1000;
}
