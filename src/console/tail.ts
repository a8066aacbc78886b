/**
 * What has happened of late: the events of the server, and the messages that this page gets. It is bounded, whatever comes: the newest
 * rows stay, and a row holds no more of a text than somebody would read.
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";

export interface Entry {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** A type of event, or `message`. */
  readonly kind: string;
  /** Whom or what it is about. */
  readonly subject: string;
  readonly text: string;
}

export interface Row extends Entry {
  /** Different for each row. */
  readonly key: number;
}

export const maxRows = 300;
const maxText = 2000;
/** Rows that come within this time are shown at once, as to show each would keep the page busy with nothing else. */
const collectMs = 100;

export class Tail {
  /** The newest first. */
  readonly shown: ReadonlySignal<readonly Row[]>;
  readonly isPaused = signal(false);
  /** What a row must have in it, in lower or upper case. */
  readonly filter = signal("");
  /** The only kind that is shown; empty for all. */
  readonly kind = signal("");
  /** How many rows have come since it was paused. */
  readonly waiting: ReadonlySignal<number>;
  readonly #rows = signal<readonly Row[]>([]);
  readonly #held = signal<readonly Row[]>([]);
  #fresh: Row[] = [];
  #count = 0;
  /** The key of the newest row that was shown then. */
  #pausedAt = 0;

  constructor() {
    const source = computed(() => (this.isPaused.value ? this.#held.value : this.#rows.value));
    this.shown = computed(() => {
      const [kind, text] = [this.kind.value, this.filter.value.trim().toLowerCase()];
      return source.value.filter(
        (row) => (kind === "" || row.kind === kind) && (text === "" || toSearchable(row).includes(text)),
      );
    });
    this.waiting = computed(() =>
      this.isPaused.value ? Math.max(0, (this.#rows.value[0]?.key ?? 0) - this.#pausedAt) : 0,
    );
  }

  add(entry: Entry): void {
    if (this.#fresh.length === 0) setTimeout(() => this.#show(), collectMs);
    this.#fresh.unshift({ ...entry, text: shorten(entry.text), key: ++this.#count });
    if (this.#fresh.length > maxRows) this.#fresh.pop();
  }

  pause(): void {
    this.#held.value = this.#rows.value;
    this.#pausedAt = this.#rows.value[0]?.key ?? 0;
    this.isPaused.value = true;
  }

  resume(): void {
    this.isPaused.value = false;
    this.#held.value = [];
  }

  clear(): void {
    this.#fresh = [];
    this.#rows.value = [];
    this.#held.value = [];
  }

  #show(): void {
    this.#rows.value = [...this.#fresh, ...this.#rows.value].slice(0, maxRows);
    this.#fresh = [];
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

function toSearchable({ kind, subject, text }: Row): string {
  return `${kind}\n${subject}\n${text}`.toLowerCase();
}
