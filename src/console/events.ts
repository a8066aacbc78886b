/**
 * The events of the server, as /events streams them: a line of JSON each. A stream that ends is begun anew where it was.
 */
import { type Api, Refusal } from "./api.ts";
import { toOwner } from "./id.tsx";
import { repeat } from "./repeat.ts";
import type { Happening } from "./tail.ts";

/** A line, as far as it matters here: events, and what the stream says of itself. */
interface Line {
  readonly id: string;
  readonly type: string;
  readonly timestamp?: string;
  readonly data?: Readonly<Record<string, string | number | boolean>>;
  /** Of the first line: whether nothing is missing since the last stream. */
  readonly resumed?: boolean;
  /** Of the first line: there is a line at least so often, in seconds. */
  readonly idle?: number;
}

const retryMs = 1000;

/** Who opens the page has often just done what they want to see. */
const lookBack = "10s";

/**
 * Calls `take` with every event from now on, and those of just before. A page that nobody sees reads nothing, as a browser has few
 * connections to a server, for all tabs together; seen again, it is told what it has missed.
 *
 * @param onProblem is told why there are none, and an empty text when there are again
 * @returns what stops it
 */
export function followEvents(
  api: Api,
  take: (happening: Happening) => void,
  onProblem: (detail: string) => void,
): () => void {
  let last = lookBack;
  return repeat(retryMs, async (signal) => {
    const ending = new AbortController();
    const onVisibility = () => document.hidden && ending.abort();
    document.addEventListener("visibilitychange", onVisibility);
    try {
      await read(AbortSignal.any([signal, ending.signal]), () => ending.abort());
    } catch (error) {
      // Anything else is a stream that was cut, which its server says already by not answering.
      if (error instanceof Refusal) onProblem(api.explain(error));
    } finally {
      document.removeEventListener("visibilitychange", onVisibility);
      // Whatever it was, what is still open of the stream would keep one of the browser's few connections.
      ending.abort();
    }
  });

  async function read(signal: AbortSignal, end: () => void): Promise<void> {
    const parameters = [["since", last] as const];
    const answer = await api.call("/events", { accept: "application/x-ndjson", parameters, signal });
    onProblem("");
    let timer: ReturnType<typeof setTimeout> | undefined;
    let silentMs = 60_000;
    try {
      for await (const text of readLines(answer.body)) {
        clearTimeout(timer);
        const line = JSON.parse(text) as Line; // as the server's documentation has it
        if (line.idle !== undefined) silentMs = line.idle * 2000;
        timer = setTimeout(end, silentMs);
        if (line.resumed === false) take(toMissing());
        if (line.data !== undefined) take(toHappening(line, line.data));
        last = line.id;
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

function toMissing(): Happening {
  const text = "The server cannot tell what happened before this.";
  return { at: Date.now(), kind: "", subject: [], event: "", text };
}

function toHappening({ type, timestamp = "" }: Line, data: NonNullable<Line["data"]>): Happening {
  const { userid, compid, event = "", message, ...rest } = data;
  const details = Object.entries(rest).map(([name, value]) => `${name}=${value}`);
  return {
    at: Date.parse(timestamp),
    kind: type,
    // What was pushed to all is for nobody in particular.
    subject: rest["all"] === true ? [] : toOwner(userid, compid),
    event: String(event),
    text: message === undefined ? details.join("  ") : String(message),
  };
}

async function* readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>> | null): AsyncGenerator<string> {
  const reader = stream?.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter((line) => line !== "");
  }
}
