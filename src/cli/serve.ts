/**
 * `server-push`: serves until it is told to stop.
 */
import { quote } from "../errors.ts";
import { createLogger, type Logger } from "../logger.ts";
import { openServer, type Server } from "../server.ts";
import { findConfigPath, isLoopback, readSettings, type SettingsSources } from "../settings.ts";
import { build } from "./build.ts";
import { fail } from "./fail.ts";

export async function serve(argv: readonly string[]): Promise<number> {
  const sources = { arguments: argv, environment: process.env };
  const file = await readConfig(findConfigPath(sources));
  if (typeof file === "string") return fail(2, file);
  const result = readSettings(file === undefined ? sources : { ...sources, file });
  if ("problems" in result) return fail(2, ...result.problems);
  const { settings } = result;
  const format =
    settings.logFormat === "auto" ? (process.stdout.isTTY ? "text" : "json") : settings.logFormat;
  const logger = createLogger({ level: settings.logLevel, format, target: 1 });
  keepServing(logger);
  try {
    const server = await openServer({ settings, logger, build });
    logger.info("listening", { url: server.url, ...build });
    logger.info(
      isLoopback(settings.host)
        ? "only this machine can reach it, and pushes and listens without a key; --host with --insecure opens it to others"
        : "ANYONE who can reach it pushes and listens without a key (--insecure); --host 127.0.0.1 closes it",
    );
    await untilStopped(server, settings.drain, logger);
    return 0;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "EADDRINUSE")
      return fail(
        1,
        `${settings.host}:${settings.port} is in use; stop what listens there, or take another --port`,
      );
    return fail(
      1,
      `cannot listen on ${settings.host}:${settings.port}: ${error instanceof Error ? error.message : error}`,
    );
  } finally {
    logger.flush();
  }
}

/** What the file holds, or what is wrong with it. */
async function readConfig(path: string | undefined): Promise<SettingsSources["file"] | string> {
  if (path === undefined) return undefined;
  try {
    // The parser gives a table or throws.
    return { path, values: Bun.TOML.parse(await Bun.file(path).text()) as Record<string, unknown> };
  } catch (error) {
    return `--config ${quote(path)}: ${error instanceof Error ? error.message : error}; expected a TOML file that can be read`;
  }
}

/** A defect in one request must not end the sessions of everybody else. */
function keepServing(logger: Logger): void {
  const report = (error: unknown) =>
    logger.error("unexpected error", {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}

/** Resolves after the first SIGTERM or SIGINT and an orderly stop; the second one ends the process at once. */
async function untilStopped(server: Server, drainMs: number, logger: Logger): Promise<void> {
  const signals = { SIGINT: 2, SIGTERM: 15 };
  const first = Promise.withResolvers<string>();
  let stopping = false;
  for (const [signal, number] of Object.entries(signals))
    process.on(signal, () => {
      if (stopping) process.exit(128 + number);
      stopping = true;
      first.resolve(signal);
    });
  const signal = await first.promise;
  logger.info("stopping; once more ends it at once", { signal, drain: `${drainMs} ms` });
  await server.drain();
  logger.info("stopped");
}
