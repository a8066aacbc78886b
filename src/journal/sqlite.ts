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
  type Pages,
  type Remembered,
  type Retention,
  steadyNow,
  type TailListener,
} from "../journal.ts";
import type { Logger } from "../logger.ts";
import type { Draft, Message, Offset } from "../message.ts";
import { defaultTurnBytes, Slices, toWireSize } from "./slices.ts";
import { none, type Place, Reader } from "./sqlite-reader.ts";
import { explain, type Log } from "./sqlite-file.ts";
import { Queue, toGroup, type Waiting } from "./sqlite-group.ts";
import { ask, openWriter } from "./sqlite-worker.ts";
import type { Answer, Group, Request } from "./sqlite-writer.ts";

export interface SqliteJournalOptions {
  /** The file; it is made when it is not there. */
  readonly path: string;
  readonly retention: Retention;
  /** How many appends with `once` are remembered; a large one counts as several, as `messagesPerKey` says. */
  readonly maxOnce: number;
  /** For how long, in milliseconds. */
  readonly onceMs: number;
  readonly logger: Pick<Logger, "info" | "warn" | "error">;
  /** What it is called in the log and in errors, and what is refused while it cannot be written: the journal, and pushes. */
  readonly words?: typeof ownWords;
  /** How much is handed over in one turn of the event loop, in bytes. */
  readonly turnBytes?: number;
  /** Milliseconds since 1970, as a clock that never goes back while the process runs. */
  readonly now?: () => number;
}

const checkMs = 1000;
const ownWords = { name: "the journal", refused: "pushes" };
/** How large the write-ahead log becomes before it is taken into the file; it is small where little is to be kept. */
const walBytes = { most: 4 * 1024 * 1024, least: 64 * 1024 };

/** @throws UnusableFile */
export async function openSqliteJournal(options: SqliteJournalOptions): Promise<Journal> {
  const { worker, path, log, forgotten } = await openWriter({
    path: options.path,
    walBytes: Math.max(walBytes.least, Math.min(walBytes.most, options.retention.bytes / 2)),
  });
  if (forgotten !== undefined)
    options.logger.warn(
      "the journal's file may have lost messages; clients that come back are told that they may have missed some",
      { reason: forgotten },
    );
  return new SqliteJournal(options, worker, path, log);
}

interface Settled {
  readonly key: string;
  readonly sessions: readonly number[];
  done(): void;
}

/** The group that the writer has. */
interface UnderWay {
  readonly appends: readonly Waiting[];
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
  /** The newest message that was handed over. */
  head: Offset;
  /** What was synced and could not be handed over in the same turn. */
  readonly #slices: Slices;
  /** Where the log stands, by the last group that was synced; but the horizon is the one of now. */
  #log: Group["log"];
  /** The oldest message that is kept, when it has been looked up. */
  #oldest: Place | undefined;
  /** Up to which offset the writer has no rows any more. */
  #cleaned: Offset = 0;
  readonly #queue = new Queue();
  #settled: Settled[] = [];
  #underWay: UnderWay | undefined;
  #scheduled = false;
  #ended = false;
  /** The file could not be read, and that was logged. */
  #isUnreadable = false;
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
    this.head = log.head;
    this.#slices = new Slices(options.turnBytes ?? defaultTurnBytes);
    this.#ahead = Math.max(0, log.time - this.#clock());
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#take(data);
    worker.onerror = ({ message }) => this.#end(message);
    worker.addEventListener("close", () => this.#end("it stopped"));
    this.#check = setInterval(() => this.#checkNow(), checkMs).unref();
    this.#trim();
  }

  get kept(): { count: number; bytes: number } {
    this.#trim();
    const bytes = this.#oldest === undefined ? 0 : this.#log.bytes - this.#oldest.start;
    return { count: this.head - this.#log.horizon, bytes };
  }

  get ageMs(): number {
    this.#trim();
    return Math.max(0, this.#now() - this.#lookUpOldest().time);
  }

  append(drafts: readonly Draft[], once?: Once): Promise<readonly Offset[]> {
    if (this.#closed !== undefined) throw new PushError("unavailable", "the journal is closed");
    if (this.problem !== undefined) throw this.problem;
    const bytes = this.#queue.weigh(drafts);
    return new Promise((resolve, reject) => {
      this.#queue.push({ drafts, bytes, once, resolve, reject });
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
  ): Pages | undefined {
    this.#trim();
    if (!Number.isSafeInteger(offset) || offset < this.#log.horizon || offset > this.head) return undefined;
    return this.#pages(offset, topics, present);
  }

  offsetBefore(ageMs: number): Offset {
    this.#trim();
    try {
      return this.#newestBelow("time", this.#now() - ageMs);
    } catch (error) {
      if (error instanceof HorizonPassed) return this.head;
      throw error;
    }
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
    this.#slices.finish();
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
    const appends = this.#queue.takeGroup();
    const { log, messages, ...columns } = toGroup(appends, {
      ...this.#log,
      time: Math.max(this.#log.time, this.#now()),
    });
    const settled = this.#settled;
    this.#settled = [];
    this.#underWay = { appends, settled, messages, log };
    const { maxOnce, onceMs } = this.#options;
    this.#post({
      kind: "commit",
      log,
      ...columns,
      settled: settled.map(({ key, sessions }) => ({ key, sessions })),
      onceAfter: this.#now() - onceMs,
      maxOnce,
    });
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
    if (this.problem !== undefined)
      this.#options.logger.info(`${this.#options.words?.name ?? ownWords.name} can be written again`);
    this.problem = undefined;
    this.#trim();
    // The writer has the next group while this one is delivered.
    this.#goOn();
    const { messages, appends, settled } = underWay;
    let next = 0;
    for (const { drafts, resolve } of appends) {
      const own = messages.slice(next, (next += drafts.length));
      this.#slices.add({
        count: own.length,
        step: (index) => this.#handOver(own[index]),
        done: () => resolve(own.map(({ offset }) => offset)),
      });
    }
    this.#slices.add({
      count: 0,
      step: () => 0,
      done: () => {
        this.#trim();
        for (const { done } of settled) done();
      },
    });
  }

  #handOver(message: Message | undefined): number {
    if (message === undefined) return 0;
    this.head = message.offset;
    this.#listener([message], true);
    return toWireSize(message);
  }

  #goOn(): void {
    if (this.#queue.length > 0 || this.#settled.length > 0) this.#send();
    else this.#whenIdle();
  }

  /** The group is not in the log, and what waits behind it would not be either. */
  #refuse(reason: string): void {
    const appends = [...(this.#underWay?.appends ?? []), ...this.#queue.takeAll()];
    const settled = [...(this.#underWay?.settled ?? []), ...this.#settled];
    this.#underWay = undefined;
    this.#settled = [];
    const { name, refused } = this.#options.words ?? ownWords;
    if (this.problem === undefined)
      this.#options.logger.error(`${name} cannot be written; ${refused} are refused until it can`, {
        reason,
      });
    const problem = new PushError("unavailable", `${name} cannot be written: ${reason}`);
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

  *#pages(offset: Offset, topics: readonly string[], present: Offset): Pages {
    for (let position = offset; position < this.head;) {
      if (position < this.#log.horizon) throw new HorizonPassed(`offset ${position} is gone`);
      const span = { after: position, head: this.head, now: this.#now(), present };
      const { messages, position: end } = this.#read(() => this.#reader.read(topics, span));
      // The page itself is not held on to while its reader waits.
      const offsets = messages.map(({ offset: own }) => own);
      const firstLeft = offsets[(yield messages) ?? offsets.length];
      position = firstLeft === undefined ? end : firstLeft - 1;
    }
  }

  /**
   * What cannot be read is lost, and with it all that the file has: retention passes it, so that whoever comes back for it is told.
   *
   * @throws HorizonPassed
   */
  #read<Found>(read: () => Found): Found {
    try {
      return read();
    } catch (error) {
      this.#moveTo(this.head);
      if (!this.#isUnreadable)
        this.#options.logger.error(
          "the journal's file cannot be read; clients that come back are told that they may have missed some",
          { reason: explain(error) },
        );
      this.#isUnreadable = true;
      throw new HorizonPassed("the file cannot be read", { cause: error });
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
    } catch (error) {
      // All that cannot be read is passed already.
      if (!(error instanceof HorizonPassed)) throw error;
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
    const { horizon } = this.#log;
    if (horizon === this.head) return none;
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
    return this.#read(() => {
      const place = this.#reader.placeOf(offset);
      if (place === undefined) throw new Error(`the message ${offset} is missing`);
      return place;
    });
  }
}
