/**
 * What server-push costs over the bare platform: the compiled file against a bare Bun server (bare.ts), in one run; and what
 * its journal costs: against itself with retention off.
 *
 *   npm run bench                          all of it, in about ten minutes
 *   npm run bench -- --quick               fewer and shorter rounds, in about three: for a look, not for a decision
 *   npm run bench -- --only data           only the cases with this in their title
 *   npm run bench -- --json FILE           the figures, with every round, into FILE; without it their medians are the last line
 *   npm run bench -- --strict              exit status 1 also when a target is missed
 *
 * Exit status 1 when it could not measure: above all when a frame was missing, or one too many, as the figures of a
 * server that loses messages mean nothing. For Linux, as it reads proc(5).
 *
 *   cases.ts → rounds.ts → load.ts → sockets.ts        what; by turns; who pushes and listens; over which wire
 *   journal.ts  webhook.ts  stage.ts                   more of what; what all of that has in common
 *   credentials.ts                                     what is brought to a server that asks for a key and for tokens
 *   programs.ts  cores.ts  measure.ts  report.ts       what runs; where; what it used; what is said of it
 */
import { parseArgs } from "node:util";
import { createCases } from "./cases.ts";
import { divideCores } from "./cores.ts";
import { Programs } from "./programs.ts";
import { type CaseResult, hasMissed, summary, tableHead, tablePart, toJson, toJsonLine } from "./report.ts";
import { alternate } from "./rounds.ts";
import { fullExtent, quickExtent } from "./stage.ts";

const help = `Measures the compiled server against a bare Bun server, and against itself without a journal.

  npm run bench -- [--quick] [--only TEXT] [--strict] [--json FILE]

  --quick      fewer and shorter rounds
  --only TEXT  only the cases with TEXT in their title
  --strict     exit status 1 when a target is missed
  --json FILE  write the figures of every round to FILE; without it, their medians are the last line of the output
  --help       print this

Exit status: 0 measured, 1 not measured (a frame was lost, a server did not start, …), 2 wrong arguments.
`;

interface Arguments {
  readonly quick: boolean;
  readonly strict: boolean;
  readonly help: boolean;
  readonly only: string;
  readonly json?: string;
}

process.exitCode = await main(Bun.argv.slice(2));

async function main(argv: string[]): Promise<number> {
  const given = readArguments(argv);
  if (typeof given === "string") return fail(2, given);
  if (given.help) {
    process.stdout.write(help);
    return 0;
  }
  if (process.platform !== "linux") return fail(1, "it reads Linux's /proc, which is not here");
  try {
    const missed = await measure(given);
    return given.strict && missed ? 1 : 0;
  } catch (error) {
    return fail(1, `NOT MEASURED: ${error instanceof Error ? error.message : error}`);
  }
}

/** Whether a target was missed. */
async function measure({ quick, only, json }: Arguments): Promise<boolean> {
  const cores = divideCores();
  await using programs = await Programs.compile(cores);
  process.once("SIGINT", () => programs.stop());
  process.once("SIGTERM", () => programs.stop());
  process.stdout.write(`${cores.note}\n\n${tableHead()}`);
  const results: CaseResult[] = [];
  const cases = createCases(quick ? quickExtent : fullExtent);
  for (const contest of cases.filter(({ title }) => title.includes(only))) {
    const result = {
      title: contest.title,
      ...(contest.baseline !== undefined && { baseline: contest.baseline.name }),
      figures: await alternate(programs, contest),
    };
    process.stdout.write(tablePart(result));
    results.push(result);
  }
  process.stdout.write(summary(results));
  const circumstances = { quick, cores: cores.note };
  if (json === undefined) process.stdout.write(`\n${toJsonLine(results, circumstances)}`);
  else await Bun.write(json, toJson(results, circumstances));
  return hasMissed(results);
}

/** The arguments, or what is wrong with them. */
function readArguments(argv: string[]): Arguments | string {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        quick: { type: "boolean", default: false },
        strict: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        json: { type: "string" },
      },
    });
    const { json, ...rest } = values;
    return json === undefined ? rest : { ...rest, json };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function fail(status: number, problem: string): number {
  process.stderr.write(`bench: ${problem}\n`);
  return status;
}
