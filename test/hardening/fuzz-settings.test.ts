/**
 * Settings at random: whatever they are, the program starts, or says in lines what is wrong with them and ends with an exit status. It
 * never dies of them, and no secret is in what it says. For how long and from which seed: support/fuzz.ts.
 */
import { afterAll, beforeAll, expect } from "bun:test";
import fc from "fast-check";
import { readSettings } from "../../src/settings.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { fuzzTest, within } from "../support/fuzz.ts";
import {
  clientArguments,
  environment,
  fileText,
  fileValues,
  marker,
  serverArguments,
} from "../support/fuzz-settings.ts";
import { readLines } from "../support/process.ts";
import { program } from "../support/program.ts";

let folder: Folder;

beforeAll(async () => {
  folder = await makeFolder({ "notes.txt": `keys are kept elsewhere: ${marker}\n` });
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

fuzzTest("no settings are read without being taken, or refused with what is wrong with them", 0.02, () => ({
  values: fc.record({
    arguments: serverArguments,
    environment,
    file: fc.record({ path: fc.constantFrom("push.toml", "\n"), values: fileValues }),
  }),
  async check(sources) {
    const result = readSettings(sources);

    if ("settings" in result) return;
    expect(result.problems).not.toEqual([]);
    for (const problem of result.problems) {
      expect(problem).toMatch(/expected|is (not|neither)/);
      expect(problem).not.toContain(marker);
    }
  },
}));

/** What a program that dies says, or one that does not catch what it throws. */
const stackTrace = /^\s+at |panic|Segmentation|\berror:|bun\.report|Bun v/im;

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** `listening` for a server that had to be told to end. */
  readonly status: number | "listening";
}

const withinMs = 20_000;

/** Runs the program in the folder, until it ends or listens. */
async function runProgram(
  argv: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const child = Bun.spawn([...program, ...argv], {
    cwd: folder.path,
    env: { PATH: process.env["PATH"] ?? "", ...variables },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  try {
    const errors = child.stderr.text();
    const read = async () => {
      const lines: string[] = [];
      let isListening = false;
      for await (const line of readLines(child.stdout)) {
        lines.push(line);
        if (!/\blistening\b/.test(line) || !/\burl\b/.test(line)) continue;
        isListening = true;
        child.kill("SIGKILL");
      }
      return { lines, isListening };
    };
    const { lines, isListening } = await within(withinMs, "the program to end or to listen", read());
    const status = await within(withinMs, "the program to end", child.exited);
    return { stdout: lines.join("\n"), stderr: await errors, status: isListening ? "listening" : status };
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

/** Whatever it was given, it goes on or says why not. */
function expectOrderly({ stdout, stderr, status }: Outcome): void {
  const said = stdout + stderr;
  expect(said).not.toMatch(stackTrace);
  expect(said).not.toContain(marker);
  if (status === "listening" || status === 0) return expect(stderr).toBe("");
  expect([1, 2]).toContain(status);
  expect(stderr).toMatch(/^(server-push: [^\n]+\n)+$/);
  if (status === 2) expect(stdout).toBe("");
}

/** What a process can be given at all. */
const isPassable = (text: string) => !text.includes("\0") && text.isWellFormed();

fuzzTest("the server starts, or ends with a status and a line for each mistake", 0.04, () => ({
  values: fc
    .record({ argv: serverArguments, variables: environment, file: fc.option(fileText, { freq: 2 }) })
    .filter(({ argv, variables }) => [...argv, ...Object.entries(variables).flat()].every(isPassable)),
  async check({ argv, variables, file }) {
    if (file !== null) await Bun.write(folder.file("push.toml"), Buffer.from(file, "latin1"));
    const config = file === null ? {} : { SERVER_PUSH_CONFIG: folder.file("push.toml") };

    // The usual port may be somebody's.
    expectOrderly(await runProgram(argv, { SERVER_PUSH_PORT: "0", ...variables, ...config }));
  },
}));

fuzzTest("push and listen end with a status and a line", 0.02, () => ({
  values: clientArguments.filter((argv) => argv.every(isPassable)),
  async check(argv) {
    expectOrderly(await runProgram(argv, {}));
  },
}));
