/**
 * The server's figures, now and over the last minutes: /metrics, looked at again and again.
 */
import { signal } from "@preact/signals";
import type { Api } from "./api.ts";
import { findLabel, parseMetrics, type Sample, toGrowth, toQuantile } from "./metrics.ts";

/** What stands on the page. Rates are a second, times in seconds. */
export interface Figures {
  readonly sessions: number;
  readonly users: number;
  /** These two are absent at first, as a rate is of two samples. */
  readonly messages: number | undefined;
  readonly deliveries: number | undefined;
  /** Of the pushes of the last seconds; absent when there were none. */
  readonly median: number | undefined;
  readonly slowest: number | undefined;
  readonly journalMessages: number;
  readonly journalBytes: number;
  /** How old the oldest message is that it keeps, in seconds. */
  readonly journalAge: number;
  readonly isWritable: boolean;
  /** Sessions that were closed since the server began, as they read too slowly. */
  readonly slowSessions: number;
  readonly webhookWaiting: number;
  /** The backlog has not become smaller for a while. */
  readonly isWebhookStuck: boolean;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

/** Before the first look. */
export const noFigures: Figures = {
  sessions: 0,
  users: 0,
  messages: undefined,
  deliveries: undefined,
  median: undefined,
  slowest: undefined,
  journalMessages: 0,
  journalBytes: 0,
  journalAge: 0,
  isWritable: true,
  slowSessions: 0,
  webhookWaiting: 0,
  isWebhookStuck: false,
  version: "",
  startedAt: 0,
};

/** What is drawn over time. */
export type Curve = "sessions" | "messages" | "deliveries" | "median" | "slowest";

/** A point has the same place in all of them; where nothing is known it is null. */
export interface History {
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly curves: Readonly<Record<Curve, readonly (number | null)[]>>;
}

/** In seconds. */
export const historySeconds = 300;
/** Pushes come seldom where people try things out, so a latency is of more than one interval. */
const latencySeconds = 10;
/** A backlog that becomes smaller from time to time is worked off, also when it grows meanwhile. */
const stuckSeconds = 5;
/** After a longer pause the points before and after are not joined. */
const gapSeconds = 4;

export class Watch {
  readonly figures = signal<Figures | undefined>(undefined);
  readonly history = signal<History>({
    times: [],
    curves: { sessions: [], messages: [], deliveries: [], median: [], slowest: [] },
  });
  /** Why there are no figures. */
  readonly problem = signal("");
  readonly #api: Api;
  /** The newest last. */
  #samples: { readonly at: number; readonly sample: Sample }[] = [];
  /** When the webhooks' backlog has last become smaller, or was empty. */
  #workedOffAt = 0;

  constructor(api: Api) {
    this.#api = api;
  }

  async look(): Promise<void> {
    let text: string;
    try {
      text = await (await this.#api.call("/metrics")).text();
      this.problem.value = "";
    } catch (error) {
      this.problem.value = this.#api.explain(error);
      return;
    }
    // The clock of the day may be set back, and what is drawn must not be.
    this.#take((performance.timeOrigin + performance.now()) / 1000, parseMetrics(text));
  }

  #take(at: number, sample: Sample): void {
    const before = this.#samples.at(-1);
    this.#samples = [...this.#samples.filter((one) => one.at >= at - latencySeconds), { at, sample }];
    const earlier = this.#samples[0]?.sample ?? sample;
    const perSecond = (name: string) =>
      before === undefined ? undefined : toGrowth(name, sample, before.sample) / (at - before.at);
    const get = (name: string) => sample.get(name) ?? 0;
    const waiting = get(webhookWaiting);
    // Of what nobody has looked at, nothing is known.
    const isUnseen = before === undefined || at - before.at > gapSeconds;
    if (waiting === 0 || isUnseen || waiting < (before.sample.get(webhookWaiting) ?? 0))
      this.#workedOffAt = at;
    const figures: Figures = {
      sessions: get("server_push_sessions"),
      users: get("server_push_users_online"),
      messages: perSecond("server_push_messages_total"),
      deliveries: perSecond("server_push_deliveries_total"),
      median: toQuantile(0.5, pushTimes, sample, earlier),
      slowest: toQuantile(0.99, pushTimes, sample, earlier),
      journalMessages: get("server_push_journal_messages"),
      journalBytes: get("server_push_journal_bytes"),
      journalAge: get("server_push_journal_age_seconds"),
      isWritable: get("server_push_journal_writable") === 1,
      slowSessions: get('server_push_sessions_closed_total{reason="slow"}'),
      webhookWaiting: waiting,
      isWebhookStuck: at - this.#workedOffAt >= stuckSeconds,
      version: findLabel("version", "server_push_build_info", sample) ?? "",
      startedAt: get("process_start_time_seconds") * 1000,
    };
    this.figures.value = figures;
    this.#draw(at, figures);
  }

  #draw(at: number, figures: Figures): void {
    const { times, curves: before } = this.history.peek();
    const last = times.at(-1);
    const gap = last !== undefined && at - last > gapSeconds ? [last + 1] : [];
    const outdated = times.findIndex((time) => time >= at - historySeconds);
    const from = outdated === -1 ? times.length : outdated;
    const extend = (curve: Curve) => [
      ...before[curve].slice(from),
      ...gap.map(() => null),
      figures[curve] ?? null,
    ];
    this.history.value = {
      times: [...times.slice(from), ...gap, at],
      curves: {
        sessions: extend("sessions"),
        messages: extend("messages"),
        deliveries: extend("deliveries"),
        median: extend("median"),
        slowest: extend("slowest"),
      },
    };
  }
}

const webhookWaiting = "server_push_webhook_waiting";
const pushTimes = "server_push_push_duration_seconds";
