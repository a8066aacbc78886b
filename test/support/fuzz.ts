/**
 * How long things are tried at random, from which seed, and what is printed of it.
 *
 *   FUZZ_SECONDS=3600                  for so long, over all such tests; 5 against the source, 60 against the compiled file
 *   FUZZ_SEED=7                        from this seed, which makes the same runs in the same order
 *   FUZZ_SEED=7 FUZZ_PATH=31:2:0       the one run that failed, with `-t` and the name of its test
 *   TEST_BINARY=dist/server-push       against the compiled file, once that has been built
 *
 *   TEST_BINARY=dist/server-push FUZZ_SECONDS=3600 npm test -- test/hardening/fuzz
 *
 * The runs of a property go in short series, each with a seed of its own: a failure names the seed of its series, so that it is found
 * again within seconds also when it came after hours.
 */
import { test } from "bun:test";
import fc from "fast-check";
import type { FuzzedServer, Witness } from "./fuzz-server.ts";
import { binary } from "./server.ts";

const { FUZZ_SECONDS: wantedSeconds, FUZZ_SEED: wantedSeed, FUZZ_PATH: path } = process.env;

const seconds = Number(wantedSeconds ?? (binary === undefined ? 5 : 60));
const firstSeed = Number(wantedSeed ?? Math.floor(Math.random() * 2 ** 31));

/** Whether there is time for what waits for a timeout of the server. */
export const isPatient = seconds >= 30;

const runsInSeries = 100;
/** A failure is made smaller for so long; what it is then is small enough. */
const shrinkMs = 20_000;

export interface Fuzzing<Value> {
  readonly values: fc.Arbitrary<Value>;
  /** Fails when the value shows a defect. */
  readonly check: (value: Value) => Promise<void>;
  /** Whether that has gone which is tried, so that anything more would fail. */
  readonly isOver?: () => Promise<boolean>;
}

export interface ServerFuzzing<Value> {
  readonly server: FuzzedServer;
  readonly values: fc.Arbitrary<Value>;
  readonly check: (value: Value, witness: Witness) => Promise<void>;
}

/**
 * A test that tries values for its share of the time, and one value at least.
 *
 * @param share   of the whole time, of which all such tests together take not more than 1
 * @param prepare what is tried, which may need what a hook has made
 */
export function fuzzTest<Value>(name: string, share: number, prepare: () => Fuzzing<Value>): void {
  test(name, () => fuzz(name, share, prepare()), share * seconds * 1000 + shrinkMs + 60_000);
}

/** The same with a server, which has to be well after each run. */
export function fuzzServerTest<Value>(
  name: string,
  share: number,
  prepare: () => ServerFuzzing<Value>,
): void {
  const run = async () => {
    const { server, values, check } = prepare();
    await using witness = await server.invite();
    await fuzz(name, share, {
      values,
      isOver: () => server.isGone(),
      async check(value) {
        try {
          await check(value, witness);
          await witness.settle();
        } catch (error) {
          throw await server.explain(error);
        }
      },
    });
  };
  test(name, run, share * seconds * 1000 + shrinkMs + 60_000);
}

async function fuzz<Value>(
  name: string,
  share: number,
  { values, check, isOver }: Fuzzing<Value>,
): Promise<void> {
  const began = performance.now();
  const end = began + share * seconds * 1000;
  let deadline = end;
  let runs = 0;
  let hasFailed = false;
  const property = fc.asyncProperty(values, async (value) => {
    // fast-check's own limit would leave a run behind that goes on.
    if ((performance.now() > deadline && runs > 0) || (hasFailed && (await isOver?.()) === true)) return;
    runs++;
    try {
      await check(value);
    } catch (error) {
      if (!hasFailed) deadline = performance.now() + shrinkMs;
      hasFailed = true;
      throw error;
    }
  });
  const most = path === undefined ? Number.POSITIVE_INFINITY : 1;
  for (let series = 0; series === 0 || (series < most && performance.now() < end); series++) {
    const outcome = await fc.check(property, {
      seed: (firstSeed + series) | 0,
      numRuns: runsInSeries,
      ...(path !== undefined && { path }),
    });
    if (!outcome.failed) continue;
    throw new Error(
      `${await fc.asyncDefaultReportMessage(outcome)}\n` +
        `To try it again: FUZZ_SEED=${outcome.seed} FUZZ_PATH=${outcome.counterexamplePath} and -t "${name}"`,
      { cause: outcome.errorInstance },
    );
  }
  const took = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`fuzz: ${runs} runs in ${took} s, FUZZ_SEED=${firstSeed}: ${name}\n`);
}

/** Waits for it, and fails when it takes longer. */
export async function within<Value>(ms: number, what: string, work: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not in ${ms} ms: ${what}`)), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
