/**
 * Try it: this page as a session of some user and component, by the very library that pages have, and what is pushed to it.
 */
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import type { Push } from "../client/contract.d.ts";
import { connect } from "../client/module.ts";
import { type Api, Refusal, toDetail } from "./api.ts";
import { toOwner } from "./id.tsx";
import { pace, showMs } from "./pace.ts";
import type { Setup } from "./setup.ts";
import { type Call, type Target, toCall } from "./snippets.ts";
import { type Happening, shorten, toText } from "./tail.ts";

/** What this page is. */
export type Connection =
  | { readonly kind: "none"; readonly why: string }
  | { readonly kind: "connecting"; readonly why: string }
  | {
      readonly kind: "open";
      readonly session: string;
      readonly transport: string;
      readonly userid: string;
      readonly compid: string;
      /** Milliseconds since 1970. */
      readonly since: number;
    };

/** What came of a push. */
export type Outcome =
  | { readonly kind: "taken"; readonly id: string; readonly sessions: number; readonly call: Call }
  | { readonly kind: "refused"; readonly detail: string };

export interface Received extends Happening {
  readonly key: number;
  readonly id: string;
}

const maxReceived = 20;
/** Who listens to the page is told of messages no more often, and of the newest no more. */
const sayMs = 1000;
const maxSaid = 100;

/** Nothing has been tried, as nothing could come of it. */
const noToken = "clients need a token, and without an API key this page can get none";
const noUser = "a token needs a user";

/** The code of a connection that has ended without one. */
const lost = 1006;

export class Trial {
  readonly userid = signal("123");
  readonly compid = signal("inbox");
  readonly message = signal("hello");
  readonly event = signal("");
  readonly target = signal<Target>("both");
  readonly call = computed<Call>(() =>
    toCall({
      target: this.target.value,
      userid: this.userid.value,
      compid: this.compid.value,
      message: this.message.value,
      event: this.event.value,
    }),
  );
  readonly connection = signal<Connection>({ kind: "none", why: "" });
  /** Of the last push, as long as it is about what the fields say. */
  readonly outcome = signal<Outcome | undefined>(undefined);
  readonly isPushing = signal(false);
  /** The newest first. */
  readonly received = signal<readonly Received[]>([]);
  /** How many there were, and which was the newest: for who cannot see them. */
  readonly said = signal("");
  readonly #api: Api;
  readonly #setup: ReadonlySignal<Setup>;
  readonly #onMessage: (happening: Happening) => void;
  readonly #showSoon = pace(showMs, () => (this.received.value = this.#newest.toReversed()));
  readonly #saySoon = pace(sayMs, () => (this.said.value = this.#describeNewest()));
  #push: Push | undefined = undefined;
  /** The newest last. */
  #newest: Received[] = [];
  #count = 0;

  constructor(api: Api, setup: ReadonlySignal<Setup>, onMessage: (happening: Happening) => void) {
    this.#api = api;
    this.#setup = setup;
    this.#onMessage = onMessage;
    effect(() => {
      // What came of a push says nothing about other fields, nor about a server that has been away.
      void this.call.value;
      if (api.isReachable.value) this.outcome.value = undefined;
    });
  }

  /** Whether clients need a token. */
  get needsToken(): boolean {
    return this.#setup.value.needsToken || this.#api.hasKey;
  }

  /** Whether they do, and this page can get none. */
  get lacksToken(): boolean {
    return this.needsToken && !this.#api.hasKey;
  }

  connect(): void {
    this.disconnect();
    const [userid, compid] = [this.userid.peek(), this.compid.peek()];
    this.outcome.value = undefined;
    const isNobody = userid === "" && compid === "";
    const { clientOrigin, takesAnonymous } = this.#setup.peek();
    const takesToken = this.needsToken && !(takesAnonymous && isNobody);
    if (takesToken && (this.lacksToken || userid === "")) {
      this.connection.value = { kind: "none", why: this.lacksToken ? noToken : noUser };
      return;
    }
    this.connection.value = { kind: "connecting", why: "" };
    const getToken = async (): Promise<string> => {
      // The server may have come back without a key.
      if (!this.needsToken) return "";
      try {
        return await this.#mintToken(userid, compid);
      } catch (error) {
        // The library would ask again for ever. One without a key forbids to ask for tokens, which the setup tells before long.
        const isOver = error instanceof Refusal && error.isFinal && (error.status !== 403 || this.lacksToken);
        if (isOver) this.#giveUp(push, error.message);
        throw error;
      }
    };
    const push = connect({
      url: clientOrigin,
      ...(userid !== "" && { userid }),
      ...(compid !== "" && { compid }),
      ...(takesToken && { token: getToken }),
    });
    this.#push = push;
    push.onopen = ({ session, transport }) => {
      this.connection.value = { kind: "open", session, transport, userid, compid, since: Date.now() };
    };
    push.onclose = ({ code, reason, willReconnect }) => {
      const why =
        code === lost ? reason || "the connection was lost" : `${reason} (code ${code})`.trimStart();
      this.connection.value = { kind: willReconnect ? "connecting" : "none", why };
    };
    push.onerror = ({ code, detail }) => {
      // An error about a frame ends nothing; and the end for good follows, with the same reason.
      if (push.state !== "connecting") return;
      const why = code === "unreachable" ? "the server does not answer" : detail;
      this.connection.value = { kind: "connecting", why };
    };
    void this.#receive(push, toOwner(userid, compid));
  }

  disconnect(): void {
    const push = this.#push;
    this.#push = undefined;
    // It tells of its end before it returns.
    push?.close();
    this.connection.value = { kind: "none", why: "" };
  }

  /** The same, and shows nothing any more of what has come. */
  end(): void {
    this.disconnect();
    this.#newest = [];
    this.#count = 0;
    this.received.value = [];
    this.said.value = "";
    this.outcome.value = undefined;
  }

  /** Pushes what the fields say, once, however often it is called meanwhile. */
  async push(): Promise<void> {
    if (this.isPushing.peek()) return;
    this.isPushing.value = true;
    this.outcome.value = undefined;
    const call = this.call.peek();
    const outcome = await this.#send(call);
    this.isPushing.value = false;
    // Others are in the fields now.
    if (call === this.call.peek()) this.outcome.value = outcome;
  }

  async #send(call: Call): Promise<Outcome> {
    const { path, parameters, body } = call;
    const options = { parameters, ...(body !== undefined && ({ method: "POST", body } as const)) };
    try {
      const answer: { id: string; sessions: number } = await (await this.#api.call(path, options)).json();
      return { kind: "taken", ...answer, call };
    } catch (error) {
      return { kind: "refused", detail: toDetail(error) };
    }
  }

  async #receive(push: Push, subject: readonly string[]): Promise<void> {
    // Whatever their event names are, which only an iterator gives.
    for await (const { type, data, lastEventId } of push) {
      const event = type === "message" ? "" : type;
      const text = shorten(toText(data));
      const happening: Happening = { at: Date.now(), kind: "message", subject, event, text };
      this.#newest.push({ ...happening, id: lastEventId, key: ++this.#count });
      if (this.#newest.length > maxReceived) this.#newest.shift();
      this.#showSoon();
      this.#saySoon();
      this.#onMessage(happening);
    }
  }

  #describeNewest(): string {
    const text = this.#newest.at(-1)?.text;
    if (text === undefined) return "";
    const count = this.#count === 1 ? "1 message" : `${this.#count} messages`;
    return `${count}, the newest: ${text.slice(0, maxSaid)}`;
  }

  #giveUp(push: Push, why: string): void {
    if (push !== this.#push) return;
    this.disconnect();
    this.connection.value = { kind: "none", why };
  }

  async #mintToken(userid: string, compid: string): Promise<string> {
    const parameters = [["userid", userid] as const, ...(compid === "" ? [] : [["compid", compid] as const])];
    const answer = await this.#api.call("/tokens", { method: "POST", parameters });
    const { token }: { token: string } = await answer.json();
    return token;
  }
}
