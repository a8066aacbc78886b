/**
 * What every client must have, as told by nothing but the promises: what was pushed and answered, and what was asked and told when.
 *
 * The server decides many things while nobody looks: which of two pushes at once is first, and whether a client that comes meanwhile is
 * there before it. So the model knows moments: what is over before another thing begins is before it, and of everything else
 * either order is right. A message that has to come in either case must come; one that can in neither must not.
 */
import { type Address, topicsOf, toTopic } from "../../src/address.ts";
import type { Beginning, Notice, Readable } from "../support/reader.ts";

/** Ticks order what the test itself does; the time tells what has expired. */
export interface Moment {
  readonly tick: number;
  /** Milliseconds. */
  readonly time: number;
}

export interface Push {
  /** Without a user and a component, to all. */
  readonly address: Address;
  /** A text; of bytes, base64. */
  readonly data: string;
  readonly isBytes: boolean;
  readonly event?: string;
  readonly key?: string;
  readonly ttl?: number;
}

interface Pushed extends Push {
  readonly topic: string;
  readonly sent: Moment;
  /** There only when it was taken. A push that got no answer may be in the log all the same. */
  answered?: Moment;
  place?: Place;
}

interface Place {
  readonly epoch: string;
  readonly offset: number;
}

/** One connection of a client, or one poll. */
export interface Link {
  readonly transport: Readable;
  readonly topics: readonly string[];
  readonly since: string | undefined;
  readonly asked: Moment;
  begun?: Moment;
  /** From here on it is surely live: it had everything, and nothing was pushed meanwhile. */
  live?: Moment;
  /** It must have everything after `from`, and nothing up to `after`; these differ only where it was not told where it begins. */
  from: number;
  after: number;
  epoch: string;
  /** Up to where it has had everything, and how many of its notices that took. */
  at: number;
  checked: number;
  readonly notices: Notice[];
}

export interface Limits {
  readonly time: number;
  readonly bytes: number;
  readonly count: number;
}

/** By how much the clocks of two processes, and a time that was rounded down, can differ. */
const slackMs = 50;

export class Model {
  readonly #limits: Limits;
  readonly #now: () => number;
  #ticks = 0;
  readonly #pushed = new Map<string, Pushed>();
  /** By topic and key. */
  readonly #keyed = new Map<string, Pushed[]>();
  readonly #epochs: string[] = [];
  /** Of the log of now, by offset. */
  #log: Pushed[] = [];
  #isNew = true;

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  moment(): Moment {
    return { tick: ++this.#ticks, time: this.#now() };
  }

  /** The log has gone with the process that had it. */
  forget(): void {
    this.#isNew = true;
    this.#log = [];
    this.#pushed.clear();
    this.#keyed.clear();
  }

  send(push: Push): void {
    const topic = toTopic(push.address);
    const pushed: Pushed = { ...push, topic, sent: this.moment() };
    this.#pushed.set(push.data, pushed);
    if (push.key === undefined) return;
    const name = JSON.stringify([topic, push.key]);
    this.#keyed.set(name, [...(this.#keyed.get(name) ?? []), pushed]);
  }

  /** It was refused, and that means that it was not taken. */
  refuse({ data }: Push): void {
    const pushed = this.#find(data);
    if (pushed.place !== undefined) throw new Error(`${show(pushed)} was refused, and delivered`);
    this.#pushed.delete(data);
    const list = this.#keyed.get(JSON.stringify([pushed.topic, pushed.key]));
    list?.splice(list.indexOf(pushed), 1);
  }

  answer({ data }: Push, id: string): void {
    const pushed = this.#find(data);
    this.#put(pushed, this.place(id));
    pushed.answered ??= this.moment();
  }

  ask(transport: Readable, address: Address, since: string | undefined): Link {
    const [asked, topics] = [this.moment(), topicsOf(address)];
    const { epoch, offset: at } = parse(since ?? "") ?? { epoch: "", offset: 0 };
    return { transport, topics, since, asked, from: at, after: at, epoch, at, checked: 0, notices: [] };
  }

  begin(link: Link, { id, resumed }: Beginning): void {
    link.begun = this.moment();
    const { epoch, offset } = this.place(id);
    const bounds = this.#horizon(link.asked, link.begun);
    const heads = [this.#leastHead(link.asked), this.#mostHead(link.begun)] as const;
    const since = parse(link.since ?? "");
    const wrong = (why: string) =>
      new Error(`${link.transport} since ${link.since} begins at ${id}, resumed ${resumed}: ${why}`);
    link.epoch = epoch;
    if (since === undefined) {
      if (resumed !== undefined) throw wrong("it named no id");
      const [least, most] = link.since === undefined ? heads : this.#back(link.since, link, bounds);
      [link.after, link.from] = link.transport === "poll" ? [least, most] : [offset, offset];
      if (link.from < least || link.after > most) throw wrong(`expected from ${least} to ${most}`);
    } else {
      const isLost = since.epoch !== epoch || since.offset < bounds.least || since.offset > heads[1];
      const isProven = !isLost && since.offset >= bounds.most;
      if (isProven && resumed !== true) throw wrong(`everything after ${bounds.most} is kept`);
      if (isLost && resumed !== false) throw wrong(`what it missed is lost, up to ${bounds.least}`);
      link.after = link.from = resumed === true ? since.offset : offset;
      if (resumed === true && link.transport !== "poll" && id !== link.since) throw wrong("another id");
      if (resumed === false && (offset < heads[0] || offset > heads[1]))
        throw wrong(`expected now, ${heads.join(" to ")}`);
    }
    link.at = link.after;
  }

  /** Checks what the link was told since the last time: no gap, no repeat, no swap, nothing that it must not have. */
  check(link: Link): void {
    for (const notice of link.notices.slice(link.checked)) {
      const { id, message } = notice;
      const told = id === undefined ? undefined : this.place(id);
      const wrong = (why: string) =>
        new Error(`${link.transport} after ${link.at} was told ${JSON.stringify(notice)}: ${why}`);
      link.checked++;
      if (told !== undefined && told.epoch !== link.epoch) throw wrong(`its epoch is ${link.epoch}`);
      if (message === undefined) {
        const offset = told?.offset ?? 0;
        if (offset < link.at) throw wrong("the position went back");
        if (offset > this.#mostHead(this.moment())) throw wrong("nothing is there yet");
        this.#requireAll(link, offset, wrong);
        link.at = offset;
        continue;
      }
      const pushed = this.#find(message.data);
      if (told !== undefined) this.#put(pushed, told);
      const offset = pushed.place?.offset;
      // Where a push without an answer stands is not known to a plain WebSocket.
      if (offset === undefined) continue;
      if (offset <= link.at) throw wrong("a repeat, or a swap");
      if (this.judge(pushed, offset, link) === "never") throw wrong("not for it, replaced, or expired");
      if (message.isBytes !== undefined && message.isBytes !== pushed.isBytes) throw wrong("text as bytes");
      if (link.transport !== "plain" && message.event !== pushed.event) throw wrong("another event");
      this.#requireAll(link, offset - 1, wrong);
      link.at = offset;
    }
  }

  /** Whether the message has to come, may come, or must not. */
  judge(pushed: Pushed, offset: number, link: Link): "must" | "may" | "never" {
    if (!link.topics.includes(pushed.topic) || offset <= link.after) return "never";
    const { sent, answered, ttl } = pushed;
    const later = this.#replacementsOf(pushed, offset);
    if (answered !== undefined && answered.tick < link.asked.tick) {
      if (later.some((other) => isBefore(other.answered, link.asked))) return "never";
      if (ttl === 0) return "never";
      if (ttl !== undefined && answered.time + ttl * 1000 + slackMs <= link.asked.time) return "never";
    }
    if (answered === undefined || offset <= link.from) return "may";
    if (later.some((other) => link.live === undefined || other.sent.tick < link.live.tick)) return "may";
    if (ttl === undefined || isBefore(link.begun, sent)) return "must";
    const read = link.live?.time ?? this.#now();
    return sent.time + ttl * 1000 - slackMs > read ? "must" : "may";
  }

  /** The first message that the link must have and has not, of those that were taken before this moment. */
  owed(link: Link, before = this.moment()): string | undefined {
    for (let offset = link.at + 1; offset < this.#log.length; offset++) {
      const pushed = this.#log[offset];
      if (pushed === undefined || !isBefore(pushed.answered, before)) continue;
      if (this.judge(pushed, offset, link) === "must") return show(pushed);
    }
    return undefined;
  }

  /** Whether retention may have passed the link while it was being replayed to. */
  mayBeOvertaken(link: Link): boolean {
    const now = this.moment();
    return link.live === undefined && this.#horizon(link.asked, now).most > link.at;
  }

  /** Offsets count without holes, but for pushes that got no answer. */
  checkOffsets(): void {
    const holes = this.#log.keys().filter((offset) => offset > 0 && this.#log[offset] === undefined);
    const [missing, possible] = [[...holes], this.#unplaced(this.moment()).length];
    if (missing.length > possible)
      throw new Error(`offsets ${missing} are of nothing; ${possible} pushes got no answer`);
  }

  /** The id that the client says when it comes back: the last that it was told, or that of the last message it had. */
  lastId({ notices, since, epoch, after, begun }: Link): string | undefined {
    let last = begun === undefined ? since : `${epoch}-${after}`;
    for (const { id, message } of notices) {
      const place = id === undefined ? this.#pushed.get(message?.data ?? "")?.place : this.place(id);
      if (place === undefined) return last;
      last = `${place.epoch}-${place.offset}`;
    }
    return last;
  }

  /** Whether the id is of the log of now. */
  isCurrent(id: string | undefined): boolean {
    return !this.#isNew && parse(id ?? "")?.epoch === this.#epochs.at(-1);
  }

  place(id: string): Place {
    const place = parse(id);
    if (place === undefined) throw new Error(`${id} is not an id`);
    if (this.#isNew) {
      if (this.#epochs.includes(place.epoch)) throw new Error(`${id} is of an epoch that was forgotten`);
      this.#epochs.push(place.epoch);
      this.#isNew = false;
    }
    if (place.epoch !== this.#epochs.at(-1))
      throw new Error(`${id} is of another epoch than ${this.#epochs.at(-1)}`);
    return place;
  }

  #find(data: string): Pushed {
    const pushed = this.#pushed.get(data);
    if (pushed === undefined) throw new Error(`nobody pushed ${data.slice(0, 100)}`);
    return pushed;
  }

  #put(pushed: Pushed, place: Place): void {
    if (pushed.place !== undefined && pushed.place.offset !== place.offset)
      throw new Error(`${show(pushed)} has two ids, the other is of ${place.offset}`);
    const other = this.#log[place.offset];
    if (other !== undefined && other !== pushed)
      throw new Error(`${show(pushed)} and ${show(other)}: one id`);
    pushed.place = place;
    this.#log[place.offset] = pushed;
  }

  #requireAll(link: Link, upTo: number, wrong: (why: string) => Error): void {
    for (let offset = link.at + 1; offset <= upTo; offset++) {
      const pushed = this.#log[offset];
      if (pushed !== undefined && this.judge(pushed, offset, link) === "must")
        throw wrong(`a gap, without ${show(pushed)}`);
    }
  }

  #replacementsOf({ topic, key }: Pushed, offset: number): Pushed[] {
    if (key === undefined) return [];
    const all = this.#keyed.get(JSON.stringify([topic, key])) ?? [];
    return all.filter(({ place }) => place === undefined || place.offset > offset);
  }

  #leastHead(from: Moment): number {
    return Math.max(
      0,
      this.#log.findLastIndex((pushed) => isBefore(pushed?.answered, from)),
    );
  }

  #mostHead(to: Moment): number {
    const known = this.#log.findLastIndex((pushed) => isBefore(pushed?.sent, to));
    return Math.max(0, known) + this.#unplaced(to).length;
  }

  /** What was pushed before, and may or may not be in the log. */
  #unplaced(to: Moment): Pushed[] {
    return this.#pushed
      .values()
      .filter(({ place, sent }) => place === undefined && isBefore(sent, to))
      .toArray();
  }

  /** Between which offsets the horizon was at some moment between these. */
  #horizon(from: Moment, to: Moment): { readonly least: number; readonly most: number } {
    const { count, bytes, time } = this.#limits;
    const [leastHead, mostHead] = [this.#leastHead(from), this.#mostHead(to)];
    const [leastAge, mostAge] = this.#olderThan(time, from, to);
    let [least, most] = [Math.max(leastHead - count, leastAge), Math.max(mostHead - count, mostAge)];
    // A push without an answer may be among them, and may be the newest.
    let [bare, whole] = [0, this.#unplaced(to).reduce((sum, one) => sum + sizeOf(one) + overheadOf(one), 0)];
    if (whole > bytes) most = Math.max(most, mostHead);
    for (let offset = this.#log.length - 1; offset > least; offset--) {
      const pushed = this.#log[offset];
      if (pushed === undefined) continue;
      if (offset <= leastHead) bare += sizeOf(pushed);
      whole += sizeOf(pushed) + overheadOf(pushed);
      if (bare > bytes) least = Math.max(least, offset);
      if (whole > bytes) most = Math.max(most, offset);
    }
    return { least: Math.max(0, least), most: Math.max(0, most) };
  }

  /** Between which offsets the newest one is that was so old, in milliseconds, at some moment between these. */
  #olderThan(ageMs: number, from: Moment, to: Moment): [least: number, most: number] {
    const least = this.#log.findLastIndex(
      (pushed) => pushed?.answered !== undefined && pushed.answered.time < from.time - ageMs - slackMs,
    );
    const most = this.#log.findLastIndex(
      (pushed) => pushed !== undefined && pushed.sent.time < to.time - ageMs + slackMs,
    );
    return [Math.max(0, least), Math.max(0, most)];
  }

  /** Where a client begins that asked for `all`, or for the last so many seconds. */
  #back(since: string, link: Link, bounds: { least: number; most: number }): [least: number, most: number] {
    if (since === "all") return [bounds.least, bounds.most];
    const ageMs = Number(since.replace("s", "")) * 1000;
    const [least, most] = this.#olderThan(ageMs, link.asked, link.begun ?? link.asked);
    return [Math.max(bounds.least, least), Math.max(bounds.most, most)];
  }
}

function isBefore(one: Moment | undefined, other: Moment): boolean {
  return one !== undefined && one.tick < other.tick;
}

function parse(id: string): Place | undefined {
  const [, epoch, offset] = /^([0-9a-z]{8})-(\d+)$/.exec(id) ?? [];
  return epoch === undefined ? undefined : { epoch, offset: Number(offset) };
}

/** What a message takes at the least, and what a journal may reckon besides. */
function sizeOf({ data, isBytes }: Push): number {
  return isBytes ? Buffer.from(data, "base64").length : Buffer.byteLength(data);
}

function overheadOf({ topic, event = "", key = "" }: Pushed): number {
  return (
    64 + 256 + 256 + 3 * Buffer.byteLength(topic) + 3 * Buffer.byteLength(key) + Buffer.byteLength(event)
  );
}

function show({ data, topic, key, ttl, place }: Pushed): string {
  return `${JSON.stringify(data.slice(0, 40))} (${JSON.stringify({ topic, key, ttl, offset: place?.offset })})`;
}
