/**
 * The sessions of the server, a page of them at a time, as they are now; and the end of one.
 */
import { signal } from "@preact/signals";
import type { Api } from "./api.ts";

/** As /sessions gives it. */
export interface Session {
  readonly id: string;
  readonly userid?: string;
  readonly compid?: string;
  readonly transport: string;
  /** ISO 8601 */
  readonly since: string;
  readonly address: string;
}

interface Page {
  readonly sessions: readonly Session[];
  /** Where the next page begins; absent on the last. */
  readonly next?: string;
}

const pageSize = 25;

export class SessionList {
  readonly userid = signal("");
  readonly compid = signal("");
  readonly page = signal<Page | undefined>(undefined);
  /** Why it is not the newest. */
  readonly problem = signal("");
  /** Where this page and those before it begin; the first page's beginning is left out. */
  readonly starts = signal<readonly string[]>([]);
  readonly #api: Api;
  /** Answers may overtake each other: only that of the newest question counts. */
  #asked = 0;

  constructor(api: Api) {
    this.#api = api;
  }

  async refresh(): Promise<void> {
    const asked = ++this.#asked;
    const after = this.starts.peek().at(-1);
    const parameters: [string, string][] = [["limit", String(pageSize)]];
    if (this.userid.peek() !== "") parameters.push(["userid", this.userid.peek()]);
    if (this.compid.peek() !== "") parameters.push(["compid", this.compid.peek()]);
    if (after !== undefined) parameters.push(["after", after]);
    try {
      const page: Page = await (await this.#api.call("/sessions", { parameters })).json();
      if (asked !== this.#asked) return;
      this.problem.value = "";
      this.page.value = page;
    } catch (error) {
      if (asked === this.#asked) this.problem.value = this.#api.explain(error);
    }
  }

  async choose(userid: string, compid: string): Promise<void> {
    this.userid.value = userid;
    this.compid.value = compid;
    this.starts.value = [];
    await this.refresh();
  }

  async next(): Promise<void> {
    const next = this.page.peek()?.next;
    if (next === undefined) return;
    this.starts.value = [...this.starts.peek(), next];
    await this.refresh();
  }

  async previous(): Promise<void> {
    this.starts.value = this.starts.peek().slice(0, -1);
    await this.refresh();
  }

  /** Shows nothing of them any more. */
  forget(): void {
    this.#asked++;
    this.page.value = undefined;
    this.starts.value = [];
  }

  /**
   * Ends a session; a client that may come back does so at once.
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
    await this.refresh();
  }
}
