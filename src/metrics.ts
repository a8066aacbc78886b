/**
 * What the server counts, in the text format of Prometheus.
 *
 * No metric has a label for a user, a component or a topic: their number has no bound, and ids are nobody's business
 * but the publisher's. What changes with every push is a plain number here, read when somebody asks.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { readdirSync, readFileSync } from "node:fs";
import { errorCodes, limits, OverLimit, type PushError } from "./errors.ts";

/** The gauges that belong to other parts, as functions that read them. */
export interface MetricsSources {
  readonly sessions: () => number;
  readonly replays: () => number;
  readonly idempotencyKeys: () => number;
  readonly receiptWaits: () => number;
  readonly usersOnline: () => number;
  readonly webhookWaiting: () => number;
  readonly eventReaders: () => number;
  readonly journalMessages: () => number;
  readonly journalBytes: () => number;
  readonly journalAgeMs: () => number;
  readonly journalWritable: () => boolean;
  readonly eventsWritable: () => boolean;
  /** When the certificate expires, in milliseconds since 1970; without TLS there is none. */
  readonly certificateEnd?: () => number;
}

/**
 * How a session ended: by a close frame; by a connection that broke; for reading too slowly; by frames against the
 * rules, or too large; by silence; by the server's own end.
 */
export type SessionEnd = (typeof sessionEnds)[number];
const sessionEnds = ["closed", "dropped", "slow", "violation", "unresponsive", "drained"] as const;

/** A post was `taken`, or `failed` and is tried again; the event was `dropped` for want of room, or `expired` untaken. */
export type WebhookOutcome = (typeof webhookOutcomeNames)[number];
const webhookOutcomeNames = ["taken", "failed", "dropped", "expired"] as const;

export interface Metrics {
  /** Counted on the way of every push. */
  messages: number;
  deliveries: number;
  received: number;
  /** Events that could not be taken into their log. */
  eventsLost: number;
  /** What became of so many attempts to post an event, or of so many events. */
  webhook(outcome: WebhookOutcome, count: number): void;
  /** Receipts of clients. */
  acknowledged: number;
  sessionsOpened: number;
  /** Messages that were sent to sessions that came back. */
  replayed: number;
  /** Counted when a client said which id it had last: whether that everything since follows was proven. */
  resumed(proven: boolean): void;
  sessionEnded(end: SessionEnd): void;
  rejected(error: PushError): void;
  /** @param seconds from when the request was there to when its answer was */
  pushed(seconds: number): void;
  /** Ties the gauges to what they show. */
  watch(sources: MetricsSources): void;
  readonly contentType: string;
  render(): Promise<string>;
}

const pushBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

export function createMetrics(build: { version: string; commit: string }): Metrics {
  const registry = new Registry();
  const registers = [registry];

  const sessionsEnded = new Counter({
    name: "server_push_sessions_closed_total",
    help: `Sessions that ended, by how: ${sessionEnds.join(", ")}.`,
    labelNames: ["reason"],
    registers,
  });
  const rejections = new Counter({
    name: "server_push_rejections_total",
    help: "Requests that were refused, by the code of the error.",
    labelNames: ["code"],
    registers,
  });
  const limitsHit = new Counter({
    name: "server_push_limits_hit_total",
    help: "Requests and frames that were refused at a limit, by its setting.",
    labelNames: ["limit"],
    registers,
  });
  const webhookOutcomes = new Counter({
    name: "server_push_webhook_events_total",
    help: "Events for webhooks, by what became of them; each attempt that failed is tried again.",
    labelNames: ["outcome"],
    registers,
  });
  for (const outcome of webhookOutcomeNames) webhookOutcomes.inc({ outcome }, 0);
  const resumes = new Counter({
    name: "server_push_resumes_total",
    help: "Clients that came back with an id, by whether all that they missed could be given to them.",
    labelNames: ["proven"],
    registers,
  });
  for (const proven of ["true", "false"]) resumes.inc({ proven }, 0);
  for (const reason of sessionEnds) sessionsEnded.inc({ reason }, 0);
  for (const limit of limits) limitsHit.inc({ limit }, 0);
  for (const code of errorCodes) rejections.inc({ code }, 0);
  const pushTimes = new PushTimes();
  new Gauge({
    name: "server_push_build_info",
    help: "Always 1; the labels say which build this is.",
    labelNames: ["version", "commit", "bun"],
    registers,
  }).set({ ...build, bun: Bun.version }, 1);

  const metrics: Metrics = {
    messages: 0,
    deliveries: 0,
    received: 0,
    acknowledged: 0,
    eventsLost: 0,
    webhook: (outcome, count) => webhookOutcomes.inc({ outcome }, count),
    sessionsOpened: 0,
    replayed: 0,
    resumed: (proven) => resumes.inc({ proven: String(proven) }),
    sessionEnded: (reason) => sessionsEnded.inc({ reason }),
    rejected(error) {
      rejections.inc({ code: error.code });
      if (error instanceof OverLimit) limitsHit.inc({ limit: error.limit });
    },
    pushed: (seconds) => pushTimes.add(seconds),
    contentType: registry.contentType,
    render: async () => `${await registry.metrics()}${pushTimes.render()}`,
    watch(sources) {
      gauge("server_push_sessions", "Sessions that are open now.", sources.sessions);
      gauge("server_push_replays", "Sessions that are being sent what they missed.", sources.replays);
      gauge("server_push_users_online", "Users that are online now.", sources.usersOnline);
      gauge("server_push_webhook_waiting", "Events that wait for a webhook.", sources.webhookWaiting);
      gauge("server_push_event_readers", "Back ends that read /events now.", sources.eventReaders);
      gauge(
        "server_push_receipt_waits",
        "Pushes that wait for the receipt of a client.",
        sources.receiptWaits,
      );
      gauge("server_push_idempotency_keys", "Idempotency keys that are remembered.", sources.idempotencyKeys);
      gauge("server_push_journal_messages", "Messages that the journal keeps.", sources.journalMessages);
      gauge(
        "server_push_journal_bytes",
        "What the kept messages take, in bytes, overhead included.",
        sources.journalBytes,
      );
      gauge(
        "server_push_journal_age_seconds",
        "How old the oldest message is that the journal keeps.",
        () => sources.journalAgeMs() / 1000,
      );
      gauge(
        "server_push_journal_writable",
        "Whether the journal takes messages: 1, or 0 when it cannot be written.",
        () => Number(sources.journalWritable()),
      );
      gauge(
        "server_push_events_writable",
        "Whether the log of events takes events: 1, or 0 when it cannot be written, and messages of clients are refused.",
        () => Number(sources.eventsWritable()),
      );
      const { certificateEnd } = sources;
      if (certificateEnd !== undefined)
        gauge(
          "server_push_certificate_expiry_seconds",
          "When the TLS certificate expires, in seconds since 1970.",
          () => certificateEnd() / 1000,
        );
    },
  };

  counter("server_push_messages_total", "Messages that the journal took.", () => metrics.messages);
  counter(
    "server_push_deliveries_total",
    "Messages times the sessions that each was sent to.",
    () => metrics.deliveries,
  );
  counter("server_push_received_total", "Messages that clients sent.", () => metrics.received);
  counter(
    "server_push_events_lost_total",
    "Events that could not be written down for the back end.",
    () => metrics.eventsLost,
  );
  counter(
    "server_push_acknowledged_total",
    "Receipts that clients sent, each up to some message.",
    () => metrics.acknowledged,
  );
  counter("server_push_sessions_opened_total", "Sessions that began.", () => metrics.sessionsOpened);
  counter(
    "server_push_replayed_total",
    "Messages that were sent to sessions that came back.",
    () => metrics.replayed,
  );
  counter("process_cpu_seconds_total", "User and system CPU time, in seconds.", cpuSeconds);
  gauge("process_resident_memory_bytes", "Resident memory, in bytes.", orLast(process.memoryUsage.rss));
  gauge(
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
    () => performance.timeOrigin / 1000,
  );
  if (process.platform === "linux") {
    const most = maxFileDescriptors();
    gauge("process_open_fds", "Open file descriptors.", orLast(countDescriptors, most));
    gauge("process_max_fds", "The limit of open file descriptors.", () => most);
  }
  return metrics;

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }

  function counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}

/**
 * A histogram that counts on the way of every push: the library's looks labels up with every value, which costs twenty times as much.
 */
class PushTimes {
  /** How many values each bucket has, and the last what is above all bounds. */
  readonly #counts = new Float64Array(pushBuckets.length + 1);
  #sum = 0;

  add(seconds: number): void {
    let bucket = 0;
    while (bucket < pushBuckets.length && seconds > (pushBuckets[bucket] ?? 0)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  render(): string {
    const name = "server_push_push_duration_seconds";
    const lines = [
      `# HELP ${name} From a push's arrival to its answer, in seconds.`,
      `# TYPE ${name} histogram`,
    ];
    let count = 0;
    for (const [bucket, own] of this.#counts.entries())
      lines.push(`${name}_bucket{le="${pushBuckets[bucket] ?? "+Inf"}"} ${(count += own)}`);
    lines.push(`${name}_sum ${this.#sum}`, `${name}_count ${count}`);
    return `${lines.join("\n")}\n`;
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function countDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** What it reads, or what it has read before when it cannot: without a file descriptor left, there is none to look with. */
function orLast(read: () => number, last = Number.NaN): () => number {
  let known = last;
  return () => {
    try {
      known = read();
    } catch {
      // It stays as it was.
    }
    return known;
  };
}

/** The soft limit of open files, from proc(5): "Max open files  20000  20000  files". Infinite where nobody says it. */
export function maxFileDescriptors(): number {
  if (process.platform !== "linux") return Number.POSITIVE_INFINITY;
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
