/**
 * The cases of the journal: what is kept in a file, and what is sent to those who come back.
 */
import { pushAtPace } from "../support/pace.ts";
import type { ServerProcess } from "../support/process.ts";
import { Audience, measureCost, toAddress, within, withPublishers } from "./load.ts";
import { Latencies } from "./measure.ts";
import type { Program } from "./programs.ts";
import type { Case, FigureSpecification, Open, Target } from "./rounds.ts";
import type { Publisher } from "./sockets.ts";
import {
  audienceSize,
  type Extent,
  latencyFigures,
  shareFigures,
  toSample,
  withAudience,
  withoutStage,
} from "./stage.ts";

const batchSize = 1000;
const batchers = 4;

/** Many messages in one call, all to one session. */
export function batches(extent: Extent, target: Target): Case {
  const open =
    (program: Program): Open =>
    (programs) =>
      withAudience(
        programs.start(program, "anywhere"),
        async (server, audience) => {
          const cost = await withPublishers(server, batchers, (publishers) =>
            measureCost(server, async () => {
              const end = performance.now() + extent.publishMs;
              const lane = async (publisher: Publisher) => {
                while (performance.now() < end)
                  await publisher.post("/batch", "application/x-ndjson", toBatch(audience));
              };
              await Promise.all(publishers.map(lane));
              await audience.untilArrived(audience.messages);
            }),
          );
          audience.verify(() => audience.messages);
          return toSample(cost, audience.messages, audience);
        },
        { size: 1 },
      );
  return {
    title: `--data: ${batchers} publishers, POST /batch of ${batchSize} messages to a session`,
    rounds: extent.rounds,
    figures: [
      { value: "rate", title: "messages", unit: "1/s", target },
      { value: "cpu", title: "server CPU per message", unit: "µs" },
      ...latencyFigures,
      ...shareFigures,
    ],
    ours: open("file"),
    baseline: { name: "the journal in memory", open: open("memory") },
  };
}

/** @param toUser whose each message is, by its place */
function toBatch(audience: Audience, toUser: (at: number) => number = () => 0): string {
  let lines = "";
  for (let at = 0; at < batchSize; at++)
    lines += `{"userid":"user-${toUser(at)}","message":"${audience.nextMessage()}"}\n`;
  return lines;
}

const pacedLanes = 128;

/** A thousand pushes a second, which leaves the server time: how long is a publisher kept waiting for the disk? */
export function paced(extent: Extent, target: Target): Case {
  return {
    title: "--data: 1000 pushes a second to one of 1000 sessions, and their answers",
    rounds: extent.rounds,
    figures: [
      { value: "answer50", title: "answer p50", unit: "ms" },
      { value: "answer99", title: "answer p99", unit: "ms", target },
      { value: "answer999", title: "answer p99.9", unit: "ms" },
      ...shareFigures,
    ],
    ours: toPaced(extent, "file", { perSecond: 1000 }),
    baseline: { name: "the journal in memory", open: toPaced(extent, "memory", { perSecond: 1000 }) },
  };
}

/**
 * Ten thousand a second into a journal that is full, so that a row expires for each that is added, while the file's log is
 * checkpointed, and clients come back and are sent all that is kept for them: is there a moment when the event loop does nothing
 * else? Whoever asks for /healthz, every millisecond, would wait through it.
 */
export function pauses(extent: Extent, target: Target): Case {
  return {
    title: "--data: 10000 pushes a second, the journal being full, and answers of /healthz meanwhile",
    rounds: extent.rounds,
    figures: [
      { value: "healthz999", title: "answer of /healthz p99.9", unit: "ms" },
      { value: "healthzMax", title: "the longest one", unit: "ms", target },
      { value: "answer99", title: "answer of a push p99", unit: "ms" },
      ...shareFigures,
    ],
    ours: toPaced(extent, "file", busy),
    baseline: { name: "the journal in memory", open: toPaced(extent, "memory", busy) },
  };
}

interface Pace {
  readonly perSecond: number;
  /** How many messages there are before. */
  readonly kept?: number;
  /** How many clients come back in a second. */
  readonly returning?: number;
}

/** As many are kept as the journal keeps when it is not told otherwise. */
const busy: Pace = { perSecond: 10_000, kept: 100_000, returning: 20 };

function toPaced(extent: Extent, program: Program, { perSecond, kept = 0, returning = 0 }: Pace): Open {
  const openFull = async (server: Promise<ServerProcess>) => {
    await withPublishers(await server, 1, ([publisher]) => fill(publisher, kept));
    return server;
  };
  return (programs) =>
    withAudience(openFull(programs.start(program, "anywhere")), async (server, audience) => {
      const answers = new Latencies();
      const probes = new Latencies();
      let count = 0;
      const cost = await withPublishers(server, pacedLanes + 1, async ([probe, ...publishers]) => {
        const free = [...publishers];
        return await measureCost(server, async () => {
          const pushing = pushAtPace({
            perSecond,
            ms: extent.publishMs,
            lanes: publishers.length,
            async push(number) {
              const publisher = free.pop();
              if (publisher === undefined) throw new Error("there are fewer connections than lanes");
              await timed(answers, () =>
                publisher.get(`/push?${toAddress(number % audienceSize)}&message=${audience.nextMessage()}`),
              );
              free.push(publisher);
            },
          });
          const probing = pushAtPace({
            perSecond: 1000,
            ms: extent.publishMs,
            lanes: 1,
            push: () => timed(probes, () => probe?.get("/healthz") ?? Promise.resolve()),
          });
          const comingBack = pushAtPace({
            perSecond: returning,
            ms: extent.publishMs,
            lanes: 1,
            async push(number) {
              using client = new Audience();
              await client.open(server, 1, { toQuery: () => `${toAddress(number)}&since=all` });
            },
          });
          [count] = await within("the pushes", Promise.all([pushing, probing, comingBack]));
          await audience.untilArrived(count);
        });
      });
      return {
        ...toSample(cost, count),
        answer50: answers.quantile(0.5),
        answer99: answers.quantile(0.99),
        answer999: answers.quantile(0.999),
        healthz999: probes.quantile(0.999),
        healthzMax: probes.quantile(1),
      };
    });
}

async function fill(publisher: Publisher | undefined, count: number): Promise<void> {
  const audience = new Audience();
  for (let first = 0; first < count; first += batchSize)
    await publisher?.post(
      "/batch",
      "application/x-ndjson",
      toBatch(audience, (at) => (first + at) % 20),
    );
}

async function timed(latencies: Latencies, work: () => Promise<void>): Promise<void> {
  const began = performance.now();
  await work();
  latencies.record(performance.now() - began);
}

const returning = 5000;
const missed = 10;

/**
 * Everybody comes back at once, each with messages of its own that it missed, while one who never went away is sent a
 * message every few milliseconds.
 */
export function resumes(extent: Extent, targets: { caughtUp: Target; latest: Target }): Case {
  const figures: readonly FigureSpecification[] = [
    { value: "caughtUp", title: "all are caught up after", unit: "s", target: targets.caughtUp },
    { value: "p50", title: "who stayed: latency p50", unit: "ms" },
    { value: "latest", title: "who stayed: the latest", unit: "ms", target: targets.latest },
    ...shareFigures,
  ];
  return {
    title: `${returning} sessions that come back at once, each ${missed} messages behind`,
    rounds: extent.idleRounds,
    figures,
    ours: async (programs) =>
      withoutStage(async () => {
        await using server = await programs.start("memory", "anywhere");
        using stayed = new Audience();
        await stayed.open(server, 1, { toQuery: () => "userid=stays" });
        using back = new Audience();
        return await withPublishers(server, 1, async ([publisher]) => {
          if (publisher === undefined) throw new Error("there is no publisher");
          const since = await readPosition(server);
          await pushMissed(publisher, back);
          back.expectNone();
          let caughtUp = Number.NaN;
          const cost = await measureCost(server, async () => {
            const began = performance.now();
            const resuming = Promise.all([
              back.open(server, returning, {
                toQuery: (index) => `${toAddress(index)}&since=${since}`,
                atOnce: returning,
              }),
              back.untilArrived(returning * missed),
            ]);
            const over = new AbortController();
            const stopping = resuming.finally(() => over.abort());
            while (!over.signal.aborted) {
              await publisher.get(`/push?userid=stays&message=${stayed.nextMessage()}`);
              await Bun.sleep(1);
            }
            await stopping;
            caughtUp = (performance.now() - began) / 1000;
            await stayed.untilArrived(stayed.messages);
          });
          back.verify(() => missed);
          const { latencies } = stayed;
          return {
            ...toSample(cost, returning),
            caughtUp,
            p50: latencies.quantile(0.5),
            latest: latencies.quantile(1),
          };
        });
      }),
  };
}

async function readPosition({ url }: ServerProcess): Promise<string> {
  const answer = await fetch(`${url}/poll?wait=0`);
  const { id }: { id: string } = JSON.parse(await answer.text());
  return id;
}

async function pushMissed(publisher: Publisher, audience: Audience): Promise<void> {
  for (let round = 0; round < missed; round++)
    for (let first = 0; first < returning; first += batchSize)
      await publisher.post(
        "/batch",
        "application/x-ndjson",
        toBatch(audience, (at) => first + at),
      );
}
