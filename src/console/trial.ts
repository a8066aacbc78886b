/**
 * Try it: this page as a session of some user and component, by the very library that pages have, and what is pushed to it.
 */
import { computed, signal } from "@preact/signals";
import type { Push } from "../client/contract.d.ts";
import { connect } from "../client/module.ts";
import { type Api, toDetail } from "./api.ts";
import { type Call, type Target, toCall } from "./snippets.ts";
import { type Entry, shorten, toText } from "./tail.ts";

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
    };

/** What came of a push. */
export type Outcome =
  | { readonly kind: "taken"; readonly id: string; readonly sessions: number }
  | { readonly kind: "refused"; readonly detail: string };

export interface Received extends Entry {
  readonly key: number;
  readonly id: string;
}

const maxReceived = 20;

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
  readonly outcome = signal<Outcome | undefined>(undefined);
  /** The newest first. */
  readonly received = signal<readonly Received[]>([]);
  readonly #api: Api;
  readonly #origin: string;
  readonly #onMessage: (entry: Entry) => void;
  #push: Push | undefined = undefined;
  #count = 0;

  /** @param origin where clients connect to */
  constructor(api: Api, origin: string, onMessage: (entry: Entry) => void) {
    this.#api = api;
    this.#origin = origin;
    this.#onMessage = onMessage;
  }

  connect(): void {
    this.disconnect();
    const [userid, compid] = [this.userid.peek(), this.compid.peek()];
    this.connection.value = { kind: "connecting", why: "" };
    const push = connect({
      url: this.#origin,
      ...(userid !== "" && { userid }),
      ...(compid !== "" && { compid }),
      ...(this.#api.hasKey && { token: () => this.#mintToken(userid, compid) }),
    });
    this.#push = push;
    push.onopen = ({ session, transport }) => {
      this.connection.value = { kind: "open", session, transport, userid, compid };
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
    void this.#receive(push);
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
    this.received.value = [];
    this.outcome.value = undefined;
  }

  async push(): Promise<void> {
    this.outcome.value = undefined;
    const { path, parameters } = this.call.peek();
    try {
      const answer: { id: string; sessions: number } = await (
        await this.#api.call(path, { parameters })
      ).json();
      this.outcome.value = { kind: "taken", ...answer };
    } catch (error) {
      this.outcome.value = { kind: "refused", detail: toDetail(error) };
    }
  }

  async #receive(push: Push): Promise<void> {
    // Whatever their event names are, which only an iterator gives.
    for await (const { type, data, lastEventId } of push) {
      const entry: Entry = {
        at: Date.now(),
        kind: "message",
        subject: type === "message" ? "" : type,
        text: shorten(toText(data)),
      };
      const row: Received = { ...entry, id: lastEventId, key: ++this.#count };
      this.received.value = [row, ...this.received.peek()].slice(0, maxReceived);
      this.#onMessage(entry);
    }
  }

  async #mintToken(userid: string, compid: string): Promise<string> {
    const parameters = [["userid", userid] as const, ...(compid === "" ? [] : [["compid", compid] as const])];
    const answer = await this.#api.call("/tokens", { method: "POST", parameters });
    const { token }: { token: string } = await answer.json();
    return token;
  }
}
