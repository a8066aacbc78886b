/**
 * How two servers are compared on a machine that is never quite still: by turns, A B A B …, so that what disturbs one
 * disturbs the other too. Each round gives a sample of each; the ratio is taken within a round, and of all rounds the median.
 */
import { median } from "./measure.ts";
import type { Pair, Programs } from "./programs.ts";

/** The values of one round, by name. */
export type Sample = Readonly<Record<string, number>>;

export interface Case {
  readonly title: string;
  /** How many rounds count. */
  readonly rounds: number;
  readonly figures: readonly FigureSpecification[];
  /** Sets the stage for the one or the other. */
  open(programs: Programs, program: keyof Pair<unknown>): Promise<Contender>;
}

export interface Contender extends AsyncDisposable {
  sample(): Promise<Sample>;
}

/** What a figure is held to. */
export interface Target {
  /** Ours itself, ours divided by the bare server's, or ours less the bare server's. */
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
  /** Medians over the rounds. */
  readonly bare: number;
  readonly ours: number;
  readonly ratio: number;
  readonly difference: number;
  /** Whether the target is met, where there is one. */
  readonly met?: boolean;
  readonly rounds: Pair<readonly number[]>;
}

/** Measures both by turns. One round goes before those that count, for what happens once only. */
export async function alternate(programs: Programs, contest: Case): Promise<readonly Figure[]> {
  await using bare = await contest.open(programs, "bare");
  await using ours = await contest.open(programs, "ours");
  const samples: Pair<Sample>[] = [];
  for (let round = 0; round <= contest.rounds; round++)
    samples.push({ bare: await bare.sample(), ours: await ours.sample() });
  return contest.figures.map((figure) => toFigure(figure, samples.slice(1)));
}

function toFigure(specification: FigureSpecification, samples: readonly Pair<Sample>[]): Figure {
  const valuesOf = (program: keyof Pair<unknown>) =>
    samples.map((sample) => sample[program][specification.value] ?? Number.NaN);
  const [bare, ours] = [valuesOf("bare"), valuesOf("ours")];
  const pairwise = (join: (ours: number, bare: number) => number) =>
    median(ours.map((value, round) => join(value, bare[round] ?? Number.NaN)));
  const medians = {
    bare: median(bare),
    ours: median(ours),
    ratio: pairwise((one, other) => one / other),
    difference: pairwise((one, other) => one - other),
  };
  const { target } = specification;
  return {
    ...specification,
    ...medians,
    ...(target !== undefined && { met: isMet(target, medians[target.of]) }),
    rounds: { bare, ours },
  };
}

function isMet({ bound, limit }: Target, value: number): boolean {
  return bound === "at most" ? value <= limit : value >= limit;
}
