import { describe, expect, test } from "bun:test";
import { errorCodes, OverLimit, PushError } from "../src/errors.ts";
import { createMetrics, type Metrics } from "../src/metrics.ts";

const build = { version: "1.2.3", commit: "abc1234" };

describe("the rendered figures", () => {
  test("are in the text format of Prometheus: every sample has its help and its type before it", async () => {
    const { samples, types, helps } = parse(await createWatched().render());

    expect(samples.size).toBeGreaterThan(30);
    for (const { family } of samples.values()) {
      expect([...types.keys()]).toContain(family);
      expect(helps.get(family)).toMatch(/^[A-Z].+\.$/);
    }
  });

  test("are named by the rules: counters end with _total and have no negative values", async () => {
    const { samples, types } = parse(await createWatched().render());

    for (const [family, type] of types) expect(family.endsWith("_total")).toBe(type === "counter");
    for (const { family, value } of samples.values())
      if (types.get(family) === "counter") expect(value).toBeGreaterThanOrEqual(0);
  });

  test("have no label but those of bounded number: no user, component, topic or session", async () => {
    const { samples } = parse(await createWatched().render());

    const labels = new Set([...samples.values()].flatMap((sample) => Object.keys(sample.labels)));
    expect([...labels].toSorted()).toEqual([
      "bun",
      "code",
      "commit",
      "le",
      "limit",
      "outcome",
      "proven",
      "reason",
      "version",
    ]);
  });

  test("come with the content type of that format", () => {
    expect(createMetrics(build).contentType).toStartWith("text/plain; version=0.0.4");
  });

  test("have every code of an error from the beginning, at 0", async () => {
    const { samples } = parse(await createMetrics(build).render());

    for (const code of errorCodes)
      expect(samples.get(`server_push_rejections_total{code="${code}"}`)?.value).toBe(0);
  });

  test("have every way in which a session can end from the beginning, at 0", async () => {
    const { samples } = parse(await createMetrics(build).render());

    for (const reason of ["closed", "dropped", "unresponsive", "drained"])
      expect(samples.get(`server_push_sessions_closed_total{reason="${reason}"}`)?.value).toBe(0);
  });

  test("say which build this is", async () => {
    const { samples } = parse(await createMetrics(build).render());

    const name = `server_push_build_info{version="1.2.3",commit="abc1234",bun="${Bun.version}"}`;
    expect(samples.get(name)?.value).toBe(1);
  });

  test("say what the process takes", async () => {
    const { samples } = parse(await createMetrics(build).render());

    expect(samples.get("process_resident_memory_bytes")?.value).toBeGreaterThan(1e6);
    expect(samples.get("process_cpu_seconds_total")?.value).toBeGreaterThan(0);
    expect(samples.get("process_start_time_seconds")?.value).toBeWithin(1.7e9, Date.now() / 1000 + 1);
  });
});

describe("a figure is what was counted:", () => {
  const counted: readonly (readonly [string, (metrics: Metrics) => void])[] = [
    ["server_push_messages_total", (metrics) => (metrics.messages += 3)],
    ["server_push_deliveries_total", (metrics) => (metrics.deliveries += 3)],
    ["server_push_received_total", (metrics) => (metrics.received += 3)],
    ["server_push_sessions_opened_total", (metrics) => (metrics.sessionsOpened += 3)],
    [
      'server_push_rejections_total{code="too_large"}',
      (metrics) => repeat(3, () => metrics.rejected(new PushError("too_large", ""))),
    ],
    [
      'server_push_sessions_closed_total{reason="dropped"}',
      (metrics) => repeat(3, () => metrics.sessionEnded("dropped")),
    ],
    ["server_push_push_duration_seconds_count", (metrics) => repeat(3, () => metrics.pushed(0.002))],
  ];
  for (const [name, count] of counted)
    test(`${name}, and no other`, async () => {
      const metrics = createMetrics(build);
      const before = parse(await metrics.render()).samples;

      count(metrics);

      const after = parse(await metrics.render()).samples;
      expect(after.get(name)?.value).toBe(3);
      for (const [other, { family, value }] of after)
        if (!name.startsWith(family) && family.startsWith("server_push_"))
          expect(`${other} ${value}`).toBe(`${other} ${before.get(other)?.value}`);
    });

  test("it does not grow by being asked for", async () => {
    const metrics = createMetrics(build);
    metrics.messages = 2;
    await metrics.render();

    const { samples } = parse(await metrics.render());

    expect(samples.get("server_push_messages_total")?.value).toBe(2);
  });

  test("the gauges show what their sources say at that moment", async () => {
    const metrics = createMetrics(build);
    let sessions = 1;
    let isWritable = true;
    metrics.watch({
      sessions: () => sessions,
      replays: () => 0,
      receiptWaits: () => 0,
      usersOnline: () => 0,
      webhookWaiting: () => 0,
      eventReaders: () => 0,
      idempotencyKeys: () => 0,
      journalMessages: () => 20,
      journalBytes: () => 3000,
      journalAgeMs: () => 4000,
      journalWritable: () => isWritable,
      eventsWritable: () => true,
    });
    await metrics.render();
    sessions = 5;
    isWritable = false;

    const { samples } = parse(await metrics.render());

    expect(samples.get("server_push_sessions")?.value).toBe(5);
    expect(samples.get("server_push_journal_messages")?.value).toBe(20);
    expect(samples.get("server_push_journal_age_seconds")?.value).toBe(4);
    expect(samples.get("server_push_journal_bytes")?.value).toBe(3000);
    expect(samples.get("server_push_journal_writable")?.value).toBe(0);
  });

  test("the time of a push is in the first bucket that holds it, and in all that are larger", async () => {
    const metrics = createMetrics(build);

    metrics.pushed(0.002);

    const { samples } = parse(await metrics.render());
    const bucket = (le: string) => samples.get(`server_push_push_duration_seconds_bucket{le="${le}"}`)?.value;
    expect([bucket("0.001"), bucket("0.0025"), bucket("5"), bucket("+Inf")]).toEqual([0, 1, 1, 1]);
    expect(samples.get("server_push_push_duration_seconds_sum")?.value).toBe(0.002);
  });
});

test("what is over a limit counts under its code, and under its limit", async () => {
  const metrics = createMetrics(build);

  metrics.rejected(new OverLimit("rate_limited", "max-push-rate", ""));

  const { samples } = parse(await metrics.render());
  expect(samples.get('server_push_rejections_total{code="rate_limited"}')?.value).toBe(1);
  expect(samples.get('server_push_limits_hit_total{limit="max-push-rate"}')?.value).toBe(1);
  expect(samples.get('server_push_limits_hit_total{limit="max-session-rate"}')?.value).toBe(0);
});

test("two sets of metrics count apart", async () => {
  const [one, other] = [createMetrics(build), createMetrics(build)];

  one.messages++;
  one.rejected(new PushError("internal", ""));

  const { samples } = parse(await other.render());
  expect(samples.get("server_push_messages_total")?.value).toBe(0);
  expect(samples.get('server_push_rejections_total{code="internal"}')?.value).toBe(0);
});

function createWatched(): Metrics {
  const metrics = createMetrics(build);
  metrics.watch({
    sessions: () => 1,
    replays: () => 0,
    receiptWaits: () => 0,
    usersOnline: () => 0,
    webhookWaiting: () => 0,
    eventReaders: () => 0,
    idempotencyKeys: () => 0,
    journalMessages: () => 2,
    journalBytes: () => 3,
    journalAgeMs: () => 4,
    journalWritable: () => true,
    eventsWritable: () => true,
  });
  return metrics;
}

function repeat(times: number, act: () => void): void {
  for (let count = 0; count < times; count++) act();
}

interface Sample {
  /** The name that its help and type stand under. */
  readonly family: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads the exposition format, version 0.0.4; throws at a line that is none of it. */
function parse(text: string) {
  const samples = new Map<string, Sample>();
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  for (const line of text.split("\n").filter((one) => one !== "")) {
    const [, keyword, about = "", rest = ""] = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line) ?? [];
    if (keyword !== undefined) {
      (keyword === "HELP" ? helps : types).set(about, rest);
      continue;
    }
    const [, id = "", name = "", inBraces = "", value = ""] =
      /^(([a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)*)\})?) (-?[\d.]+(?:e[+-]?\d+)?|[+-]Inf|NaN)$/.exec(line) ??
      [];
    if (name === "" || samples.has(id))
      throw new Error(`expected one sample, its labels and its value: ${line}`);
    const labels = Object.fromEntries(
      [...inBraces.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, label = "", is = ""]) => [label, is]),
    );
    const histogram = name.replace(/_(bucket|sum|count)$/, "");
    const family = types.get(histogram) === "histogram" ? histogram : name;
    samples.set(id, { family, labels, value: Number(value.replace("Inf", "Infinity")) });
  }
  return { samples, types, helps };
}
