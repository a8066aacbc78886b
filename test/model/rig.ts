/**
 * A server, a few clients that come and go, and the model that hears of all that they and the publishers do.
 */
import type { Address } from "../../src/address.ts";
import { eventually } from "../support/eventually.ts";
import { openReader, type Readable, type Reader } from "../support/reader.ts";
import { readMetrics } from "../support/server.ts";
import type { Clock, Host } from "./host.ts";
import { type Link, Model, type Push } from "./model.ts";

/** How a push is made; those of a batch are one call. */
export type Form = "get" | "post" | "batch";

export interface Draft extends Omit<Push, "data" | "isBytes"> {
  readonly kind: "text" | "lines" | "bytes" | "long";
  readonly form: Exclude<Form, "batch">;
  /** Whether it is made twice at once, with one Idempotency-Key. */
  readonly isTwice: boolean;
}

export const beginnings = ["last", "now", "all", "seconds", "foreign", "first", "future"] as const;
export type Beginning = (typeof beginnings)[number];

/** Everything that a client of the model can be is covered by these: each of its four topics, shared and not. */
const addresses: readonly Address[] = [
  { userid: "1", compid: "a" },
  { userid: "1" },
  { compid: "a" },
  { userid: "1:1", compid: "b" },
  {},
];

export const clientCount = addresses.length;

/** How long anything that has to come may take. */
const patienceMs = 10_000;

interface Client {
  readonly address: Address;
  /** What it says when it comes back; `undefined` before it was ever told anything. */
  lastId: string | undefined;
  current: { readonly link: Link; readonly reader: Reader } | undefined;
}

export class Rig implements AsyncDisposable {
  readonly clients: readonly Client[] = addresses.map((address) => ({
    address,
    lastId: undefined,
    current: undefined,
  }));
  readonly clock: Clock | undefined;
  readonly #host: Host;
  readonly #model: Model;
  /** Of all that was told on these, not everything was checked. */
  #unchecked: Link[] = [];
  /** What the server ended while it served. */
  #ended: Link[] = [];
  readonly #problems: unknown[] = [];
  #serving = true;
  #count = 0;
  #change = Promise.withResolvers<void>();

  constructor(host: Host, model: Model, clock?: Clock) {
    this.#host = host;
    this.#model = model;
    this.clock = clock;
  }

  async push(draft: Draft): Promise<void> {
    const push = this.#toPush(draft);
    const path = isToAll(push) ? "pushtoall" : "push";
    const query = { ...push.address, ...optionsOf(push) };
    const headers = draft.isTwice ? { "Idempotency-Key": `once ${this.#count}` } : {};
    const body = push.isBytes ? Buffer.from(push.data, "base64") : push.data;
    const type = push.isBytes ? "application/octet-stream" : "text/plain";
    const ask = () =>
      draft.form === "get" && !push.isBytes
        ? this.#fetch(`${path}?${toQuery({ ...query, message: push.data })}`, { headers })
        : this.#fetch(`${path}?${toQuery(query)}`, {
            method: "POST",
            headers: { ...headers, "Content-Type": type },
            body,
          });
    await this.#settlePush([push], draft.isTwice ? [ask(), ask()] : [ask()]);
  }

  async pushBatch(drafts: readonly Draft[]): Promise<void> {
    const pushes = drafts.map((draft) =>
      this.#toPush({ ...draft, kind: draft.kind === "bytes" ? "text" : draft.kind }),
    );
    const items = pushes.map((push) => ({
      ...(isToAll(push) ? { all: true } : push.address),
      ...optionsOf(push),
      message: push.data,
    }));
    const init = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(items),
    };
    await this.#settlePush(pushes, [this.#fetch("batch", init)]);
  }

  /** Connects; who is connected goes first. Without a beginning it says the last id that it was told. */
  connect(index: number, transport: Readable, beginning: Beginning = "last"): void {
    this.drop(index, "reset");
    const client = this.clients[index];
    if (client === undefined) throw new RangeError(`there is no client ${index}`);
    const { lastId } = client;
    const sinces = {
      last: lastId,
      now: undefined,
      all: "all",
      seconds: "2s",
      foreign: "zzzzzzzz-1",
      first: lastId?.replace(/\d+$/, "0"),
      future: lastId?.replace(/\d+$/, "999999"),
    };
    this.#open(client, transport, sinces[beginning]);
  }

  drop(index: number, how: "reset" | "leave"): void {
    const client = this.clients[index];
    const reader = client?.current?.reader;
    if (client === undefined || reader === undefined) return;
    this.#part(client);
    if (how === "reset") reader.drop();
    else reader.leave();
  }

  /** Waits until everybody has everything, and checks it. */
  async settle(): Promise<void> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const { promise } = this.#change;
      this.#throwProblem();
      for (const link of this.#unchecked) if (link.begun !== undefined) this.#model.check(link);
      const owed = this.clients.map((client) => this.#owed(client)).find((one) => one !== undefined);
      if (owed === undefined) break;
      if (Date.now() > deadline) throw new Error(`not in ${patienceMs} ms: ${owed}`);
      await Promise.race([promise, Bun.sleep(100)]);
    }
    for (const link of this.#ended.splice(0))
      if (!this.#model.mayBeOvertaken(link)) throw new Error(`${link.transport} was ended after ${link.at}`);
    this.#unchecked = this.clients.flatMap(({ current }) => current?.link ?? []);
    await this.#markLive();
    this.#model.checkOffsets();
  }

  /** Waits until everybody who can be told a position was told one. */
  async rest(): Promise<void> {
    const links = this.#streams().filter(({ transport }) => transport !== "plain");
    const before = links.map(({ notices }) => notices.length);
    await eventually("a position", () =>
      links.every(({ notices }, index) => notices.length > (before[index] ?? 0)),
    );
  }

  /** Ends the server while this goes on, and starts it again; then everybody who was connected comes back. */
  async restart(
    how: "drain" | "crash",
    push: () => Promise<void>,
    transports: readonly Readable[],
  ): Promise<void> {
    this.#serving = false;
    const connected = this.clients.filter(({ current }) => current !== undefined);
    const live = this.#streams().filter(({ live: since }) => since !== undefined);
    const began = this.#model.moment();
    await Promise.all([push(), this.#host.stop(how)]);
    await Promise.all(this.clients.map(({ current }) => current?.reader.ended));
    for (const client of connected) this.#part(client);
    this.#throwProblem();
    for (const link of this.#unchecked) if (link.begun !== undefined) this.#model.check(link);
    for (const link of how === "drain" ? live : []) {
      const owed = this.#model.owed(link, began);
      if (owed !== undefined) throw new Error(`${link.transport} was drained without ${owed}`);
    }
    this.#unchecked = [];
    this.#ended = [];
    if (!this.#host.isDurable) this.#model.forget();
    await this.#host.start();
    this.#serving = true;
    for (const [index, client] of connected.entries())
      this.#open(client, transports[index % transports.length] ?? "SSE", client.lastId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const index of this.clients.keys()) this.drop(index, "reset");
    await this.#host[Symbol.asyncDispose]();
  }

  #streams(): Link[] {
    const links = this.clients.flatMap(({ current }) => current?.link ?? []);
    return links.filter(({ transport }) => transport !== "poll");
  }

  /** Whoever is connected is live when there are no replays, as nothing is pushed meanwhile. */
  async #markLive(): Promise<void> {
    const links = this.#streams().filter(({ live }) => live === undefined);
    if (links.length === 0) return;
    await eventually(
      "no replays",
      async () => (await readMetrics(this.#host.server)).get("server_push_replays") === 0,
    );
    for (const link of links) link.live = this.#model.moment();
  }

  #open(client: Client, transport: Readable, since: string | undefined): void {
    const link = this.#model.ask(transport, client.address, since);
    // A poll that names no id is answered at once, so that the next one can.
    const isFirst = since === undefined || !since.includes("-");
    const reader = openReader(transport, this.#host.server, {
      query: toQuery({ ...client.address }),
      ...(since !== undefined && { since }),
      wait: isFirst ? 0 : 60,
      onNotice: (notice) => {
        link.notices.push(notice);
        this.#announce();
      },
    });
    const current = { link, reader };
    client.current = current;
    this.#unchecked.push(link);
    this.#follow(client, current).catch((error) => {
      this.#problems.push(error);
      this.#announce();
    });
  }

  async #follow(client: Client, current: NonNullable<Client["current"]>): Promise<void> {
    const { link, reader } = current;
    try {
      this.#model.begin(link, await reader.begun);
      this.#announce();
      await reader.ended;
    } catch (error) {
      // It was dropped, or the server has gone.
      if (client.current === current && this.#serving) throw error;
    }
    if (client.current !== current) return;
    this.#part(client);
    if (!this.#serving) return;
    if (link.transport === "poll" && link.begun !== undefined) this.#open(client, "poll", client.lastId);
    else this.#ended.push(link);
    this.#announce();
  }

  #part(client: Client): void {
    const link = client.current?.link;
    if (link !== undefined) client.lastId = this.#model.lastId(link);
    client.current = undefined;
  }

  /** What the client waits for. */
  #owed({ current }: Client): string | undefined {
    if (current === undefined) return undefined;
    const { link } = current;
    const mayWait = link.transport === "poll" && this.#model.isCurrent(link.since);
    if (link.begun === undefined && !mayWait) return `${link.transport} since ${link.since} begins`;
    const owed = this.#model.owed(link);
    return owed && `${link.transport} since ${link.since} has ${owed}`;
  }

  async #fetch(target: string, init: RequestInit): Promise<Response | undefined> {
    return await fetch(`${this.#host.server.url}/${target}`, init).catch(() => undefined);
  }

  async #settlePush(pushes: readonly Push[], asked: readonly Promise<Response | undefined>[]): Promise<void> {
    try {
      const answers = await Promise.all(asked);
      for (const answer of answers) await this.#takeAnswer(pushes, answer);
      // A repeat may be refused by a server that took the first.
      const isRefused = answers.every((answer) => answer?.status === 503);
      if (isRefused) for (const push of pushes) this.#model.refuse(push);
    } catch (error) {
      this.#problems.push(error);
    }
    this.#announce();
  }

  async #takeAnswer(pushes: readonly Push[], answer: Response | undefined): Promise<void> {
    const text = await answer?.text().catch(() => undefined);
    if (answer?.ok === true && text !== undefined) {
      const receipts = [JSON.parse(text)].flat();
      for (const [index, push] of pushes.entries()) this.#model.answer(push, receipts[index]?.id);
      return;
    }
    const mayFail = answer === undefined || text === undefined || answer.status === 503;
    if (this.#serving || !mayFail) throw new Error(`a push was answered ${answer?.status}: ${text}`);
  }

  #toPush({ kind, address, event, key, ttl }: Draft): Push {
    const name = `m${this.#count++}`;
    const text = {
      text: name,
      lines: `${name}\n\n: é\u{1f600}`,
      bytes: name,
      long: name.padEnd(20_000, "-"),
    };
    const isBytes = kind === "bytes";
    const push: Push = {
      address,
      data: isBytes ? Buffer.from([...Buffer.from(name), 0, 255]).toString("base64") : text[kind],
      isBytes,
      ...(event !== undefined && { event }),
      ...(key !== undefined && { key }),
      ...(ttl !== undefined && { ttl }),
    };
    this.#model.send(push);
    return push;
  }

  #throwProblem(): void {
    if (this.#problems.length > 0) throw this.#problems[0];
  }

  #announce(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}

function optionsOf({ event, key, ttl }: Push) {
  return {
    ...(event !== undefined && { event }),
    ...(key !== undefined && { key }),
    ...(ttl !== undefined && { ttl }),
  };
}

function isToAll({ address }: Push): boolean {
  return address.userid === undefined && address.compid === undefined;
}

function toQuery(parameters: Readonly<Record<string, string | number>>): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) text.set(name, String(value));
  return text.toString();
}
