/**
 * What the server counts, in the text format of Prometheus.
 *
 * No metric has a label for a user, a component or a topic: their number has no bound, and ids are nobody's business
 * but the publisher's. What changes with every push is a plain number here, read when somebody asks.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { readdirSync, readFileSync } from "node:fs";
import { type ErrorCode, errorCodes } from "./errors.ts";

/** The gauges that belong to other parts, as functions that read them. */
export interface MetricsSources {
  readonly sessions: () => number;
  readonly replays: () => number;
  readonly idempotencyKeys: () => number;
  readonly receiptWaits: () => number;
  readonly usersOnline: () => number;
  readonly journalMessages: () => number;
  readonly journalBytes: () => number;
  readonly journalWritable: () => boolean;
  /** When the certificate expires, in milliseconds since 1970; without TLS there is none. */
  readonly certificateEnd?: () => number;
}

/**
 * How a session ended: by a close frame; by a connection that broke; for reading too slowly; by frames against the
 * rules, or too large; by silence; by the server's own end.
 */
export type SessionEnd = (typeof sessionEnds)[number];
const sessionEnds = ["closed", "dropped", "slow", "violation", "unresponsive", "drained"] as const;

export interface Metrics {
  /** Counted on the way of every push. */
  messages: number;
  deliveries: number;
  received: number;
  /** Receipts of clients. */
  acknowledged: number;
  sessionsOpened: number;
  /** Messages that were sent to sessions that came back. */
  replayed: number;
  /** Counted when a client said which id it had last: whether that everything since follows was proven. */
  resumed(proven: boolean): void;
  sessionEnded(end: SessionEnd): void;
  rejected(code: ErrorCode): void;
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
  const resumes = new Counter({
    name: "server_push_resumes_total",
    help: "Clients that came back with an id, by whether all that they missed could be given to them.",
    labelNames: ["proven"],
    registers,
  });
  for (const proven of ["true", "false"]) resumes.inc({ proven }, 0);
  for (const reason of sessionEnds) sessionsEnded.inc({ reason }, 0);
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
    sessionsOpened: 0,
    replayed: 0,
    resumed: (proven) => resumes.inc({ proven: String(proven) }),
    sessionEnded: (reason) => sessionsEnded.inc({ reason }),
    rejected: (code) => rejections.inc({ code }),
    pushed: (seconds) => pushTimes.add(seconds),
    contentType: registry.contentType,
    render: async () => `${await registry.metrics()}${pushTimes.render()}`,
    watch(sources) {
      gauge("server_push_sessions", "Sessions that are open now.", sources.sessions);
      gauge("server_push_replays", "Sessions that are being sent what they missed.", sources.replays);
      gauge("server_push_users_online", "Users that are online now.", sources.usersOnline);
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
        "server_push_journal_writable",
        "Whether the journal takes messages: 1, or 0 when it cannot be written.",
        () => Number(sources.journalWritable()),
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
  gauge("process_resident_memory_bytes", "Resident memory, in bytes.", () => process.memoryUsage.rss());
  gauge(
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
    () => performance.timeOrigin / 1000,
  );
  if (process.platform === "linux") {
    gauge("process_open_fds", "Open file descriptors.", () => readdirSync("/proc/self/fd").length);
    gauge("process_max_fds", "The limit of open file descriptors.", maxFileDescriptors);
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

/** The soft limit of open files, from proc(5): "Max open files  20000  20000  files". Infinite where nobody says it. */
export function maxFileDescriptors(): number {
  if (process.platform !== "linux") return Number.POSITIVE_INFINITY;
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
