/**
 * What has happened of late: the events of the server, and the messages that this page gets. It is bounded, whatever comes: the newest
 * rows of each kind stay, and a row holds no more of a text than somebody would read.
 *
 *   message         ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒    thousands a second push out each other,
 *   user.offline                ▒    ▒      and not the one event that somebody waits for
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { pace, showMs } from "./pace.ts";

export interface Happening {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** A type of event, of which a server has few, or `message`. */
  readonly kind: string;
  /** Whom it is about: a user, a component or both; an empty id where that is nobody's session; nothing where it is about none. */
  readonly subject: readonly string[];
  /** The event name of a message, empty for none. */
  readonly event: string;
  readonly text: string;
}

export interface Row extends Happening {
  /** Different for each row, and larger than those before. */
  readonly key: number;
}

/** Of each kind as many are kept, and of all as many are shown. */
export const maxRows = 300;
const maxText = 2000;

export class Tail {
  /** The newest first. */
  readonly shown: ReadonlySignal<readonly Row[]>;
  /** Whether there is anything that a filter could find. */
  readonly isEmpty: ReadonlySignal<boolean>;
  readonly isPaused = signal(false);
  /** What a row must have in it, in lower or upper case. */
  readonly filter = signal("");
  /** The only kind that is shown; empty for all. */
  readonly kind = signal("");
  /** How many rows have come since it was paused, or cleared meanwhile. */
  readonly waiting: ReadonlySignal<number>;
  readonly #kept = new Map<string, Row[]>();
  readonly #rows = signal<readonly Row[]>([]);
  /** The rows of when it was paused. */
  readonly #held = signal<readonly Row[]>([]);
  readonly #showSoon = pace(showMs, () => (this.#rows.value = this.#merge()));
  #count = 0;
  /** The key of the newest row that does not count as waiting. */
  readonly #pausedAt = signal(0);

  constructor() {
    const source = computed(() => (this.isPaused.value ? this.#held.value : this.#rows.value));
    this.isEmpty = computed(() => source.value.length === 0);
    this.shown = computed(() => {
      const [kind, text] = [this.kind.value, this.filter.value.trim().toLowerCase()];
      return source.value
        .filter(
          (row) => (kind === "" || row.kind === kind) && (text === "" || toSearchable(row).includes(text)),
        )
        .slice(0, maxRows);
    });
    this.waiting = computed(() => {
      if (!this.isPaused.value) return 0;
      return Math.max(0, (this.#rows.value[0]?.key ?? 0) - this.#pausedAt.value);
    });
  }

  add(happening: Happening): void {
    const { kind, text } = happening;
    let rows = this.#kept.get(kind);
    if (rows === undefined) this.#kept.set(kind, (rows = []));
    rows.push({ ...happening, text: shorten(text), key: ++this.#count });
    if (rows.length > maxRows) rows.shift();
    this.#showSoon();
  }

  pause(): void {
    this.#held.value = this.#rows.value;
    this.#pausedAt.value = this.#rows.value[0]?.key ?? 0;
    this.isPaused.value = true;
  }

  resume(): void {
    this.isPaused.value = false;
    this.#held.value = [];
  }

  clear(): void {
    this.#kept.clear();
    this.#rows.value = [];
    this.#held.value = [];
    this.#pausedAt.value = this.#count;
  }

  #merge(): readonly Row[] {
    return [...this.#kept.values()].flat().toSorted((one, other) => other.key - one.key);
  }
}

/** The beginning of a text, and how much there is of it. */
export function shorten(text: string): string {
  if (text.length <= maxText) return text;
  return `${text.slice(0, maxText)}… (${text.length.toLocaleString("en")} characters)`;
}

/** What a message holds, as a text. */
export function toText(data: string | Uint8Array): string {
  if (typeof data === "string") return data;
  const bytes = Array.from(data.subarray(0, maxBytes), (byte) => byte.toString(16).padStart(2, "0"));
  return `${data.length} bytes: ${bytes.join(" ")}${data.length > maxBytes ? " …" : ""}`;
}

const maxBytes = 32;

function toSearchable({ kind, subject, event, text }: Row): string {
  return `${kind}\n${subject.join(" / ")}\n${event}\n${text}`.toLowerCase();
}
