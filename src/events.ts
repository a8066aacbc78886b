/**
 * What happens here, as events for the back end: who comes and goes, what clients send, what found nobody.
 *
 *   hub ──► record ──► log (a journal of its own) ──► tail ──► webhooks
 *                        └── pages ──► /events
 *
 * The log is a journal like that of the messages, so an event has an id, is kept for a while, survives a restart with `--data`, and
 * reaches everybody in one order. Its topics are the types.
 */
import type { EventType } from "./event-types.ts";
import type { Journal, Pages } from "./journal.ts";
import { type Message, type Offset, toMessageId } from "./message.ts";

/** What every event says beside its type and its time. */
export type EventData = Readonly<Record<string, string | number | boolean | undefined>>;

/** An event that the log has taken. */
export interface LoggedEvent {
  /** Opaque; the same wherever and however often the event is given. */
  readonly id: string;
  readonly offset: Offset;
  readonly type: EventType;
  /** `{"type":…,"timestamp":…,"data":{…}}`, as JSON. */
  readonly json: string;
}

export interface EventsParts {
  readonly log: Journal;
  /** So many events could not be taken into the log. */
  readonly onLost: (count: number) => void;
}

export class Events {
  readonly #log: Journal;
  readonly #onLost: (count: number) => void;
  readonly #listeners = new Set<(event: LoggedEvent) => void>();
  /** Of the newest event: many have the same. */
  #timestamp = { ms: 0, text: "" };
  #lastRecorded: Promise<unknown> = Promise.resolve();
  #underWay = 0;

  constructor({ log, onLost }: EventsParts) {
    this.#log = log;
    this.#onLost = onLost;
    log.tail((messages, here) => {
      if (here) for (const { body } of messages) this.#underWay -= body.length;
      if (this.#listeners.size === 0) return;
      for (const message of messages) {
        const event = this.#toEvent(message);
        for (const listener of this.#listeners) listener(event);
      }
    });
  }

  /** Why nothing can be written down now. */
  get problem(): Error | undefined {
    return this.#log.problem;
  }

  /** Writes it down, and gives whether it is; what cannot be written down is lost, and counted. */
  record(type: EventType, data: EventData): boolean | Promise<boolean> {
    // Put together by hand: what clients send would cost twice as much otherwise.
    const json = `{"type":"${type}","timestamp":"${this.#toTimestamp(Date.now())}","data":${JSON.stringify(data)}}`;
    this.#underWay += json.length;
    try {
      const taken = this.#log.append([{ topic: type, body: json }]);
      if (!(taken instanceof Promise)) return true;
      const written = taken.then(
        () => true,
        () => this.#lose(json),
      );
      this.#lastRecorded = written;
      return written;
    } catch {
      return this.#lose(json);
    }
  }

  #lose(json: string): false {
    this.#underWay -= json.length;
    this.#onLost(1);
    return false;
  }

  /** How much was recorded and is not handed over yet, in characters. */
  get underWay(): number {
    return this.#underWay;
  }

  #toTimestamp(now: number): string {
    if (now !== this.#timestamp.ms) this.#timestamp = { ms: now, text: new Date(now).toISOString() };
    return this.#timestamp.text;
  }

  /** Resolves when everything that was recorded so far was handed over, or is lost. */
  async written(): Promise<void> {
    await this.#lastRecorded;
  }

  /** Calls it with every event from now on, in their order. It must not throw. */
  listen(listener: (event: LoggedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Names this log: ids of another one never resume. */
  get epoch(): string {
    return this.#log.epoch;
  }

  /** The newest event's. */
  get head(): Offset {
    return this.#log.head;
  }

  /** As `Journal.offsetBefore`. */
  offsetBefore(ageMs: number): Offset {
    return this.#log.offsetBefore(ageMs);
  }

  toId(offset: Offset): string {
    return toMessageId(this.#log.epoch, offset);
  }

  /** The events of these types after the offset, in pages; `undefined` when it cannot be proven that these are all. */
  since(offset: Offset, types: readonly EventType[]): Generator<readonly LoggedEvent[], void> | undefined {
    const pages = this.#log.since(offset, types);
    return pages && this.#toPages(pages);
  }

  /**
   * Who was online after the newest event, as far as the log goes back, and since when, in milliseconds since 1970. Of who came before the
   * log begins there is the end of a session, when the server was told to stop; that is as long as is known.
   */
  readOnline(): Map<string, number> {
    const online = new Map<string, number>();
    const oldest = this.offsetBefore(Number.POSITIVE_INFINITY);
    for (const page of this.since(oldest, ["user.online", "user.offline", "session.closed"]) ?? [])
      for (const { type, json } of page) {
        const { timestamp, data } = JSON.parse(json) as { timestamp: string; data: { userid?: string } }; // as `record` has written it
        const { userid } = data;
        if (userid === undefined) continue;
        if (type === "user.offline") online.delete(userid);
        else if (type === "user.online" || !online.has(userid)) online.set(userid, Date.parse(timestamp));
      }
    return online;
  }

  *#toPages(pages: Pages): Generator<readonly LoggedEvent[], void> {
    for (const page of pages) yield page.map((message) => this.#toEvent(message));
  }

  #toEvent({ topic, offset, body }: Message): LoggedEvent {
    // Nothing but `record` writes into the log.
    return { id: this.toId(offset), offset, type: topic as EventType, json: body as string };
  }
}
