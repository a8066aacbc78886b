/**
 * `server-push events`: prints what happens at a server, and comes back to where it was when the connection is lost.
 */
import { quoteArgument } from "../errors.ts";
import { eventTypes } from "../event-types.ts";
import { toInert, toPairs } from "../logger.ts";
import {
  call,
  callOptions,
  countRule,
  describeFailure,
  keyRule,
  parse,
  readCount,
  readKey,
  toCallUrl,
  urlRule,
} from "./client.ts";
import { fail, Lines, note, print } from "./output.ts";
import { answerMs, describeGap, type Ending, follow, graceMs, toRefusal } from "./reconnect.ts";

const help = `Print what happens at a running server, one event a line: who comes and goes, what clients send, and which
messages found nobody.

Usage: server-push events [OPTIONS]

  --types TYPES   Only these types, with commas between: ${eventTypes.slice(0, 3).join(", ")},
                  ${eventTypes.slice(3).join(", ")}
  --since WHEN    Begin with what came after an id, in a time until now such as 10m, or with all that is kept; without
                  it, begin now
  --count N       End after N events
  --json          Print {"id":"…","type":"…","timestamp":"…","data":{…}}; so it does wherever that is no terminal
  --api-key KEY   The server's API key, where it has one; better from the environment: SERVER_PUSH_API_KEY
  --url URL       The server (http://127.0.0.1:8888)

A lost connection is opened again, with a note on standard error, and what happened meanwhile follows. When the
server cannot prove that it has all of that, a note says so. It ends when the server refuses it for good.
Exit status: 0 after --count events, 1 refused or not reached, 2 wrong arguments.
`;

const contentType = "application/x-ndjson";

/** One line of what the server sends: an event; or, by a type that begins with `events.`, what it says of the stream. */
interface Line {
  readonly type: string;
  readonly id: string;
  readonly timestamp?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Of a welcome. */
  readonly resumed?: boolean;
  readonly idle?: number;
}

export async function events(argv: readonly string[]): Promise<number> {
  const parsed = parse(argv, {
    ...callOptions,
    types: { type: "string" },
    since: { type: "string" },
    count: { type: "string" },
    json: { type: "boolean", default: false },
    "api-key": { type: "string" },
  });
  if (typeof parsed === "string") return fail(2, parsed);
  const { values, positionals } = parsed;
  if (values.help) return await print(help);
  const [surplus] = positionals;
  if (surplus !== undefined)
    return fail(2, `${quoteArgument(surplus, argv)}: unexpected, expected only options`);
  const count = readCount(values.count);
  if (count === undefined) return fail(2, countRule);
  const authorization = readKey(values["api-key"]);
  if (authorization === undefined) return fail(2, keyRule);
  const url = toCallUrl(values.url, "/events", { types: values.types, since: values.since });
  if (url === undefined) return fail(2, urlRule);

  const headers = { Accept: contentType, ...authorization };
  const show = values.json || !process.stdout.isTTY ? toJson : toText;
  const lines = new Lines();
  let wanted = count;
  const take = (line: Line): boolean => {
    if (line.resumed === false) note(describeGap("events", url));
    url.searchParams.set("since", line.id);
    if (line.type.startsWith("events.")) return true;
    lines.add(show(line));
    return --wanted > 0 && !lines.areFull;
  };
  return await follow({ connect: () => receive(url, headers, take), lines, isDone: () => wanted === 0 });
}

/** One connection, from its begin to its end: ends it when `take` wants no more, and gives it up when nothing is heard. */
async function receive(
  url: URL,
  headers: Readonly<Record<string, string>>,
  take: (line: Line) => boolean,
): Promise<Ending> {
  const ended = new AbortController();
  let silenceMs = answerMs;
  const giveUp = () => ended.abort(new Error(`nothing heard for ${silenceMs / 1000} s`));
  let timer = setTimeout(giveUp, silenceMs);
  let isOpen = false;
  try {
    // How long it may be silent is ours to say.
    const response = await call(url, { headers, signal: ended.signal, timeout: false });
    if (!response.ok) return await toRefusal(response);
    if (response.headers.get("content-type") !== contentType || response.body === null)
      return await toRefusal(response, `${url.origin} did not answer with events`);
    isOpen = true;
    for await (const text of readLines(response.body)) {
      const line = parseLine(text);
      if (line.idle !== undefined) silenceMs = 2 * line.idle * 1000 + graceMs;
      clearTimeout(timer);
      timer = setTimeout(giveUp, silenceMs);
      if (!take(line)) return { state: "stopped", reason: "" };
    }
    return { state: "opened", reason: "connection lost (the server ended it)" };
  } catch (error) {
    if (!isOpen) return { state: "refused", reason: describeFailure(url, error) };
    return { state: "opened", reason: `connection lost (${error instanceof Error ? error.message : error})` };
  } finally {
    clearTimeout(timer);
    ended.abort();
  }
}

/** Every line that is whole: what was cut off comes again. */
async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** @throws Error when it is none */
function parseLine(text: string): Line {
  const line: Line | null = JSON.parse(text);
  if (typeof line?.type === "string" && typeof line.id === "string") return line;
  throw new Error("what came is no event");
}

function toJson({ id, type, timestamp, data }: Line): string {
  return toInert(JSON.stringify({ id, type, timestamp, data }));
}

const typeWidth = Math.max(...eventTypes.map((type) => type.length));

/** `12:30:01 user.online        userid=123`, as the log of the server has them. */
function toText({ type, timestamp = "", data = {} }: Line): string {
  const time = new Date(timestamp).toTimeString().slice(0, 8);
  return [`${time} ${toInert(type).padEnd(typeWidth)}`, ...toPairs(data)].join("  ").trimEnd();
}
