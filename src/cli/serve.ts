/**
 * `server-push`: serves until it is told to stop.
 */
import { dns } from "bun";
import { resolve } from "node:path";
import { parseKeyFile } from "../auth/publisher.ts";
import { quote } from "../errors.ts";
import { UnusableFile } from "../journal.ts";
import { createLogger, type Logger } from "../logger.ts";
import { maxFileDescriptors } from "../metrics.ts";
import { UnusableCertificate } from "../http/tls.ts";
import { CannotListen } from "../listeners.ts";
import { openServer, type Server, type ServerParts, UnusableTokens } from "../server.ts";
import { findConfigPath, readSettings, type Settings, type SettingsFile } from "../settings.ts";
import { build } from "./version.ts";
import { fail } from "./output.ts";

export async function serve(argv: readonly string[]): Promise<number> {
  const sources = { arguments: argv, environment: process.env };
  const file = await readConfig(findConfigPath(sources));
  const result = readSettings(file === undefined ? sources : { ...sources, file });
  if ("problems" in result) return fail(2, ...result.problems);
  const { logLevel, logFormat } = result.settings;
  const format = logFormat === "auto" ? (process.stdout.isTTY ? "text" : "json") : logFormat;
  const logger = createLogger({ level: logLevel, format, target: 1 });
  const settings = withinDescriptors(result.settings);
  keepServing(logger);
  try {
    const keys = await readKeys(settings);
    if (typeof keys === "string") return fail(2, keys);
    const opening = open({ settings, keys, logger, build });
    // Without anything to read again, the signal ends the process, as that of a terminal that is closed should.
    if (settings.apiKeyFile !== "" || settings.jwks !== "" || settings.tlsCert !== "")
      reloadOnSignal(opening, settings, logger);
    const server = await opening;
    if (typeof server === "string") return fail(1, server);
    const { data, maxSessions } = settings;
    const journal = { journal: data === "" ? "memory" : resolve(data), messages: server.found };
    const { url, apiUrl } = server;
    // Whoever reads that it listens may tell it to stop.
    const stopped = untilStopped(server, settings.drain, logger);
    logger.info("listening", {
      url,
      ...(apiUrl !== undefined && { apiUrl }),
      ...build,
      maxSessions,
      ...journal,
    });
    logger.info(describeAccess(settings, keys.length));
    await stopped;
    return 0;
  } finally {
    await logger.close();
  }
}

/**
 * The settings with no more sessions than there can be: each takes a file descriptor, and a process that has none left answers
 * nobody. A tenth of them, and some for files, stay for those who push.
 */
function withinDescriptors(settings: Settings): Settings {
  const possible = Math.max(1, Math.floor(maxFileDescriptors() * 0.9) - 16);
  return { ...settings, maxSessions: Math.min(settings.maxSessions, possible) };
}

/** The server, or why it cannot listen. */
async function open(parts: ServerParts): Promise<Server | string> {
  try {
    return await openServer(parts);
  } catch (error) {
    if (error instanceof UnusableTokens) return `--jwks: ${error.message}`;
    if (error instanceof UnusableFile) return `--data: ${error.message}`;
    if (error instanceof UnusableCertificate) return error.message;
    if (error instanceof CannotListen) return await explain(error);
    throw error;
  }
}

async function explain({ place, cause }: CannotListen): Promise<string> {
  const { hostname, port, hostFlag, portFlag } = place;
  // Bun says EADDRINUSE of a name that has no address, too.
  if (!(await resolves(hostname)))
    return `${hostFlag}: ${quote(hostname)} has no address, expected a name that has`;
  const shown = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  if (cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE")
    return `${shown} is in use; stop what listens there, or take another ${portFlag}`;
  return `cannot listen on ${shown}: ${cause instanceof Error ? cause.message : cause}`;
}

/** Who may do what, in one line. */
function describeAccess({ host, insecure, anonymous, jwtSecret, jwks }: Settings, keys: number): string {
  const listening = `to listen needs a token${anonymous ? ", but to what is pushed to all (--anonymous)" : ""}`;
  if (keys > 0) return `a push needs ${keys === 1 ? "the API key" : `one of ${keys} API keys`}; ${listening}`;
  if (jwtSecret !== "" || jwks !== "") return `a push needs NO key, as there is no --api-key; ${listening}`;
  if (insecure)
    return "ANYONE who can reach it needs no key to push or listen (--insecure); --api-key closes it";
  return `only programs on this machine can reach it (${host}), and need no key to push or listen; --api-key with --host opens it to others`;
}

/** All API keys, or what is wrong with those in the file. */
async function readKeys({ apiKey, apiKeyFile }: Settings): Promise<readonly string[] | string> {
  if (apiKeyFile === "") return apiKey;
  try {
    const keys = parseKeyFile(await Bun.file(apiKeyFile).text());
    if (typeof keys === "string") return `--api-key-file ${quote(apiKeyFile)}: ${keys}`;
    return [...apiKey, ...keys];
  } catch (error) {
    return `--api-key-file ${quote(apiKeyFile)}: ${error instanceof Error ? error.message : error}; expected a file that can be read`;
  }
}

/** One reload after the other: an earlier one must not bring back what a later one has taken out. */
function reloadOnSignal(opening: Promise<Server | string>, settings: Settings, logger: Logger): void {
  let reloading = Promise.resolve();
  process.on("SIGHUP", () => {
    reloading = reloading.then(async () => {
      const server = await opening;
      if (typeof server !== "string") await reload(server, settings, logger);
    });
  });
}

/** Takes what the files are now; what is wrong with one of them leaves that as it was, and keeps nobody from the others. */
async function reload(server: Server, settings: Settings, logger: Logger): Promise<void> {
  const keys = await readKeys(settings);
  if (typeof keys === "string") logger.error("the API keys stay as they were", { reason: keys });
  else {
    server.replaceKeys(keys);
    logger.info("the API keys are read", { keys: keys.length });
  }
  await server.reloadCertificate();
  try {
    await server.reloadTokenKeys();
  } catch (error) {
    logger.error("the public keys of tokens stay as they were", {
      reason: error instanceof Error ? error.message : String(error),
    });
  }
  logger.info("reloaded");
}

async function resolves(host: string): Promise<boolean> {
  return await dns.lookup(host).then(
    () => true,
    () => false,
  );
}

async function readConfig(path: string | undefined): Promise<SettingsFile | undefined> {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = await Bun.file(path).text();
  } catch (error) {
    return { path, values: {}, problem: error instanceof Error ? error.message : String(error) };
  }
  try {
    // The parser gives a table or throws.
    return { path, values: Bun.TOML.parse(text) as Record<string, unknown> };
  } catch {
    // What the parser says may show a key that is not in quotes.
    return { path, values: {}, problem: "is not TOML: perhaps a text in it has no quotes" };
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

/** Resolves after the first SIGTERM or SIGINT and an orderly stop. The second one ends the process at once. */
async function untilStopped(server: Server, drainMs: number, logger: Logger): Promise<void> {
  const numbers = { SIGINT: 2, SIGTERM: 15 };
  const first = Promise.withResolvers<string>();
  let stopping = false;
  for (const [name, number] of Object.entries(numbers))
    process.on(name, () => {
      if (stopping) {
        logger.abandon();
        process.exit(128 + number);
      }
      stopping = true;
      first.resolve(name);
    });
  const signal = await first.promise;
  logger.info("stopping; once more ends it at once", { signal, drainMs });
  await server.drain();
  logger.info("stopped");
}
