import { expect, test } from "bun:test";
import manifest from "../../package.json" with { type: "json" };
import { settingsTable } from "../../src/settings-table.ts";
import { run } from "../support/process.ts";
import { program } from "../support/program.ts";

const columns = 120;

test("--version says which build this is, in one line", async () => {
  const { status, stdout } = await run([...program, "--version"]);

  expect(stdout).toMatch(/^server-push \S+ \([\w+]+\), Bun \d+\.\d+\.\d+\n$/);
  expect(stdout).toStartWith(`server-push ${manifest.version} `);
  expect(status).toBe(0);
});

test("--help lists every setting with its default", async () => {
  const { status, stdout, stderr } = await run([...program, "--help"]);

  const lines = stdout.split("\n");
  const missing = settingsTable.filter(
    ({ name, kind, default: fallback }) =>
      !lines.some(
        (line) =>
          `${line} `.startsWith(`  --${name} `) &&
          (kind === "switch" || line.includes(`(${fallback || "none"})`)),
      ),
  );
  expect(missing).toEqual([]);
  expect(stdout).toContain("--config FILE");
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test.each(["--help", "push --help", "listen --help", "events --help"])(
  "what %s prints fits a terminal of 120 columns",
  async (words) => {
    const { stdout } = await run([...program, ...words.split(" ")]);

    expect(stdout.split("\n").filter((line) => line.length > columns)).toEqual([]);
  },
);

test.each(["-h", "help"])("%s is --help", async (word) => {
  const help = await run([...program, "--help"]);

  const same = await run([...program, word]);

  expect(same).toEqual(help);
});

test.each([
  [
    "push",
    ["--userid", "--compid", "--all", "--event", "--key", "--ttl", "--idempotency-key", "--binary", "--url"],
  ],
  ["listen", ["--userid", "--compid", "--since", "--count", "--json", "--url"]],
  ["events", ["--types", "--since", "--count", "--json", "--api-key", "--url"]],
] as const)("the help of %s names each of its options", async (command, options) => {
  const { status, stdout, stderr } = await run([...program, command, "--help"]);

  expect(options.filter((option) => !stdout.includes(`  ${option} `))).toEqual([]);
  expect(stderr).toBe("");
  expect(status).toBe(0);
});
