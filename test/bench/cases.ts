/**
 * The cases: what is measured, and what each figure is held to.
 */
import type { ServerProcess } from "../support/process.ts";
import { Audience, type Cost, measureCost, publish, toAddress } from "./load.ts";
import { readMemory } from "./measure.ts";
import type { Case, Contender, FigureSpecification, Sample, Target } from "./rounds.ts";

/** How much of everything. */
export interface Extent {
  readonly rounds: number;
  readonly starts: number;
  readonly idleRounds: number;
  readonly publishMs: number;
}

export const fullExtent: Extent = { rounds: 7, starts: 15, idleRounds: 5, publishMs: 1500 };
export const quickExtent: Extent = { rounds: 3, starts: 5, idleRounds: 1, publishMs: 500 };

const audienceSize = 1000;
const handshakesInRound = 2000;
const idleSessions = 10_000;
/** These are there before idle sessions are weighed: what the first ones cost once is not what a session costs. */
const firstSessions = 200;
/** After this long without work, what is left in memory is what stays. */
const settleMs = 1500;

const mebibyte = 1024 * 1024;

export function createCases(extent: Extent): readonly Case[] {
  return [
    starts(extent),
    fanOut(extent, 1, atMost("ratio", 1.15)),
    fanOut(extent, 8, atMost("ratio", 1.3)),
    pushes(extent, 32, { of: "ratio", bound: "at least", limit: 0.8 }),
    handshakes(extent, atMost("ratio", 1.6)),
    idle(extent, atMost("difference", 1536)),
  ];
}

function atMost(of: Target["of"], limit: number): Target {
  return { of, bound: "at most", limit };
}

/** Each sample is a process of its own, on all cores, as everybody starts it. */
function starts(extent: Extent): Case {
  return {
    title: "start of the compiled file",
    rounds: extent.starts,
    figures: [
      { value: "start", title: "start to listening", unit: "ms", target: atMost("ours", 60) },
      { value: "memory", title: "memory then", unit: "MiB", target: atMost("ours", 70) },
    ],
    open: async (programs, program) =>
      withoutStage(async () => {
        const began = performance.now();
        await using server = await programs.start(program, "anywhere");
        return { start: performance.now() - began, memory: readMemory(server.pid) / mebibyte };
      }),
  };
}

/** Everything to everyone: a message is parsed once and delivered a thousand times. */
function fanOut(extent: Extent, publishers: number, target: Target): Case {
  return {
    title: `${publishers === 1 ? "1 publisher" : `${publishers} publishers`}, GET /pushtoall to ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: [
      { value: "cpu", title: "server CPU per delivery", unit: "µs", target },
      { value: "rate", title: "deliveries", unit: "1/s" },
      ...latencyFigures,
      ...shareFigures,
    ],
    open: (programs, program) =>
      withAudience(programs.start(program, "on its core"), async (server, audience) => {
        const cost = await publish(server, {
          publishers,
          durationMs: extent.publishMs,
          nextPath: () => `/pushtoall?message=${audience.nextMessage()}`,
          untilArrived: () => audience.untilArrived(audience.messages * audienceSize),
        });
        audience.verify(() => audience.messages);
        return toSample(cost, audience.messages * audienceSize, audience);
      }),
  };
}

/** One to one: a message is delivered once, so what is measured is the push itself. */
function pushes(extent: Extent, publishers: number, target: Target): Case {
  return {
    title: `${publishers} publishers, GET /push to one of ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: [
      { value: "rate", title: "pushes", unit: "1/s", target },
      { value: "cpu", title: "server CPU per push", unit: "µs" },
      ...latencyFigures,
      ...shareFigures,
    ],
    open: (programs, program) =>
      withAudience(programs.start(program, "on its core"), async (server, audience) => {
        const expected = new Uint32Array(audienceSize);
        const cost = await publish(server, {
          publishers,
          durationMs: extent.publishMs,
          nextPath: () => {
            const index = Math.floor(Math.random() * audienceSize);
            expected[index] = (expected[index] ?? 0) + 1;
            return `/push?${toAddress(index)}&message=${audience.nextMessage()}`;
          },
          untilArrived: () => audience.untilArrived(audience.messages),
        });
        audience.verify((index) => expected[index] ?? 0);
        return toSample(cost, audience.messages, audience);
      }),
  };
}

function handshakes(extent: Extent, target: Target): Case {
  return {
    title: "handshakes, with userid and compid",
    rounds: extent.rounds,
    figures: [{ value: "cpu", title: "server CPU each", unit: "µs", target }, ...shareFigures],
    async open(programs, program) {
      const server = await programs.start(program, "on its core");
      return {
        async sample() {
          using audience = new Audience();
          return toSample(
            await measureCost(server, () => audience.open(server, handshakesInRound)),
            handshakesInRound,
          );
        },
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  };
}

/** Each sample is a process of its own: memory that sessions once had would be taken again by the next ones. */
function idle(extent: Extent, target: Target): Case {
  return {
    title: `${idleSessions} idle sessions, with userid and compid`,
    rounds: extent.idleRounds,
    figures: [{ value: "memory", title: "memory per session", unit: "B", target }],
    open: async (programs, program) =>
      withoutStage(async () => {
        await using server = await programs.start(program, "on its core");
        using audience = new Audience();
        await audience.open(server, firstSessions);
        await Bun.sleep(settleMs);
        const before = readMemory(server.pid);
        await audience.open(server, idleSessions);
        await Bun.sleep(settleMs);
        return { memory: (readMemory(server.pid) - before) / idleSessions };
      }),
  };
}

function withoutStage(sample: () => Promise<Sample>): Contender {
  return { sample, async [Symbol.asyncDispose]() {} };
}

/** One server and its audience for all rounds. */
async function withAudience(
  starting: Promise<ServerProcess>,
  sample: (server: ServerProcess, audience: Audience) => Promise<Sample>,
): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await starting);
  const audience = stack.use(new Audience());
  await audience.open(server, audienceSize);
  const stage = stack.move();
  return {
    sample() {
      audience.expectNone();
      return sample(server, audience);
    },
    [Symbol.asyncDispose]: () => stage.disposeAsync(),
  };
}

const latencyFigures: readonly FigureSpecification[] = [
  { value: "p50", title: "latency p50", unit: "ms" },
  { value: "p99", title: "latency p99", unit: "ms" },
  { value: "p999", title: "latency p99.9", unit: "ms" },
];

/** Whether the other figures can be trusted: see `toDoubts`. */
const shareFigures: readonly FigureSpecification[] = [
  { value: "server", title: "server's use of its core", unit: "%" },
  { value: "load", title: "load's use of its core", unit: "%" },
  { value: "others", title: "lost to others", unit: "%" },
];

/** @param count of what there were so many */
function toSample(cost: Cost, count: number, audience?: Audience): Sample {
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
