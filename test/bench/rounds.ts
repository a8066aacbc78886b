/**
 * How two servers are compared on a machine that is never quite still: by turns, A B A B …, so that what disturbs one
 * disturbs the other too. Each round gives a sample of each; the ratio is taken within a round, and of all rounds the median.
 */
import { median } from "./measure.ts";
import type { Programs } from "./programs.ts";

/** Of everything there is one of what ours is held against, and one of ours. */
export interface Pair<Value> {
  readonly baseline: Value;
  readonly ours: Value;
}

/** The values of one round, by name. */
export type Sample = Readonly<Record<string, number>>;

export interface Case {
  readonly title: string;
  /** How many rounds count. */
  readonly rounds: number;
  readonly figures: readonly FigureSpecification[];
  readonly ours: Open;
  /** What ours is held against, where there is such a thing. */
  readonly baseline?: { readonly name: string; readonly open: Open };
}

/** Sets the stage. */
export type Open = (programs: Programs) => Promise<Contender>;

export interface Contender extends AsyncDisposable {
  sample(): Promise<Sample>;
}

/** What a figure is held to. */
export interface Target {
  /** Ours itself, ours divided by the baseline's, or ours less the baseline's. */
  readonly of: "ours" | "ratio" | "difference";
  readonly bound: "at most" | "at least";
  readonly limit: number;
}

export interface FigureSpecification {
  /** The name of its value in the samples. */
  readonly value: string;
  readonly title: string;
  readonly unit: string;
  readonly target?: Target;
}

export interface Figure extends FigureSpecification {
  /** Medians over the rounds; without a baseline, those that need one are NaN. */
  readonly baseline: number;
  readonly ours: number;
  readonly ratio: number;
  readonly difference: number;
  /** Whether the target is met, where there is one. */
  readonly met?: boolean;
  readonly rounds: Pair<readonly number[]>;
}

/** Measures both by turns. One round goes before those that count, for what happens once only. */
export async function alternate(programs: Programs, contest: Case): Promise<readonly Figure[]> {
  await using baseline = await contest.baseline?.open(programs);
  await using ours = await contest.ours(programs);
  const samples: Pair<Sample>[] = [];
  for (let round = 0; round <= contest.rounds; round++)
    samples.push({ baseline: (await baseline?.sample()) ?? {}, ours: await ours.sample() });
  return contest.figures.map((figure) => toFigure(figure, samples.slice(1)));
}

function toFigure(specification: FigureSpecification, samples: readonly Pair<Sample>[]): Figure {
  const valuesOf = (program: keyof Pair<unknown>) =>
    samples.map((sample) => sample[program][specification.value] ?? Number.NaN);
  const [baseline, ours] = [valuesOf("baseline"), valuesOf("ours")];
  const pairwise = (join: (ours: number, baseline: number) => number) =>
    median(ours.map((value, round) => join(value, baseline[round] ?? Number.NaN)));
  const medians = {
    baseline: median(baseline),
    ours: median(ours),
    ratio: pairwise((one, other) => one / other),
    difference: pairwise((one, other) => one - other),
  };
  const { target } = specification;
  return {
    ...specification,
    ...medians,
    ...(target !== undefined && { met: isMet(target, medians[target.of]) }),
    rounds: { baseline, ours },
  };
}

function isMet({ bound, limit }: Target, value: number): boolean {
  return bound === "at most" ? value <= limit : value >= limit;
}
