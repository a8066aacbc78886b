/**
 * The load: an audience of sessions that count what arrives, and publishers that push to it.
 */
import type { ServerProcess } from "../support/process.ts";
import { cpuBetween, Latencies, readCpuAtRest, readOwnCpu, readWaiting } from "./measure.ts";
import {
  type Listener,
  Publisher,
  type Session,
  StreamSession,
  toMessage,
  WebSocketSession,
} from "./sockets.ts";

/** Handshakes at once: fewer than the 512 connections that Bun lets wait to be accepted. */
const handshakesAtOnce = 64;
const withinMs = 20_000;

/** The query of a session's address, which is its own: every session has a user and a component. */
export function toAddress(index: number): string {
  return `userid=user-${index}&compid=component-${index}`;
}

/** What its sessions use. */
export type Transport = "WebSocket" | "Server-Sent Events";

export interface Opening {
  readonly toQuery?: (index: number) => string;
  readonly toHeaders?: (index: number) => readonly string[];
  readonly atOnce?: number;
}

export class Audience implements Listener, Disposable {
  readonly sessions: Session[] = [];
  readonly #transport: Transport;
  readonly #failure = Promise.withResolvers<never>();
  #latencies = new Latencies();
  #pushedAt: number[] = [];
  #arrived = 0;
  #expected = Number.POSITIVE_INFINITY;
  #complete: () => void = () => {};

  constructor(transport: Transport = "WebSocket") {
    this.#transport = transport;
    // Whoever waits is told; while nobody does, a failure waits for them.
    this.#failure.promise.catch(() => {});
  }

  /**
   * Opens so many more sessions, and resolves when all are open.
   *
   * @param toQuery   the address of each
   * @param toHeaders lines of its request on top of those that every session sends
   * @param atOnce    how many handshakes are under way at any time
   */
  async open(
    server: ServerProcess,
    count: number,
    { toQuery = toAddress, toHeaders = () => [], atOnce = handshakesAtOnce }: Opening = {},
  ): Promise<void> {
    const last = this.sessions.length + count;
    const Kind = this.#transport === "WebSocket" ? WebSocketSession : StreamSession;
    const openNext = async () => {
      while (this.sessions.length < last) {
        const index = this.sessions.length;
        const session = new Kind(this);
        this.sessions.push(session);
        await session.open(server.port, toQuery(index), toHeaders(index));
      }
    };
    await this.#within(`${count} handshakes`, Promise.all(Array.from({ length: atOnce }, openNext)));
  }

  /** Begins to count anew. */
  expectNone(): void {
    for (const session of this.sessions) session.frames = 0;
    this.#latencies = new Latencies();
    this.#pushedAt = [];
    this.#arrived = 0;
    this.#expected = Number.POSITIVE_INFINITY;
  }

  /** Makes the next message: its latency counts from now on. */
  nextMessage(): string {
    return toMessage(this.#pushedAt.push(performance.now()) - 1);
  }

  /** How many messages were made since `expectNone`. */
  get messages(): number {
    return this.#pushedAt.length;
  }

  /** Resolves when so many frames have arrived since `expectNone`. */
  async untilArrived(frames: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#expected = frames;
    this.#complete = resolve;
    if (this.#arrived >= frames) resolve();
    await this.#within(`${frames} frames`, promise).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.#arrived} of ${frames} frames arrived`);
    });
  }

  /** Holds what arrived against what each session was sent: not a frame less, and not one more. */
  verify(expected: (index: number) => number): void {
    for (const [index, { frames }] of this.sessions.entries())
      if (frames !== expected(index))
        throw new Error(`session ${index} got ${frames} frames, expected ${expected(index)}`);
  }

  get latencies(): Latencies {
    return this.#latencies;
  }

  onFrame(number: number, now: number): void {
    const pushedAt = this.#pushedAt[number];
    if (pushedAt !== undefined) this.#latencies.record(now - pushedAt);
    if (++this.#arrived === this.#expected) this.#complete();
  }

  onFailure(problem: string): void {
    this.#failure.reject(new Error(problem));
  }

  [Symbol.dispose](): void {
    for (const session of this.sessions) session.close();
  }

  async #within<Value>(what: string, work: Promise<Value>): Promise<Value> {
    return await within(what, Promise.race([work, this.#failure.promise]));
  }
}

/** What a stretch of work cost. */
export interface Cost {
  readonly wallMs: number;
  /** The CPU time of the server, in microseconds. */
  readonly cpu: number;
  /** What the server and this process, which makes the load, used of a core each: 1 is all of it. */
  readonly serverShare: number;
  readonly loadShare: number;
  /** What the server could not use of its core as something else had it: on a quiet machine, next to nothing. */
  readonly waitShare: number;
}

/** Runs the work and measures it. The shares are of the time of the work; the CPU time includes what the server finishes after. */
export async function measureCost(server: ServerProcess, work: () => Promise<void>): Promise<Cost> {
  const cpuBefore = await readCpuAtRest(server.pid);
  const waitingBefore = readWaiting(server.pid);
  const ownBefore = readOwnCpu();
  const began = performance.now();
  await work();
  const wallMs = performance.now() - began;
  const loadShare = (readOwnCpu() - ownBefore) / 1000 / wallMs;
  const waitShare = (readWaiting(server.pid) - waitingBefore) / 1000 / wallMs;
  const cpu = cpuBetween(cpuBefore, await readCpuAtRest(server.pid));
  return { wallMs, cpu, serverShare: cpu / 1000 / wallMs, loadShare, waitShare };
}

export interface Publishing {
  readonly publishers: number;
  readonly durationMs: number;
  /** Lines of each request on top of those that every publisher sends. */
  readonly headers?: readonly string[];
  /** Makes the path of the next push. */
  readonly nextPath: () => string;
  /** Resolves when all that was pushed has arrived. */
  readonly untilArrived: () => Promise<void>;
}

/** So many publishers push at once, each its next message when the last one was answered, and all of it arrives. */
export async function publish(
  server: ServerProcess,
  { publishers: count, durationMs, headers, nextPath, untilArrived }: Publishing,
): Promise<Cost> {
  const work = (publishers: readonly Publisher[]) =>
    measureCost(server, async () => {
      const end = performance.now() + durationMs;
      const push = async (publisher: Publisher) => {
        while (performance.now() < end) await publisher.get(nextPath());
      };
      await within("an answer", Promise.all(publishers.map(push)));
      await untilArrived();
    });
  return await withPublishers(server, count, work, headers);
}

/** Connections of so many publishers, for as long as the work takes. */
export async function withPublishers<Result>(
  { port }: ServerProcess,
  count: number,
  work: (publishers: readonly Publisher[]) => Promise<Result>,
  headers?: readonly string[],
): Promise<Result> {
  const publishers = await Promise.all(Array.from({ length: count }, () => Publisher.open(port, headers)));
  try {
    return await work(publishers);
  } finally {
    for (const publisher of publishers) publisher.close();
  }
}

export async function within<Value>(what: string, work: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not in ${withinMs} ms: ${what}`)), withinMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
