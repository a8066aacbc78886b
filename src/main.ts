/**
 * The binary: argv in, exit code out.
 */
import { print } from "./cli/output.ts";
import { events } from "./cli/events.ts";
import { helpText, versionLine } from "./cli/help.ts";
import { listen } from "./cli/listen.ts";
import { push } from "./cli/push.ts";
import { serve } from "./cli/serve.ts";

process.exit(await main(Bun.argv.slice(2)));

async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  if (command === "push") return await push(rest);
  if (command === "listen") return await listen(rest);
  if (command === "events") return await events(rest);
  const settings = command === "serve" ? rest : argv;
  if (settings.includes("--version")) return await print(`${versionLine}\n`);
  if (settings.includes("--help") || settings.includes("-h") || command === "help")
    return await print(helpText());
  return await serve(settings);
}
