/**
 * The binary: argv in, exit code out.
 */
import { helpText, versionLine } from "./cli/help.ts";
import { listen } from "./cli/listen.ts";
import { push } from "./cli/push.ts";
import { serve } from "./cli/serve.ts";

process.exit(await main(Bun.argv.slice(2)));

async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  switch (command) {
    case "push":
      return await push(rest);
    case "listen":
      return await listen(rest);
    case "serve":
      return await main(rest);
  }
  if (argv.includes("--version")) return print(`${versionLine}\n`);
  if (argv.includes("--help") || argv.includes("-h") || command === "help") return print(helpText());
  return await serve(argv);
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}
