/**
 * Those who read /events.
 *
 *   at the head   what comes in one turn of the event loop is sent at the end of it ──┐
 *        ▲                                                                            │ it takes no more
 *        └──── the log has no more ──── pages of the log, as fast as it takes them ◄──┘
 *
 * So nothing waits in memory for one that is slow but the page that it is being sent. One that retention overtakes is ended: it comes
 * back, and is told that it may have missed some.
 */
import type { EventType } from "../event-types.ts";
import type { Events, LoggedEvent } from "../events.ts";
import { HorizonPassed } from "../journal.ts";
import type { Logger } from "../logger.ts";
import type { Offset } from "../message.ts";

/** Where a reader begins: everything after this follows. */
export interface Start {
  readonly offset: Offset;
  readonly resumed?: boolean;
}

/** How what a reader is told is written. */
export interface Format {
  welcome(id: string, resumed: boolean | undefined): string;
  event(event: LoggedEvent): string;
  /** Says that the connection is alive, and where the reader is. */
  position(id: string): string;
}

/** For how long pages are sent before everything else has its turn. */
const turnMs = 4;

/** All who read now. */
export class EventReaders {
  readonly #readers = new Set<EventReader>();
  /** Those who may take something, in turn. */
  readonly #ready = new Set<EventReader>();
  #isScheduled = false;
  #areClosed = false;

  get size(): number {
    return this.#readers.size;
  }

  /** One that comes after the end is sent what there is, and ended: it comes back to whoever is here then. */
  add(reader: EventReader): void {
    this.#readers.add(reader);
    if (this.#areClosed) reader.finish();
  }

  delete(reader: EventReader): void {
    this.#readers.delete(reader);
    this.#ready.delete(reader);
  }

  /** Sends it what there is, when this turn of the event loop is over. */
  schedule(reader: EventReader): void {
    this.#ready.add(reader);
    this.#scheduleTurn();
  }

  close(): void {
    this.#areClosed = true;
    for (const reader of this.#readers) reader.finish();
  }

  #scheduleTurn(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isScheduled = false;
    // What is new came in one turn, so there is not much of it; what is old has its time.
    for (const reader of this.#ready) reader.sendFresh();
    const until = performance.now() + turnMs;
    for (const reader of this.#ready) {
      if (performance.now() >= until) break;
      // Who can take more has its next page after all others.
      this.#ready.delete(reader);
      if (reader.sendPage()) this.#ready.add(reader);
    }
    if (this.#ready.size > 0) this.#scheduleTurn();
  }
}

interface EventReaderParts {
  readonly events: Events;
  readonly types: readonly EventType[];
  readonly format: Format;
  /** How often it hears something, in milliseconds. */
  readonly ping: number;
  readonly logger: Pick<Logger, "error">;
  readonly readers: EventReaders;
}

/** In bytes. */
const highWaterMark = 64 * 1024;
const encoder = new TextEncoder();

export class EventReader {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #parts: EventReaderParts;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined = undefined;
  /** Up to where it was sent everything. */
  #position: Offset;
  /** What came in this turn of the event loop. */
  #fresh: LoggedEvent[] = [];
  /** What it is in the midst of, when it is behind. */
  #pages: Generator<readonly LoggedEvent[], void> | undefined = undefined;
  readonly #timer: Timer;
  readonly #stopListening: () => void;

  constructor(parts: EventReaderParts, { offset, resumed }: Start) {
    const { events, format, ping, readers } = parts;
    this.#parts = parts;
    this.#position = offset;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          this.#send(format.welcome(events.toId(offset), resumed));
        },
        pull: () => readers.schedule(this),
        cancel: () => this.#end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark }),
    );
    this.#stopListening = events.listen((event) => this.#hear(event));
    this.#timer = setInterval(() => this.#tell(), ping);
    readers.add(this);
  }

  /** Sends what came just now, whether or not the log keeps it, if it follows on what was sent last; if not, the log has it. */
  sendFresh(): void {
    const fresh = this.#fresh;
    if (fresh.length === 0) return;
    this.#fresh = [];
    this.#attempt(() => {
      const following = fresh.filter(({ offset }) => offset > this.#position);
      if (following[0]?.offset !== this.#position + 1) return;
      this.#pages = undefined;
      this.#position += following.length;
      this.#sendEvents(following.filter(({ type }) => this.#parts.types.includes(type)));
    });
  }

  /** Sends a page of the log, if it is behind; gives whether it can take another one. */
  sendPage(): boolean {
    this.#attempt(() => this.#readPage());
    return this.#hasRoom && this.#position < this.#parts.events.head;
  }

  /** Ends the stream, after what there is for who reads at once. */
  finish(): void {
    this.sendFresh();
    while (this.sendPage());
    this.#close();
  }

  #hear(event: LoggedEvent): void {
    this.#fresh.push(event);
    this.#parts.readers.schedule(this);
  }

  /** Says where it is. */
  #tell(): void {
    const { events, format } = this.#parts;
    this.#attempt(() => this.#send(format.position(events.toId(this.#position))));
  }

  /** Sends something, if it is taken: what is not would wait in memory. What fails ends this reader, and nothing else. */
  #attempt(send: () => void): void {
    if (!this.#hasRoom) return;
    try {
      send();
    } catch (error) {
      if (!(error instanceof HorizonPassed))
        this.#parts.logger.error("a reader of events is ended", {
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
      this.#close();
    }
  }

  /** @throws HorizonPassed when retention has passed it: it comes back, and is told so */
  #readPage(): void {
    const { events, types } = this.#parts;
    if (this.#position === events.head) return;
    this.#pages ??= events.since(this.#position, types);
    if (this.#pages === undefined) throw new HorizonPassed(`offset ${this.#position} is gone`);
    const { done, value: page } = this.#pages.next();
    if (done) {
      this.#pages = undefined;
      this.#position = events.head;
      return;
    }
    this.#position = page.at(-1)?.offset ?? this.#position;
    this.#sendEvents(page);
  }

  /** Whether it takes something now; who has gone takes nothing. */
  get #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0;
  }

  #sendEvents(events: readonly LoggedEvent[]): void {
    if (events.length > 0) this.#send(events.map((event) => this.#parts.format.event(event)).join(""));
  }

  #send(text: string): void {
    this.#controller?.enqueue(encoder.encode(text));
  }

  #close(): void {
    const controller = this.#controller;
    this.#end();
    controller?.close();
  }

  #end(): void {
    this.#controller = undefined;
    this.#fresh = [];
    this.#pages = undefined;
    this.#parts.readers.delete(this);
    this.#stopListening();
    clearInterval(this.#timer);
  }
}
