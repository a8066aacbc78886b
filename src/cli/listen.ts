/**
 * `server-push listen`: prints what arrives, and comes back to where it was when the connection is lost.
 *
 * A WebSocket cannot be told to wait, so a reader of our output that stalls ends the connection before too much waits for it: what
 * comes meanwhile is kept by the server's journal, and is fetched from there.
 */
import { toEscapes, quoteArgument } from "../errors.ts";
import { mayReconnect, type MessageFrame, type ServerFrame, subprotocol } from "../protocol.ts";
import {
  addressOptions,
  call,
  countRule,
  describeFailure,
  parse,
  readCount,
  toCallUrl,
  urlRule,
} from "./client.ts";
import { fail, Lines, note, print } from "./output.ts";
import { answerMs, describeGap, type Ending, follow, graceMs, toRefusal } from "./reconnect.ts";

const help = `Print every message that arrives from a running server, one a line.

Usage: server-push listen [--userid ID] [--compid ID] [OPTIONS]

  --userid ID     The user to be
  --compid ID     The component to be; with neither, only what is pushed to all arrives
  --since WHEN    Begin with what came after an id, in a time until now such as 10m, or with all that is kept; without
                  it, begin now
  --count N       End after N messages
  --json          Print {"data":"…"}, or {"base64":"…"} for a binary message
  --token TOKEN   Who to be, where the server needs to know; better from the environment: SERVER_PUSH_TOKEN
  --url URL       The server (http://127.0.0.1:8888)

A text is printed as it is, but that line breaks and control characters are shown as \\n and \\u001b, so that a
message is always one line; a binary message is printed in base64. A lost connection is opened again, with a note
on standard error, and what was pushed meanwhile follows. When the server cannot prove that it has all of that, a
note says so. It ends when the server refuses it for good, as when its token has expired.
Exit status: 0 after --count messages, 1 refused or not reached, 2 wrong arguments.
`;

export async function listen(argv: readonly string[]): Promise<number> {
  const parsed = parse(argv, {
    ...addressOptions,
    since: { type: "string" },
    token: { type: "string" },
    count: { type: "string" },
    json: { type: "boolean", default: false },
  });
  if (typeof parsed === "string") return fail(2, parsed);
  const { values, positionals } = parsed;
  if (values.help) return await print(help);
  const { userid, compid, since, json } = values;
  const [surplus] = positionals;
  if (surplus !== undefined)
    return fail(2, `${quoteArgument(surplus, argv)}: unexpected, expected only options`);
  const count = readCount(values.count);
  if (count === undefined) return fail(2, countRule);
  const url = toCallUrl(values.url, "/ws", { userid, compid, since });
  if (url === undefined) return fail(2, urlRule);

  const token = values.token ?? process.env["SERVER_PUSH_TOKEN"];
  // A header could not carry it; what is wrong with it besides, the server says.
  if (token !== undefined && !/^[!-~]+$/.test(token))
    return fail(2, "--token, or SERVER_PUSH_TOKEN: expected characters of printable ASCII");
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };

  const lines = new Lines();
  let wanted = count;
  const take = (frame: ServerFrame): boolean => {
    // A newer server may have more to say.
    if (frame.type !== "welcome" && frame.type !== "message" && frame.type !== "position") return true;
    if (frame.type === "welcome" && frame.resumed === false) note(describeGap("messages", url));
    // What the back end answers to this very session has none.
    if (frame.id !== undefined) url.searchParams.set("since", frame.id);
    if (frame.type !== "message") return true;
    lines.add(json ? toJson(frame) : toLine(frame));
    return --wanted > 0 && !lines.areFull;
  };

  return await follow({
    async connect(everOpen) {
      const { state, code, reason } = await receive(url, headers, take);
      if (state === "stopped") return { state, reason };
      // Where nothing was heard, nothing would be heard of the reason either.
      if (state === "connecting" || (state === "unheard" && !everOpen)) return await explain(url, headers);
      const said = [code, reason].join(" ").trim();
      return mayReconnect(code)
        ? { state: state === "unheard" ? "refused" : state, reason: `connection lost (${said})` }
        : { state: "opened", reason: `closed by the server: ${said}`, isFinal: true };
    },
    lines,
    isDone: () => wanted === 0,
  });
}

type Headers = Readonly<Record<string, string>>;

interface Closing {
  /** How far it came: `unheard` when nothing answered the handshake, `stopped` when `take` wanted no more. */
  readonly state: "connecting" | "unheard" | "opened" | "stopped";
  readonly code: number;
  readonly reason: string;
}

/** One connection, from its begin to its end: closes it when `take` wants no more, and gives it up when nothing is heard. */
function receive(url: URL, headers: Headers, take: (frame: ServerFrame) => boolean): Promise<Closing> {
  const target = new URL(url);
  target.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(target, { protocols: [subprotocol], headers });
  const { promise, resolve } = Promise.withResolvers<Closing>();
  let state: Closing["state"] = "connecting";
  let silenceMs = answerMs;
  const giveUp = () => {
    // A farewell would wait for an answer that does not come.
    socket.terminate();
    if (state === "connecting") state = "unheard";
    resolve({ state, code: 1006, reason: `nothing heard for ${silenceMs / 1000} s` });
  };
  let timer = setTimeout(giveUp, silenceMs);
  const stayAwake = () => {
    clearTimeout(timer);
    timer = setTimeout(giveUp, silenceMs);
  };
  socket.onopen = () => {
    // A server that knows nothing of it would send what has no ids.
    if (socket.protocol === subprotocol) state = "opened";
    else socket.close(1000);
  };
  socket.onmessage = ({ data }) => {
    // What had been sent before the server knew that it should stop comes again, as no id of it was taken.
    if (state !== "opened") return;
    const frame: ServerFrame = JSON.parse(data);
    if (frame.type === "welcome") silenceMs = 2 * frame.idle * 1000 + graceMs;
    stayAwake();
    if (take(frame)) return;
    state = "stopped";
    socket.close(1000);
  };
  socket.onclose = ({ code, reason }) => {
    clearTimeout(timer);
    resolve({ state, code, reason });
  };
  return promise;
}

/** Why a handshake failed: the same URL without one runs the same checks, and says what is wrong. */
async function explain(url: URL, headers: Headers): Promise<Ending> {
  try {
    const response = await call(url, { headers, signal: AbortSignal.timeout(answerMs) });
    return await toRefusal(
      response,
      response.status === 426
        ? `${url.origin} did not accept a WebSocket with the subprotocol ${subprotocol}`
        : undefined,
    );
  } catch (error) {
    return { state: "refused", reason: describeFailure(url, error) };
  }
}

function toJson({ data, base64 }: MessageFrame): string {
  return JSON.stringify(base64 === undefined ? { data } : { base64 });
}

function toLine({ data = "", base64 }: MessageFrame): string {
  if (base64 !== undefined) return base64;
  return data.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => shown.get(character) ?? toEscapes(character));
}

/** The control characters that are not shown as \uXXXX. */
const shown = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\t"],
]);
