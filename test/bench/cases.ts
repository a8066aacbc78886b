/**
 * The cases: what is measured, against what, and what each figure is held to.
 */
import { batches, pauses, paced, resumes } from "./journal.ts";
import { createCredentials, type Credentials, none } from "./credentials.ts";
import { Audience, measureCost, publish, toAddress, type Transport } from "./load.ts";
import { readMemory } from "./measure.ts";
import type { Program } from "./programs.ts";
import type { Case, Open, Target } from "./rounds.ts";
import {
  atLeast,
  atMost,
  audienceSize,
  type Extent,
  latencyFigures,
  shareFigures,
  toSample,
  withAudience,
  withoutStage,
} from "./stage.ts";
import { received } from "./webhook.ts";

/** So many that most of it is done by code that has been compiled, as in a server that has run for a while. */
const handshakesInRound = 10_000;
const idleSessions = 10_000;
/** These are there before idle sessions are weighed: what the first ones cost once is not what a session costs. */
const firstSessions = 200;
/**
 * How long nothing happens before sessions are weighed, which is what makes them idle. A stream leaves more behind than a WebSocket,
 * and Bun collects what is left of quiet processes about every 30 seconds.
 */
const idleMs: Readonly<Record<Transport, number>> = { WebSocket: 1500, "Server-Sent Events": 36_000 };
const freshMs = 1500;

const mebibyte = 1024 * 1024;

export function createCases(extent: Extent): readonly Case[] {
  return [
    starts(extent),
    fanOut(extent, 1, "bare", { cpu: atMost("ratio", 1.15) }),
    fanOut(extent, 8, "bare", { cpu: atMost("ratio", 1.2) }),
    pushes(extent, 32, "bare", { rate: atLeast("ratio", 0.8), cpu: atMost("ratio", 1.2) }),
    pushesWithKey(extent, 32, { cpu: atMost("ratio", 1.1) }),
    handshakes(extent, "memory", none, atMost("ratio", 1.6)),
    handshakes(extent, "locked", createCredentials(handshakesInRound), atMost("ratio", 2.5)),
    idle(extent, "WebSocket", "bare", atMost("difference", 1536)),
    fanOut(extent, 1, "unkept", { cpu: atMost("ratio", 1.2) }),
    fanOut(extent, 8, "unkept", { cpu: atMost("ratio", 1.2) }),
    pushes(extent, 32, "unkept", { cpu: atMost("ratio", 1.2) }),
    streams(extent, 8, atLeast("ours", 100_000)),
    idle(extent, "Server-Sent Events", "memory", atMost("ours", 6 * 1024)),
    pushesToFile(extent, 128, atLeast("ours", 10_000)),
    batches(extent, atLeast("ours", 100_000)),
    paced(extent, atMost("ours", 15)),
    pauses(extent, atMost("ours", 20)),
    resumes(extent, { caughtUp: atMost("ours", 3), latest: atMost("ours", 250) }),
    ...received(extent, { rate: atLeast("ours", 9500), p99: atMost("ratio", 1.5) }),
  ];
}

/** What a figure of a case is held to, by the name of its value. */
type Targets = { readonly [value in "cpu" | "rate"]?: Target };

const withTarget = (targets: Targets, value: keyof Targets) => {
  const target = targets[value];
  return target === undefined ? {} : { target };
};

const names: Readonly<Record<Program, string>> = {
  bare: "bare Bun",
  memory: "the journal in memory",
  file: "the journal in a file",
  unkept: "retention off",
  locked: "an API key",
  backEnd: "a back end",
};

/** Two servers at the same work. */
function versus(baseline: Program, ours: Program, open: (program: Program) => Open) {
  return { ours: open(ours), baseline: { name: names[baseline], open: open(baseline) } };
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
    ...versus(
      "bare",
      "memory",
      (program) => async (programs) =>
        withoutStage(async () => {
          const began = performance.now();
          await using server = await programs.start(program, "anywhere");
          return { start: performance.now() - began, memory: readMemory(server.pid) / mebibyte };
        }),
    ),
  };
}

/** Everything to everyone: a message is parsed once and delivered a thousand times. */
function fanOut(extent: Extent, publishers: number, baseline: Program, targets: Targets): Case {
  return {
    title: `${publishers === 1 ? "1 publisher" : `${publishers} publishers`}, GET /pushtoall to ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: fanOutFigures(targets),
    ...versus(baseline, "memory", (program) => toFanOut(extent, publishers, program, "WebSocket")),
  };
}

/** The same to streams of events, against WebSockets of the same server. */
function streams(extent: Extent, publishers: number, rate: Target): Case {
  return {
    title: `${publishers} publishers, GET /pushtoall to ${audienceSize} streams of events`,
    rounds: extent.rounds,
    figures: fanOutFigures({ rate }),
    ours: toFanOut(extent, publishers, "memory", "Server-Sent Events"),
    baseline: { name: "WebSockets", open: toFanOut(extent, publishers, "memory", "WebSocket") },
  };
}

const fanOutFigures = (targets: Targets) => [
  { value: "cpu", title: "server CPU per delivery", unit: "µs", ...withTarget(targets, "cpu") },
  { value: "rate", title: "deliveries", unit: "1/s", ...withTarget(targets, "rate") },
  ...latencyFigures,
  ...shareFigures,
];

function toFanOut(extent: Extent, publishers: number, program: Program, transport: Transport): Open {
  return (programs) =>
    withAudience(
      programs.start(program, "on its core"),
      async (server, audience) => {
        const cost = await publish(server, {
          publishers,
          durationMs: extent.publishMs,
          nextPath: () => `/pushtoall?message=${audience.nextMessage()}`,
          untilArrived: () => audience.untilArrived(audience.messages * audienceSize),
        });
        audience.verify(() => audience.messages);
        return toSample(cost, audience.messages * audienceSize, audience);
      },
      { transport },
    );
}

/** One to one: a message is delivered once, so what is measured is the push itself. */
function pushes(extent: Extent, publishers: number, baseline: Program, targets: Targets): Case {
  return {
    title: `${publishers} publishers, GET /push to one of ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: pushFigures(targets),
    ...versus(baseline, "memory", (program) => toPushes(extent, publishers, program, "on its core")),
  };
}

/** The same with the key that a push then needs, against a server that asks for none and is sent none. */
function pushesWithKey(extent: Extent, publishers: number, targets: Targets): Case {
  return {
    title: `--api-key: ${publishers} publishers, GET /push to one of ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: pushFigures(targets),
    ours: toPushes(extent, publishers, "locked", "on its core", createCredentials(audienceSize)),
    baseline: { name: "no key", open: toPushes(extent, publishers, "memory", "on its core") },
  };
}

/** The same, each answered after it is on disk. */
function pushesToFile(extent: Extent, publishers: number, rate: Target): Case {
  return {
    title: `--data: ${publishers} publishers, GET /push to one of ${audienceSize} sessions`,
    rounds: extent.rounds,
    figures: pushFigures({ rate }),
    ...versus("memory", "file", (program) => toPushes(extent, publishers, program, "anywhere")),
  };
}

const pushFigures = (targets: Targets) => [
  { value: "rate", title: "pushes", unit: "1/s", ...withTarget(targets, "rate") },
  { value: "cpu", title: "server CPU per push", unit: "µs", ...withTarget(targets, "cpu") },
  ...latencyFigures,
  ...shareFigures,
];

function toPushes(
  extent: Extent,
  publishers: number,
  program: Program,
  where: "on its core" | "anywhere",
  { ofPublisher, ofSession }: Credentials = none,
): Open {
  return (programs) =>
    withAudience(
      programs.start(program, where),
      async (server, audience) => {
        const expected = new Uint32Array(audienceSize);
        const cost = await publish(server, {
          publishers,
          durationMs: extent.publishMs,
          headers: ofPublisher,
          nextPath: () => {
            const index = Math.floor(Math.random() * audienceSize);
            expected[index] = (expected[index] ?? 0) + 1;
            return `/push?${toAddress(index)}&message=${audience.nextMessage()}`;
          },
          untilArrived: () => audience.untilArrived(audience.messages),
        });
        audience.verify((index) => expected[index] ?? 0);
        return toSample(cost, audience.messages, audience);
      },
      { toHeaders: ofSession },
    );
}

/** Both are sent the same credentials; the bare server looks at none. */
function handshakes(
  extent: Extent,
  ours: "memory" | "locked",
  { ofSession }: Credentials,
  target: Target,
): Case {
  return {
    title: `handshakes, with userid and compid${ours === "locked" ? ", and a token of HS256" : ""}`,
    rounds: extent.rounds,
    figures: [{ value: "cpu", title: "server CPU each", unit: "µs", target }, ...shareFigures],
    ...versus("bare", ours, (program) => async (programs) => {
      const server = await programs.start(program, "on its core");
      return {
        async sample() {
          using audience = new Audience();
          return toSample(
            await measureCost(server, () =>
              audience.open(server, handshakesInRound, { toHeaders: ofSession }),
            ),
            handshakesInRound,
          );
        },
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    }),
  };
}

/** Each sample is a process of its own: memory that sessions once had would be taken again by the next ones. */
function idle(extent: Extent, transport: Transport, baseline: "bare" | "memory", target: Target): Case {
  const open =
    (program: Program, kind: Transport): Open =>
    async (programs) =>
      withoutStage(async () => {
        await using server = await programs.start(program, "on its core");
        using audience = new Audience(kind);
        await audience.open(server, firstSessions);
        await Bun.sleep(idleMs[kind]);
        const before = readMemory(server.pid);
        await audience.open(server, idleSessions);
        const weigh = () => (readMemory(server.pid) - before) / idleSessions;
        await Bun.sleep(freshMs);
        const fresh = weigh();
        await Bun.sleep(idleMs[kind] - freshMs);
        return { memory: weigh(), fresh };
      });
  return {
    title: `${idleSessions} idle sessions over ${transport}, with userid and compid`,
    // A round with streams takes more than a minute.
    rounds: transport === "WebSocket" ? extent.idleRounds : Math.min(2, extent.idleRounds),
    figures: [
      { value: "memory", title: "memory per session", unit: "B", target },
      { value: "fresh", title: "the same, 1.5 s after the last handshake", unit: "B" },
    ],
    ours: open("memory", transport),
    baseline: {
      name: baseline === "bare" ? names.bare : "WebSockets",
      open: open(baseline, "WebSocket"),
    },
  };
}
