/**
 * Receiving by long poll: `/poll`, for what can do neither a WebSocket nor a stream.
 *
 * A poll is a session for as long as it waits. It is answered at once with what its client has missed, else with all that comes in
 * the turn of the event loop in which something comes, else when its time is over. The `id` of the answer is the `since` of the next
 * poll, so what arrives between two is found by the next one.
 */
import { Elysia } from "elysia";
import { type Address, topicsOf } from "../address.ts";
import type { Access } from "../auth/access.ts";
import { PushError, quote } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";
import type { Hub, Outlet } from "../hub.ts";
import { pageBytes, pageMessages } from "../journal.ts";
import { type Message, type Offset, sizeOf } from "../message.ts";
import type { MessageContent } from "../protocol.ts";
import { readQuery, refuseHead } from "../query.ts";
import type { Claimant } from "../quotas.ts";
import type { Follower } from "../replay.ts";
import { readSince } from "../since.ts";
import { pollDescription } from "./describe.ts";
import { toContent } from "./frames.ts";
import { clientParameters, type Admit } from "./start.ts";
import { Subscribers } from "./subscribers.ts";

export interface PollParts {
  readonly admit: Admit;
  readonly access: Access;
  readonly hub: Hub;
  readonly createSessionId: () => string;
}

/** How long a poll waits, in seconds. */
const defaultWait = 25;
const longestWait = 120;
/** How much longer its connection may be silent, in seconds, beyond the granularity of Bun's timer. */
const graceSeconds = 10;

interface Answer {
  readonly messages: readonly Message[];
  /** Up to where this is everything. */
  readonly position: Offset;
}

class Poll implements Follower {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly address?: string;
  openedAt = 0;
  readonly answered: Promise<Answer>;
  readonly #polls: Polls;
  readonly #waitMs: number;
  readonly #answer: (answer: Answer) => void;
  readonly #messages: Message[] = [];
  /** Up to where it has had everything, as long as it has not caught up. */
  #position: Offset;
  #bytes = 0;
  #state: "replaying" | "waiting" | "leaving" | "answered" = "replaying";
  #timer: Timer | undefined = undefined;

  constructor(
    id: string,
    { userid, compid, address }: Claimant & Address,
    polls: Polls,
    after: Offset,
    waitMs: number,
  ) {
    this.id = id;
    if (userid !== undefined) this.userid = userid;
    if (compid !== undefined) this.compid = compid;
    if (address !== undefined) this.address = address;
    this.#polls = polls;
    this.#position = after;
    this.#waitMs = waitMs;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.answered = promise;
    this.#answer = resolve;
  }

  get transport() {
    return "poll" as const;
  }

  replay(messages: readonly Message[]): number {
    for (const message of messages) {
      this.#take(message);
      if (!this.#isFull) continue;
      this.#end(this.#position);
      break;
    }
    return messages.length;
  }

  goLive(): void {
    if (this.#messages.length > 0 || this.#waitMs === 0) return this.#end(this.#polls.hub.head);
    this.#state = "waiting";
    for (const topic of topicsOf(this)) this.#polls.subscribers.add(topic, this);
    this.#timer = setTimeout(() => this.close(), this.#waitMs);
  }

  mute(topic: string): void {
    if (this.#isLive) this.#polls.subscribers.remove(topic, this);
  }

  unmute(topic: string): void {
    if (this.#isLive) this.#polls.subscribers.add(topic, this);
  }

  deliver(message: Message): void {
    this.#take(message);
    if (this.#isFull) return this.#end(this.#position);
    if (this.#state === "leaving") return;
    this.#state = "leaving";
    // What is published in one turn of the event loop leaves together at its end.
    setImmediate(() => this.close());
  }

  /** Answers with what there is. */
  close(): void {
    this.#end(this.#state === "replaying" ? this.#position : this.#polls.hub.head);
  }

  /** It ends by itself before long. */
  probe(): void {}

  get #isLive(): boolean {
    return this.#state === "waiting" || this.#state === "leaving";
  }

  get #isFull(): boolean {
    return this.#messages.length >= pageMessages || this.#bytes >= pageBytes;
  }

  #take(message: Message): void {
    this.#messages.push(message);
    this.#bytes += sizeOf(message.body);
    this.#position = message.offset;
  }

  #end(position: Offset): void {
    if (this.#state === "answered") return;
    if (this.#state !== "replaying")
      for (const topic of topicsOf(this)) this.#polls.subscribers.remove(topic, this);
    this.#state = "answered";
    clearTimeout(this.#timer);
    this.#polls.hub.detach(this, "closed");
    this.#answer({ messages: this.#messages, position });
  }
}

/** What all polls share. */
interface Polls {
  readonly hub: Hub;
  readonly subscribers: Subscribers<Poll>;
}

export function openPolls({ admit, access, hub, createSessionId }: PollParts) {
  const polls: Polls = { hub, subscribers: new Subscribers() };

  const routes = new Elysia().get(
    "/poll",
    async ({ request, server }) => {
      refuseHead(request);
      const query = readQuery(request.url, [...clientParameters, "wait"]);
      const client = await admit(request, server, query);
      const since = readSince(query, request.headers);
      const wait = readWait(query.wait);
      const { userid: _, ...anybody } = client;
      // One that asks what it lacks and does not wait takes no room of its user: so do pages, beside the session that they have.
      hub.admit(wait > 0 || since === undefined ? client : anybody);
      const { offset, ...resumed } = hub.locate(since, client);
      const cors = access.toCorsHeaders(request);
      if (resumed.resumed === false) return answer(hub.toId(offset), resumed, [], cors);
      server?.timeout(request, wait + graceSeconds);
      // It may have gone while its token was verified.
      if (request.signal.aborted) return answer(hub.toId(offset), resumed, [], cors);
      const session = new Poll(createSessionId(), client, polls, offset, wait * 1000);
      request.signal.addEventListener("abort", () => session.close());
      hub.attach(session, offset, client.expiresAt);
      const { position, messages } = await session.answered;
      if (!request.signal.aborted) hub.claim(session, messages);
      return answer(hub.toId(position), resumed, messages, cors);
    },
    { detail: pollDescription },
  );

  const outlet: Outlet = {
    deliver(message) {
      let sessions = 0;
      for (const session of polls.subscribers.of(message.topic)) {
        session.deliver(message);
        sessions++;
      }
      return sessions;
    },
  };
  return { routes, outlet };

  function answer(
    id: string,
    resumed: { readonly resumed?: boolean },
    messages: readonly Message[],
    cors: Readonly<Record<string, string>>,
  ): Response {
    const contents: MessageContent[] = messages.map((message) =>
      toContent(hub.toId(message.offset), message),
    );
    return new Response(JSON.stringify({ id, ...resumed, messages: contents }), {
      headers: { ...unkeptHeaders, "Content-Type": "application/json", ...cors },
    });
  }
}

function readWait(text: string | undefined): number {
  if (text === undefined) return defaultWait;
  if (/^\d{1,3}$/.test(text) && Number(text) <= longestWait) return Number(text);
  throw new PushError(
    "invalid_parameter",
    `parameter wait is ${quote(text)}, expected whole seconds from 0 to ${longestWait}`,
  );
}
