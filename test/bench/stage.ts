/**
 * What the cases have in common: how much of everything, the stage that they play on, and the figures that they share.
 */
import type { ServerProcess } from "../support/process.ts";
import { Audience, type Cost, type Opening, type Transport } from "./load.ts";
import type { Contender, FigureSpecification, Sample, Target } from "./rounds.ts";

/** How much of everything. */
export interface Extent {
  readonly rounds: number;
  readonly starts: number;
  readonly idleRounds: number;
  readonly publishMs: number;
  readonly webhookRounds: number;
  readonly webhookMs: number;
}

export const fullExtent: Extent = {
  rounds: 7,
  starts: 15,
  idleRounds: 5,
  publishMs: 1500,
  webhookRounds: 3,
  webhookMs: 10_000,
};
export const quickExtent: Extent = {
  rounds: 3,
  starts: 5,
  idleRounds: 1,
  publishMs: 500,
  webhookRounds: 1,
  webhookMs: 2000,
};

export const audienceSize = 1000;

export function atMost(of: Target["of"], limit: number): Target {
  return { of, bound: "at most", limit };
}

export function atLeast(of: Target["of"], limit: number): Target {
  return { of, bound: "at least", limit };
}

export function withoutStage(sample: () => Promise<Sample>): Contender {
  return { sample, async [Symbol.asyncDispose]() {} };
}

export interface Stage extends Opening {
  readonly size?: number;
  readonly transport?: Transport;
}

/** One server and its audience for all rounds. */
export async function withAudience(
  starting: Promise<ServerProcess>,
  sample: (server: ServerProcess, audience: Audience) => Promise<Sample>,
  { size = audienceSize, transport, ...opening }: Stage = {},
): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await starting);
  const audience = stack.use(new Audience(transport));
  await audience.open(server, size, opening);
  const stage = stack.move();
  return {
    sample() {
      audience.expectNone();
      return sample(server, audience);
    },
    [Symbol.asyncDispose]: () => stage.disposeAsync(),
  };
}

export const latencyFigures: readonly FigureSpecification[] = [
  { value: "p50", title: "latency p50", unit: "ms" },
  { value: "p99", title: "latency p99", unit: "ms" },
  { value: "p999", title: "latency p99.9", unit: "ms" },
];

/** Whether the other figures can be trusted: see `toDoubts`. */
export const shareFigures: readonly FigureSpecification[] = [
  { value: "server", title: "server's use of its core", unit: "%" },
  { value: "load", title: "load's use of its core", unit: "%" },
  { value: "others", title: "lost to others", unit: "%" },
];

/** @param count of what there were so many */
export function toSample(cost: Cost, count: number, audience?: Audience): Sample {
  return {
    cpu: cost.cpu / count,
    rate: (count / cost.wallMs) * 1000,
    server: cost.serverShare * 100,
    load: cost.loadShare * 100,
    others: cost.waitShare * 100,
    ...(audience !== undefined && {
      p50: audience.latencies.quantile(0.5),
      p99: audience.latencies.quantile(0.99),
      p999: audience.latencies.quantile(0.999),
    }),
  };
}
