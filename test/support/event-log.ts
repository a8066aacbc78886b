/**
 * A back end that reads /events, in either format. What it is told is as it was sent; positions are noted on the way.
 *
 *   await using reader = await readEvents("NDJSON", server, { query: "types=user.online" });
 *   expect(reader.welcome.resumed).toBeUndefined();
 *   expect(await reader.next()).toMatchObject({ type: "user.online", data: { userid: "1" } });
 */
import { openEventStream } from "./event-stream.ts";
import type { RawAnswer, RawConnection } from "./raw.ts";
import { openTextStream } from "./text-stream.ts";

export const eventFormats = ["SSE", "NDJSON"] as const;
export type EventFormat = (typeof eventFormats)[number];

export interface HeardEvent {
  readonly id: string;
  readonly type: string;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, string | number | boolean>>;
}

export interface Welcome {
  readonly id: string;
  readonly resumed?: boolean;
  readonly idle: number;
}

export interface EventReading extends AsyncDisposable {
  readonly raw: RawConnection;
  readonly head: RawAnswer;
  readonly welcome: Welcome;
  /** The last id that it was told, of the welcome, an event or a position. */
  readonly position: string;
  /** How many positions it was told. */
  readonly positions: number;
  /** The next event; fails at the end. */
  next(): Promise<HeardEvent>;
  /** The next thing, whatever it is: an event, or `undefined` for a position. Fails at the end. */
  step(): Promise<HeardEvent | undefined>;
  /** All events up to one like this, and with it. */
  until(isLast: (event: HeardEvent) => boolean): Promise<HeardEvent[]>;
  /** All events up to the end of the stream, in good order or not. */
  rest(): Promise<HeardEvent[]>;
}

export interface ReadingOptions {
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One thing that the stream has told. */
interface Told {
  readonly type: string;
  readonly id: string;
  readonly rest: object;
}

type Wire = Pick<EventReading, "raw" | "head"> & { tell(): Promise<Told | undefined> };

/** Asks for the events, and gives them when the welcome has come; fails when that is refused. */
export async function readEvents(
  format: EventFormat,
  server: { readonly port: number },
  options: ReadingOptions = {},
): Promise<EventReading> {
  const { raw, head, tell } = await (format === "SSE" ? openSse : openLines)(server, options);
  if (head.status !== 200) throw new Error(`refused with ${head.status}: ${head.body}`);
  const first = await tell();
  if (first?.type !== "events.welcome") throw new Error(`the first thing is ${JSON.stringify(first)}`);
  let position = first.id;
  let positions = 0;

  const step = async () => {
    const told = await tell();
    if (told === undefined) throw new Error("the stream ended");
    position = told.id;
    if (told.type !== "events.position") return { ...told.rest, id: told.id, type: told.type } as HeardEvent;
    positions++;
    return undefined;
  };
  const next = async () => {
    for (;;) {
      const event = await step();
      if (event !== undefined) return event;
    }
  };
  return {
    raw,
    head,
    // The server's own words, which the tests look at.
    welcome: { ...first.rest, id: first.id } as Welcome,
    get position() {
      return position;
    },
    get positions() {
      return positions;
    },
    step,
    next,
    async until(isLast) {
      const events: HeardEvent[] = [];
      for (;;) {
        const event = await next();
        events.push(event);
        if (isLast(event)) return events;
      }
    },
    async rest() {
      const events: HeardEvent[] = [];
      for (;;) {
        const event = await next().catch(() => undefined);
        if (event === undefined) return events;
        events.push(event);
      }
    },
    [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose](),
  };
}

async function openSse(server: { readonly port: number }, options: ReadingOptions): Promise<Wire> {
  const { raw, head, block } = await openEventStream(server, { path: "/events", ...options });
  return {
    raw,
    head,
    async tell() {
      const told = await block();
      if (told === undefined) return undefined;
      const { id = "", event: type = "events.position", data = "{}" } = told;
      return { type, id, rest: JSON.parse(data) };
    },
  };
}

async function openLines(
  server: { readonly port: number },
  { query = "", headers = {} }: ReadingOptions,
): Promise<Wire> {
  const { raw, head, until } = await openTextStream(server, `/events${query && `?${query}`}`, {
    Accept: "application/x-ndjson",
    ...headers,
  });
  return {
    raw,
    head,
    async tell() {
      const line = await until("\n");
      if (line === undefined) return undefined;
      const { type, id, ...rest } = JSON.parse(line);
      return { type, id, rest };
    },
  };
}
