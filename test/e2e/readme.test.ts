/**
 * The README is true: its tables are those of the code, and its examples run as written and answer as it says.
 */
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type ErrorCode, errorCodes } from "../../src/errors.ts";
import { answers } from "../../src/http/errors.ts";
import { toMarkdown } from "../../src/settings.ts";
import { connect } from "../support/client.ts";
import { compiledFile, readLines, root, run, startProcess } from "../support/process.ts";
import { mustSkip, python } from "../support/system.ts";

const readme = await Bun.file(join(root, "README.md")).text();

test("the table of settings is the code's", () => {
  const [, table = ""] = /<!-- settings -->\n([\s\S]*)<!-- \/settings -->/.exec(readme) ?? [];

  expect(toCells(table)).toEqual(toCells(toMarkdown()));
});

test("the table of errors has every code beside its status", () => {
  const [, table = ""] = /\n(\| status \| codes[\s\S]*?)\n\n/.exec(readme) ?? [];
  const listed = table
    .split("\n")
    .slice(2)
    .flatMap((row) => {
      const [, status = ""] = row.split("|");
      return [...row.matchAll(/`([a-z_]+)`/g)].map(([, code]) => `${status.trim()} ${code}`);
    });

  expect(listed.toSorted()).toEqual(errorCodes.map(toRow).toSorted());
});

/** An error frame has no status. */
function toRow(code: ErrorCode): string {
  return `${code === "malformed_frame" ? "none" : answers[code].status} ${code}`;
}

test.skipIf(mustSkip("curl"))("every command answers as the README shows it", async () => {
  await using server = await startProcess([compiledFile, "--port=0"]);
  await using inbox = await connect(server, "userid=123&compid=inbox");
  const examples = blocks("console").flatMap(toExamples);
  expect(examples.length).toBeGreaterThan(5);
  const epoch = await readEpoch();

  for (const { command, output } of examples) {
    const answer = await shell(command.replaceAll("k3f9a0zq", epoch), server.port);

    expect({ command, output: answer.trim() }).toEqual({
      command,
      output: output.replaceAll("k3f9a0zq", epoch),
    });
  }

  expect(await inbox.next()).toBe("hello");

  /** The ids in the README are those of a fresh server, so no push may come before them: a refused one tells nothing, but a log does. */
  async function readEpoch(): Promise<string> {
    const first = examples.shift();
    if (first === undefined) throw new Error("the README has no example");
    const { id, sessions } = JSON.parse(await shell(first.command, server.port));
    expect(`{"id":"${id}","sessions":${sessions}}`.replace(/"[0-9a-z]{8}-/, '"k3f9a0zq-')).toBe(first.output);
    return id.split("-")[0];
  }
});

test("the lines in the terminal look as the README shows them", async () => {
  await using child = Bun.spawn([compiledFile, "--port=0", "--log-format=text"], { stdout: "pipe" });
  const lines = readLines(child.stdout);
  const { value: first = "" } = await lines.next();
  const [url = ""] = /http:\S+/.exec(first) ?? [];

  const inbox = await connect({ url }, "userid=123&compid=inbox");
  await fetch(`${url}/push?userid=123&compid=inbox&message=hello`);
  child.kill("SIGTERM");
  await inbox.closed;
  const printed: string[] = [];
  for await (const line of lines)
    if (/ {2}(session opened|push) {2}/.test(line)) printed.push(normalise(line));

  const [shown = ""] = blocks("text");
  expect(printed).toEqual(shown.trim().split("\n").map(normalise));
});

test.skipIf(mustSkip("php"))("the example in PHP pushes", async () => {
  await expectPush(
    "php",
    (file) => ["php", file],
    (code) => `<?php\n${code}`,
  );
});

test.skipIf(mustSkip("websockets"))("the example in Python pushes", async () => {
  await expectPush(
    "python",
    (file) => [python, file],
    (code) => code,
  );
});

test("every link within the page leads to a heading", () => {
  const headings = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, "")
      .replaceAll(" ", "-"),
  );

  for (const [, anchor] of readme.matchAll(/\]\(#([^)]+)\)/g)) expect(headings).toContain(anchor ?? "");
});

/** Runs the README's example in this language against a server, and sees its message arrive. */
async function expectPush(
  language: string,
  toCommand: (file: string) => string[],
  toProgram: (code: string) => string,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "server-push-readme-"));
  try {
    await using server = await startProcess([compiledFile, "--port=0"]);
    await using inbox = await connect(server, "userid=123&compid=inbox");
    const [code = ""] = blocks(language);
    const file = join(folder, "example");
    await Bun.write(file, toProgram(code.replaceAll(":8888", `:${server.port}`)));

    const result = await run(toCommand(file));

    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(await inbox.next()).toBe("hello");
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The fenced blocks of this language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    ([, text = ""]) => text,
  );
}

/** `$ command` and the lines that follow it, up to the next. */
function toExamples(block: string): { command: string; output: string }[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((example) => {
      const [command = "", ...output] = example.trimEnd().split("\n");
      return { command, output: output.join("\n") };
    });
}

/** What the command prints in a shell that finds the executable, with the port of the server under test. */
async function shell(command: string, port: number): Promise<string> {
  const line = command
    .replaceAll(":8888", `:${port}`)
    .replaceAll(/server-push (push|listen)/g, `$& --url http://127.0.0.1:${port}`);
  const { stdout } = await run(["sh", "-c", line], {
    environment: { PATH: `${dirname(compiledFile)}:${process.env["PATH"]}` },
  });
  return stdout;
}

function toCells(table: string): string[][] {
  return table
    .trim()
    .split("\n")
    .filter((row) => !/^[|\s-]+$/.test(row))
    .map((row) => row.split("|").map((cell) => cell.trim()));
}

/** Without what differs from run to run: the time, the ids. */
function normalise(line: string): string {
  return line
    .replace(/^\d\d:\d\d:\d\d/, "TIME")
    .replace(/id=[\w-]{22}/, "id=SESSION")
    .replace(/id=[0-9a-z]{8}-/, "id=EPOCH-");
}
