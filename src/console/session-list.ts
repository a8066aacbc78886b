/**
 * The sessions of the server, a page of them at a time, as they are now; and the end of one.
 */
import { computed, signal } from "@preact/signals";
import { type Api, Refusal } from "./api.ts";

/** As /sessions gives it. */
export interface Session {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly transport: string;
  /** ISO 8601 */
  readonly since: string;
  /** Absent of what the server has not been asked of yet. */
  readonly address?: string;
}

/** As /sessions gives it. */
interface Answer {
  readonly sessions: readonly Session[];
  /** Where the next page begins; absent on the last. */
  readonly next?: string;
}

/** Which page it is, and of whose sessions; an empty id is of all. */
interface Place {
  readonly userid: string;
  readonly compid: string;
  /** Where this page and those before it begin; the first page's beginning is left out. */
  readonly starts: readonly string[];
}

export type Page = Answer & Place;

export const pageSize = 25;

/** Who types a name is not asked after at every letter. */
const typingMs = 200;

export class SessionList {
  readonly userid = signal("");
  readonly compid = signal("");
  readonly page = signal<Page | undefined>(undefined);
  /** Whether the page is what this filter has found, and not one before it. */
  readonly isOfFilter = computed(() => {
    const page = this.page.value;
    return page?.userid === this.userid.value && page.compid === this.compid.value;
  });
  /** What is wrong with the filter, or why the page is not the newest. */
  readonly problem = signal("");
  readonly #api: Api;
  /** Of the page that is wanted, which the one that is shown may not be yet. */
  #starts: readonly string[] = [];
  /** Answers may overtake each other: only that of the newest question counts. */
  #asked = 0;
  #typing: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(api: Api) {
    this.#api = api;
  }

  async refresh(): Promise<void> {
    const asked = ++this.#asked;
    const place: Place = { userid: this.userid.peek(), compid: this.compid.peek(), starts: this.#starts };
    const after = place.starts.at(-1);
    const parameters: [string, string][] = [["limit", String(pageSize)]];
    if (place.userid !== "") parameters.push(["userid", place.userid]);
    if (place.compid !== "") parameters.push(["compid", place.compid]);
    if (after !== undefined) parameters.push(["after", after]);
    try {
      const answer: Answer = await (await this.#api.call("/sessions", { parameters })).json();
      if (asked !== this.#asked) return;
      this.problem.value = "";
      if (answer.sessions.length > 0 || after === undefined) {
        this.page.value = { ...answer, ...place };
        return;
      }
      // All that were here have gone: those before may still be there.
      this.#starts = place.starts.slice(0, -1);
      await this.refresh();
    } catch (error) {
      if (asked === this.#asked) this.#explain(error);
    }
  }

  /** Shows those of the user and the component that have just been chosen, as soon as nobody types on. */
  choose(): void {
    this.#starts = [];
    // What is still on its way is of others.
    this.#asked++;
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => void this.refresh(), typingMs);
  }

  async next(): Promise<void> {
    const page = this.page.peek();
    if (page?.next === undefined || !this.isOfFilter.peek()) return;
    this.#starts = [...page.starts, page.next];
    await this.refresh();
  }

  async previous(): Promise<void> {
    const page = this.page.peek();
    if (page === undefined || page.starts.length === 0 || !this.isOfFilter.peek()) return;
    this.#starts = page.starts.slice(0, -1);
    await this.refresh();
  }

  /** Shows nothing of them any more. */
  forget(): void {
    this.#asked++;
    clearTimeout(this.#typing);
    this.page.value = undefined;
    this.#starts = [];
  }

  /**
   * Ends a session; a client that may come back does so at once. The list follows.
   *
   * @throws Refusal
   */
  async disconnect({ id }: Session, mayComeBack: boolean): Promise<void> {
    await this.#api.call("/sessions", {
      method: "DELETE",
      parameters: [
        ["session", id],
        ["back", String(mayComeBack)],
      ],
    });
    void this.refresh();
  }

  #explain(error: unknown): void {
    const isRefused = error instanceof Refusal && error.isFinal;
    // Those that are there would seem to be what the filter has found.
    if (isRefused || !this.isOfFilter.peek()) this.page.value = undefined;
    const detail = this.#api.explain(error);
    this.problem.value = isRefused || detail === "" ? detail : `The list is not the newest: ${detail}`;
  }
}
