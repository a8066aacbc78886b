/**
 * The four ways to receive, as one: a suite that must hold for each of them walks through the table.
 *
 *   describe.each(transports)("$name", ({ open }) => {
 *     await using receiver = await open(server, { query: "userid=1", since: receipt.id });
 *     expect(await receiver.next()).toEqual({ id, data: "hello" });
 */
import { openEventStream } from "./event-stream.ts";
import { opcodes, openRawSession, type RawSession } from "./frames.ts";
import { poll, type PollAnswer } from "./poll.ts";

export interface Item {
  /** A plain WebSocket has none. */
  readonly id?: string;
  readonly event?: string;
  /** A text; of bytes, what the transport makes of them. */
  readonly data: string;
}

export interface Receiver extends AsyncDisposable {
  /** Where its stream begins, as it was told; of a poll, where the next one begins. */
  readonly start: string;
  readonly resumed?: boolean;
  next(): Promise<Item>;
  /** Every id that it was told so far, of messages and positions alike. */
  readonly told: readonly string[];
  /** Resolves when the server has ended it. */
  ended(): Promise<Ending>;
  /** Leaves what arrives unread; a client that polls reads nothing but what it asks for anyway. */
  stopReading(): void;
  readOn(): void;
}

export interface Ending {
  /** What was not asked for before. */
  readonly rest: readonly Item[];
  /** The close code, of a transport that has such. */
  readonly code?: number;
}

/** What a client says of where it wants to begin, in each of the ways to say it. */
export interface Beginning {
  readonly query?: string;
  readonly since?: string;
  readonly lastEventIdParameter?: string;
  readonly lastEventIdHeader?: string;
}

interface Target {
  readonly url: string;
  readonly port: number;
}

export interface Transport {
  readonly name: string;
  /** Whether a message comes with its id. */
  readonly hasIds: boolean;
  /** Whether a client is connected also while nothing is asked of it. */
  readonly isStream: boolean;
  /** How bytes come, and whether the name of an event does. */
  readonly showBytes: (bytes: Uint8Array) => string;
  readonly hasEvents: boolean;
  /** The path that a plain request with the same query goes to, which runs the same checks. */
  readonly path: string;
  /** Connects; fails when that is refused. */
  open(server: Target, beginning?: Beginning): Promise<Receiver>;
}

const toBase64 = (bytes: Uint8Array) => bytes.toBase64();
const toLatin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

export const transports: readonly Transport[] = [
  {
    name: "a plain WebSocket",
    path: "/ws",
    hasIds: false,
    hasEvents: false,
    isStream: true,
    showBytes: toLatin1,
    open: openPlain,
  },
  {
    name: "push.v1",
    path: "/ws",
    hasIds: true,
    hasEvents: true,
    isStream: true,
    showBytes: toBase64,
    open: openPushV1,
  },
  {
    name: "SSE",
    path: "/sse",
    hasIds: true,
    hasEvents: true,
    isStream: true,
    showBytes: toBase64,
    open: openSse,
  },
  {
    name: "long poll",
    path: "/poll",
    hasIds: true,
    hasEvents: true,
    isStream: false,
    showBytes: toBase64,
    open: openPoll,
  },
];

/** The transports whose clients stay connected. */
export const streams: readonly Transport[] = transports.filter(({ isStream }) => isStream);

function toQuery({ query = "", since, lastEventIdParameter }: Beginning): string {
  return [
    query,
    since === undefined ? "" : `since=${encodeURIComponent(since)}`,
    lastEventIdParameter === undefined ? "" : `last_event_id=${encodeURIComponent(lastEventIdParameter)}`,
  ]
    .filter((part) => part !== "")
    .join("&");
}

function toHeaders({ lastEventIdHeader }: Beginning): Record<string, string> {
  return lastEventIdHeader === undefined ? {} : { "Last-Event-ID": lastEventIdHeader };
}

async function openPlain(server: Target, beginning: Beginning = {}): Promise<Receiver> {
  const session = await openRawSession(server, toQuery(beginning), toLines(toHeaders(beginning)));
  return toSocketReceiver(session, toStart(session.handshake.headers), (payload, opcode) => ({
    item: { data: payload.toString(opcode === opcodes.text ? "utf8" : "latin1") },
  }));
}

async function openPushV1(server: Target, beginning: Beginning = {}): Promise<Receiver> {
  const headers = toLines({ "Sec-WebSocket-Protocol": "push.v1", ...toHeaders(beginning) });
  const session = await openRawSession(server, toQuery(beginning), headers);
  const welcome = JSON.parse((await session.frame()).payload.toString());
  if (welcome.type !== "welcome") throw new Error(`the first frame is of type ${welcome.type}`);
  const { id: start, resumed } = welcome;
  return toSocketReceiver(session, { start, ...(resumed !== undefined && { resumed }) }, (payload) => {
    const { type, data, base64, ...rest } = JSON.parse(payload.toString());
    return { id: rest.id, ...(type === "message" && { item: { ...rest, data: data ?? base64 } }) };
  });
}

async function openSse(server: Target, beginning: Beginning = {}): Promise<Receiver> {
  const stream = await openEventStream(server, { query: toQuery(beginning), headers: toHeaders(beginning) });
  if (stream.head.status !== 200) throw new Error(`refused with ${stream.head.status}: ${stream.head.body}`);
  const welcome = JSON.parse((await stream.event()).data ?? "");
  const told: string[] = [];
  let code: number | undefined;
  const read = async (): Promise<Item | undefined> => {
    for (;;) {
      const block = await stream.block();
      if (block?.id !== undefined) told.push(block.id);
      if (block === undefined) return undefined;
      if (block.event === "push.close") ({ code } = JSON.parse(block.data ?? ""));
      else if (block.data !== undefined) return toItem(block);
    }
  };
  return {
    start: welcome.id,
    ...(welcome.resumed !== undefined && { resumed: welcome.resumed }),
    told,
    async next() {
      const item = await read();
      if (item === undefined) throw new Error("the stream ended");
      return item;
    },
    async ended() {
      const rest: Item[] = [];
      for (let item = await read(); item !== undefined; item = await read()) rest.push(item);
      return { rest, ...(code !== undefined && { code }) };
    },
    stopReading: () => stream.raw.stopReading(),
    readOn: () => stream.raw.readOn(),
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}

function toItem({ id, event, data = "" }: Partial<Item>): Item {
  return { ...(id !== undefined && { id }), ...(event !== undefined && { event }), data };
}

/** A client that polls again whenever it is asked for more than it has, and only then. */
async function openPoll(server: Target, beginning: Beginning = {}): Promise<Receiver> {
  const { query = "" } = beginning;
  const waiting: Item[] = [];
  const gone = new AbortController();
  const told: string[] = [];
  const take = ({ id, messages }: PollAnswer) => {
    for (const { data, base64, ...rest } of messages) waiting.push({ ...rest, data: data ?? base64 ?? "" });
    told.push(...messages.map((message) => message.id), id);
  };
  const first = await poll(server, {
    query: `${toQuery(beginning)}&wait=0`,
    headers: toHeaders(beginning),
  });
  take(first);
  let { id } = first;
  const goOn = async () => {
    const answer = await poll(server, { query: `${query}&since=${id}&wait=60`, signal: gone.signal });
    take(answer);
    id = answer.id;
    return answer;
  };
  return {
    start: first.id,
    ...(first.resumed !== undefined && { resumed: first.resumed }),
    told,
    async next() {
      for (;;) {
        const item = waiting.shift();
        if (item !== undefined) return item;
        if ((await goOn()).resumed !== true) throw new Error("the poll did not resume");
      }
    },
    async ended() {
      while ((await goOn()).messages.length > 0);
      return { rest: waiting.splice(0) };
    },
    stopReading() {},
    readOn() {},
    async [Symbol.asyncDispose]() {
      gone.abort();
    },
  };
}

function toSocketReceiver(
  session: RawSession,
  start: Pick<Receiver, "start" | "resumed">,
  parse: (payload: Buffer, opcode: number) => { readonly id?: string; readonly item?: Item },
): Receiver {
  const told: string[] = [];
  const read = async (): Promise<Item | { readonly code: number }> => {
    for (;;) {
      const { opcode, payload } = await session.frame();
      if (opcode === opcodes.close) return { code: payload.readUInt16BE() };
      const { id, item } = parse(payload, opcode);
      if (id !== undefined) told.push(id);
      if (item !== undefined) return item;
    }
  };
  return {
    ...start,
    told,
    async next() {
      const item = await read();
      if ("code" in item) throw new Error(`the session was closed with ${item.code}`);
      return item;
    },
    async ended() {
      const rest: Item[] = [];
      for (;;) {
        const item = await read();
        if ("code" in item) return { rest, code: item.code };
        rest.push(item);
      }
    },
    stopReading: () => session.raw.stopReading(),
    readOn: () => session.raw.readOn(),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

function toStart(headers: Headers): Pick<Receiver, "start" | "resumed"> {
  const resumed = headers.get("server-push-resumed");
  return {
    start: headers.get("last-event-id") ?? "",
    ...(resumed !== null && { resumed: resumed === "true" }),
  };
}

function toLines(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
}
