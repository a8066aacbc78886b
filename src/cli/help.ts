import { describeSettings } from "../settings.ts";
import { build } from "./version.ts";

export const versionLine = `server-push ${build.version} (${build.commit}), Bun ${Bun.version}`;

export function helpText(): string {
  return `Push a message to any open browser page with a single HTTP call.

Usage:
  server-push [serve] [SETTINGS]               Serve
  server-push push [OPTIONS] [MESSAGE]         Push a message, from standard input where none is given
  server-push listen [OPTIONS]                 Print every message that arrives, one a line
  server-push events [OPTIONS]                 Print what happens at a server, one event a line

  server-push --help | --version               Also: server-push push --help, listen --help, events --help

Settings, each with its default. A setting is also read from the environment (--max-message is
SERVER_PUSH_MAX_MESSAGE) and from a TOML file (max-message = "1MiB"); a flag comes before the environment,
and the environment before the file.

${describeSettings().join("\n")}

Exit status: 0 after an orderly stop, 1 when it cannot serve (the port is in use), 2 for wrong settings.

Try it:
  server-push
  server-push listen --userid 123 --compid inbox
  curl 'localhost:8888/push?userid=123&compid=inbox&message=hello'
`;
}
