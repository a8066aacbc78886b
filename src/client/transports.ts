/**
 * One connection, over each of the transports: what comes is told as the frames that `push.v1` has, whichever it is.
 */
import { type ClientFrame, type MessageContent, type ServerFrame, subprotocol } from "../protocol.ts";
import type { Transport } from "./contract.d.ts";

/** What the server has answered instead of a connection. */
export interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly status?: number;
  /** When to ask again, in seconds. */
  readonly retryAfter?: number;
}

/** How a connection has ended: without more, it was lost. */
export interface Ending {
  readonly code?: number;
  readonly reason?: string;
  readonly problem?: Problem;
}

export const unreachable: Problem = { code: "unreachable", detail: "no answer in time" };
/** The server is there, but something on the way lets this transport not through. */
export const isBlocked: Ending = { problem: unreachable };

type Parameters = Readonly<Record<string, string | number | undefined>>;

/** What a client knows of its server. */
export interface Server {
  /** The address of a call, with the user and the component. */
  url(path: string, parameters: Parameters): URL;
  /** Whether a token that is refused may be followed by a better one. */
  readonly renews: boolean;
  getToken(): Promise<string | undefined>;
}

export interface Link extends Pick<Server, "url"> {
  /** Ends it at once. */
  readonly signal: AbortSignal;
  readonly token: string | undefined;
  /** Where to start, as it is now. */
  since(): string | undefined;
  take(frame: ServerFrame): void;
  /** Over a WebSocket: what to send with. */
  onPost(post: (frame: ClientFrame) => void): void;
}

/** Each connects, and resolves when it is over. */
export const transports: Readonly<Record<Transport, (link: Link) => Promise<Ending>>> = {
  websocket: ({ signal, token, url, since, take, onPost }) =>
    new Promise((resolve) => {
      const at = url("ws", { since: since() });
      at.protocol = at.protocol.replace("http", "ws");
      const socket = new WebSocket(at, token ? [subprotocol, `bearer.${token}`] : subprotocol);
      signal.onabort = () => {
        // One that is half dead would take its time to close.
        socket.close();
        resolve({});
      };
      // Into one that is closing a browser sends nothing, and complains.
      socket.onopen = () => onPost((frame) => socket.readyState > 1 || socket.send(JSON.stringify(frame)));
      socket.onmessage = ({ data }) => take(JSON.parse(data));
      // Of one that never opens, Node tells an error and no end. An error has nothing of an ending.
      socket.onerror = socket.onclose = resolve as () => void;
    }),

  sse: (link) =>
    calling(link, "sse", {}, async (answer) => {
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader(); // an answer of 200 has one
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return {};
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop()!; // there is at least one
        for (const block of blocks) {
          const ending = takeBlock(block, link);
          if (ending) return ending;
        }
      }
    }),

  async poll(link) {
    for (let wait = 0; ; wait = pollSeconds) {
      const ending = await calling(link, "poll", { wait }, async (answer) => {
        const { id, messages, ...resumed } = (await answer.json()) as PollAnswer; // it is our own server's
        // The first answers at once, and so tells that it works.
        if (!wait || resumed.resumed === false)
          link.take({
            type: "welcome",
            session: "",
            id: (resumed.resumed !== false && link.since()) || id,
            ...resumed,
            idle: pollSeconds,
          });
        for (const message of messages) link.take({ type: "message", ...message });
        link.take({ type: "position", id });
        return undefined;
      });
      if (ending) return ending;
    }
  },
};

const pollSeconds = 25;

export interface PollAnswer {
  readonly id: string;
  readonly resumed?: boolean;
  readonly messages: readonly MessageContent[];
}

/** What the server says to a call that is like the one of a WebSocket that did not come about. */
export async function diagnose(link: Link): Promise<Ending> {
  const ending = await calling(link, "ws", {}, async () => isBlocked);
  if (ending === isBlocked || ending.problem?.status === 426) return isBlocked;
  return ending.problem ? ending : { problem: unreachable };
}

/** Makes a call, and gives what the work makes of its answer; what the server objects to; or nothing, when it was ended from here. */
export async function calling<Result>(
  { url, token, signal, since }: Pick<Link, "url" | "token" | "signal" | "since">,
  path: string,
  parameters: Parameters,
  work: (answer: Response) => Promise<Result>,
): Promise<Result | Ending> {
  try {
    const answer = await fetch(url(path, { since: since(), ...parameters }), {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal,
    });
    if (answer.ok) return await work(answer);
    const { status, headers } = answer;
    // Ours is a problem of RFC 9457; whatever is on the way may say anything.
    const said = (await answer.json().catch(() => {})) as Partial<Problem> | undefined;
    const { code = "unexpected", detail = `the answer is ${status}` } = said?.detail ? said : {};
    return { problem: { code, detail, status, retryAfter: +headers.get("retry-after")! } }; // 0 without one
  } catch (error) {
    return signal.aborted ? {} : { problem: { ...unreachable, detail: String(error) } };
  }
}

/** @returns how it ends, if it does */
function takeBlock(block: string, { take }: Link): Ending | undefined | void {
  const fields: Record<string, string | undefined> = {};
  for (const line of block.split("\n")) {
    const [, field = "", value] = /^(\w*): ?(.*)/s.exec(line) ?? [];
    fields[field] = field === "data" && fields[field] !== undefined ? `${fields[field]}\n${value}` : value;
  }
  const { id, event, data, "": exact = "" } = fields;
  if (event === "push.close") return JSON.parse(data as string);
  if (event === "push.welcome") take({ type: "welcome", ...JSON.parse(data as string) });
  else if (id && data === undefined) take({ type: "position", id });
  else if (id)
    take({
      type: "message",
      id,
      ...(event && { event }),
      [exact === "base64" ? exact : "data"]: exact.startsWith("json") ? JSON.parse(exact.slice(4)) : data,
    });
}
