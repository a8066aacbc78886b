/**
 * `server-push listen`: prints what arrives, and comes back when the connection is lost.
 */
import { toEscapes } from "../errors.ts";
import { mayReconnect } from "../protocol.ts";
import { addressOptions, call, describeFailure, parse, readProblem, toCallUrl } from "./client.ts";
import { fail, note, print } from "./output.ts";

const help = `Print every message that arrives from a running server, one a line.

Usage: server-push listen [--userid ID] [--compid ID] [OPTIONS]

  --userid ID     The user to be
  --compid ID     The component to be; with neither, only what is pushed to all arrives
  --count N       End after N messages
  --json          Print {"data":"…"}, or {"base64":"…"} for a binary message
  --url URL       The server (http://127.0.0.1:8888)

A text is printed as it is, but that line breaks and control characters are shown as \\n and \\u001b, so that a
message is always one line; a binary message is printed in base64. A lost connection is opened again, with
a note on standard error: what is pushed meanwhile is missed.
Exit status: 0 after --count messages, 1 refused or not reached, 2 wrong arguments.
`;

const firstPauseMs = 500;
const longestPauseMs = 20_000;

export async function listen(argv: readonly string[]): Promise<number> {
  const parsed = parse(argv, {
    ...addressOptions,
    count: { type: "string" },
    json: { type: "boolean", default: false },
  });
  if (typeof parsed === "string") return fail(2, parsed);
  const { values, positionals } = parsed;
  if (values.help) return await print(help);
  const { userid, compid, json } = values;
  const [surplus] = positionals;
  if (surplus !== undefined)
    return fail(2, `unexpected argument ${JSON.stringify(surplus)}, expected only options`);
  if (values.count !== undefined && !/^[1-9]\d{0,14}$/.test(values.count))
    return fail(2, "--count: expected a whole number from 1");
  const url = toCallUrl(values.url, "/ws", { userid, compid });
  if (url === undefined)
    return fail(2, "--url: expected an http or https URL, such as http://127.0.0.1:8888");

  const output = Bun.stdout.writer();
  const write = async (line: string) => {
    await output.write(`${line}\n`);
    await output.flush();
  };
  let wanted = values.count === undefined ? Number.POSITIVE_INFINITY : Number(values.count);
  const take = (data: string | Uint8Array) => {
    if (wanted <= 0) return false;
    // It fails when whoever read our output has had enough: `server-push listen | head -1`.
    write(json ? toJson(data) : toLine(data)).catch(() => process.exit(0));
    return --wanted > 0;
  };

  let everOpen = false;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const { opened, code, reason } = await receive(url, take);
    if (wanted <= 0) {
      await output.end();
      return 0;
    }
    if (opened) {
      everOpen = true;
      pauseMs = firstPauseMs;
    }
    if (!everOpen) return fail(1, await explain(url));
    if (!mayReconnect(code)) return fail(1, `closed by the server: ${code} ${reason}`);
    const waitMs = Math.round(Math.random() * pauseMs);
    note(`connection lost (${[code, reason].join(" ").trim()}), back in ${waitMs} ms`);
    await Bun.sleep(waitMs);
  }
}

/** One connection, from its begin to its end. Closes it when `take` wants no more. */
function receive(url: URL, take: (data: string | Uint8Array) => boolean) {
  const target = new URL(url);
  target.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(target);
  socket.binaryType = "arraybuffer";
  const end = Promise.withResolvers<{ opened: boolean; code: number; reason: string }>();
  let opened = false;
  socket.onopen = () => (opened = true);
  socket.onmessage = ({ data }) => {
    if (!take(typeof data === "string" ? data : new Uint8Array(data))) socket.close(1000);
  };
  socket.onclose = ({ code, reason }) => end.resolve({ opened, code, reason });
  return end.promise;
}

/** Why the handshake failed: the same URL without one runs the same checks and says it. */
async function explain(url: URL): Promise<string> {
  try {
    const response = await call(url);
    return response.status === 426 ? `${url.origin} did not accept a WebSocket` : await readProblem(response);
  } catch (error) {
    return describeFailure(url, error);
  }
}

function toJson(data: string | Uint8Array): string {
  return JSON.stringify(typeof data === "string" ? { data } : { base64: data.toBase64() });
}

function toLine(data: string | Uint8Array): string {
  if (typeof data !== "string") return data.toBase64();
  return data.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => shown.get(character) ?? toEscapes(character));
}

/** The control characters that are not shown as \uXXXX. */
const shown = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\t"],
]);
