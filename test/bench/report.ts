/**
 * What was measured, for a reader and for a program.
 */
import { cpus, release } from "node:os";
import type { Figure, Pair, Target } from "./rounds.ts";

export interface CaseResult {
  readonly title: string;
  /** The name of what ours is held against. */
  readonly baseline?: string;
  readonly figures: readonly Figure[];
}

const widths = { title: 32, baseline: 13, ours: 13, ratio: 8, target: 24 };

/** The first line of the table. */
export function tableHead(): string {
  return toRow({ title: "", baseline: "baseline", ours: "server-push", ratio: "ratio", target: "  target" });
}

/** A case's part of the table. */
export function tablePart({ title, baseline, figures }: CaseResult): string {
  const doubts = toDoubts(figures);
  const rows = figures.map((figure) =>
    toRow({
      title: `  ${figure.title}`,
      baseline: toText(figure.baseline, figure.unit),
      ours: toText(figure.ours, figure.unit),
      // Shares say whether a figure can be trusted, not which server is better.
      ratio: figure.unit === "%" || baseline === undefined ? "" : figure.ratio.toFixed(2),
      target: toVerdict(figure, doubts.length > 0),
    }),
  );
  const against = baseline === undefined ? "" : `, against ${baseline}`;
  return `\n${title}${against}\n${rows.join("")}${doubts.map((doubt) => `  ${doubt}\n`).join("")}`;
}

/** What a reader has to know before believing the figures of a case. */
function toDoubts(figures: readonly Figure[]): string[] {
  const isShare = (name: string, program: keyof Pair<unknown>, above: number) =>
    figures.some((figure) => figure.value === name && figure[program] > above);
  const programs = ["baseline", "ours"] as const;
  const doubts: string[] = [];
  if (programs.some((program) => isShare("others", program, 10)))
    doubts.push("DISTURBED: other processes had much of the server's core; run it again on a quiet machine");
  const hasRate = figures.some(({ value }) => value === "rate");
  if (hasRate && programs.some((program) => isShare("load", program, 95) && !isShare("server", program, 90)))
    doubts.push("HELD BACK: the load had no more to give, a server could do more than this");
  return doubts;
}

/** How many targets are met, one sentence. */
export function summary(results: readonly CaseResult[]): string {
  const held = results.flatMap(({ figures }) => figures).filter(({ met }) => met !== undefined);
  const missed = held.filter(({ met }) => met === false);
  return `\n${held.length - missed.length} of ${held.length} targets met\n`;
}

export function hasMissed(results: readonly CaseResult[]): boolean {
  return results.some(({ figures }) => figures.some(({ met }) => met === false));
}

/** Everything, for a file: each round of each figure included. */
export function toJson(
  results: readonly CaseResult[],
  circumstances: Readonly<Record<string, unknown>>,
): string {
  return `${JSON.stringify(describe(results, circumstances), null, 2)}\n`;
}

/** The same in one line, for a terminal: rounded, and without the rounds. */
export function toJsonLine(
  results: readonly CaseResult[],
  circumstances: Readonly<Record<string, unknown>>,
): string {
  return `${JSON.stringify(describe(results, circumstances), shorten)}\n`;
}

function shorten(key: string, value: unknown): unknown {
  if (key === "rounds") return undefined;
  return typeof value === "number" ? Number(value.toPrecision(4)) : value;
}

function describe(results: readonly CaseResult[], circumstances: Readonly<Record<string, unknown>>) {
  return {
    time: new Date().toISOString(),
    ...circumstances,
    bun: Bun.version,
    kernel: release(),
    cpus: cpus().map(({ model }) => model),
    cases: results,
  };
}

function toRow(cells: Readonly<Record<keyof typeof widths, string>>): string {
  const { title, baseline, ours, ratio, target } = cells;
  const numbers = [
    baseline.padStart(widths.baseline),
    ours.padStart(widths.ours),
    ratio.padStart(widths.ratio),
  ];
  return `${`${title.padEnd(widths.title)}${numbers.join("")}${target}`.trimEnd()}\n`;
}

function toText(value: number, unit: string): string {
  if (Number.isNaN(value)) return "";
  const digits = value >= 1000 ? 0 : value >= 100 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

function toVerdict({ target, met, unit, difference }: Figure, inDoubt: boolean): string {
  if (target === undefined) return "";
  const verdict = `  ${met ? "met" : "MISSED"}${inDoubt ? ", in doubt" : ""}: ${toGoal(target, unit)}`;
  if (target.of !== "difference") return verdict;
  return `${verdict}, is ${toText(Math.abs(difference), unit)} ${difference < 0 ? "less" : "more"}`;
}

function toGoal({ of, bound, limit }: Target, unit: string): string {
  const sign = bound === "at most" ? "≤" : "≥";
  switch (of) {
    case "ratio":
      return `ratio ${sign} ${limit}`;
    case "difference":
      return `${sign} baseline + ${limit} ${unit}`;
    case "ours":
      return `${sign} ${limit} ${unit}`;
  }
}
