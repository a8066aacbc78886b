/**
 * Whatever publishers, clients and operators do, in whatever order and at once: every client gets what it must have, in order, once,
 * on every transport, or is told that this cannot be proven. See model.ts for what it must have.
 *
 * Each run is a random sequence of commands on a new server. What differs between two runs of the same seed is only what happens in
 * which order within one command that does several things at once.
 *
 *   MODEL_RUNS=2000                                     so many runs of each kind of server, and as long as that takes
 *   MODEL_SEED=7                                        the same runs
 *   MODEL_SEED=7 MODEL_PATH=3:1:0 MODEL_REPLAY=BAC:F    the one that failed, made as small as it could be
 */
import { describe, test } from "bun:test";
import fc from "fast-check";
import { commands } from "./commands.ts";
import { Clock, type HostOptions, openHost } from "./host.ts";
import { type Limits, Model } from "./model.ts";
import { Rig } from "./rig.ts";

const { MODEL_RUNS: wantedRuns, MODEL_SEED: seed, MODEL_PATH: path, MODEL_REPLAY: replayPath } = process.env;

/** How long one kind of server is run without MODEL_RUNS: then it is well whatever has failed to fail. */
const timeMs = 11_000;

const limits: fc.Arbitrary<Limits> = fc.record({
  time: fc.constantFrom(3000, 600_000),
  bytes: fc.constantFrom(2000, 50_000, 64 * 2 ** 20),
  count: fc.constantFrom(0, 4, 30, 100_000, 100_000),
});

interface Kind extends Omit<HostOptions, "limits"> {
  readonly name: string;
  readonly runs: number;
  readonly most: number;
  readonly restarts: number;
}

const kinds: readonly Kind[] = [
  { name: "in memory", isDurable: false, isProcess: false, runs: 100, most: 40, restarts: 4 },
  { name: "in a file", isDurable: true, isProcess: false, runs: 60, most: 40, restarts: 4 },
  { name: "in a file, of a process", isDurable: true, isProcess: true, runs: 25, most: 20, restarts: 20 },
];

describe.each(kinds)("with the journal $name", ({ runs, most, restarts, ...options }) => {
  test(
    "every client has exactly what it must have",
    async () => {
      const deadline = wantedRuns === undefined ? Date.now() + timeMs : Number.POSITIVE_INFINITY;
      let made = 0;
      const property = fc.asyncProperty(
        limits,
        commands({ most, restarts, replayPath }),
        async (given, steps) => {
          // fast-check's own limit would leave a run behind that goes on.
          if (Date.now() > deadline) return;
          made++;
          using clock = options.isProcess ? undefined : new Clock();
          const host = await openHost({ limits: given, ...options });
          await using rig = new Rig(host, new Model(given, () => performance.now()), clock);
          await fc.asyncModelRun(() => ({ model: rig, real: rig }), steps);
        },
      );
      await fc.assert(property, {
        numRuns: Number(wantedRuns ?? runs),
        ...(seed !== undefined && { seed: Number(seed) }),
        ...(path !== undefined && { path }),
      });
      process.stdout.write(`${made} random runs of up to ${most} commands\n`);
    },
    wantedRuns === undefined ? 60_000 : 24 * 3_600_000,
  );
});
