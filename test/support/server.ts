/**
 * A running server for a test: from source in this process, or the compiled file when TEST_BINARY names it. What a test
 * sees is the same either way, so one suite proves both.
 *
 *   await using server = await startServer({ "max-message": "1KiB" });
 */
import { createLogger, type LogLevel } from "../../src/logger.ts";
import { openServer } from "../../src/server.ts";
import { readSettings } from "../../src/settings.ts";
import { startProcess } from "./process.ts";

export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** Where publishers and operators call: `url`, unless `api-port` is set. */
  readonly apiUrl: string;
  /** What it has logged so far: each line, parsed. */
  readonly log: readonly LogLine[];
  /** Stops it in good order, as SIGTERM does. */
  drain(): Promise<void>;
}

export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

/** The compiled file under test, or `undefined` when the source is. */
export const binary = process.env["TEST_BINARY"];

type Flags = Readonly<Record<string, string>>;

export async function startServer(settings: Flags = {}): Promise<TestServer> {
  return binary === undefined
    ? await startServerHere(settings)
    : await startProcess([binary, ...toArguments(settings)]);
}

/** In this process whatever is under test, as time can be made to pass here alone. */
export async function startServerHere(settings: Flags): Promise<TestServer> {
  const result = readSettings({ arguments: toArguments(settings), environment: {} });
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  const log: LogLine[] = [];
  const logger = createLogger({
    level: result.settings.logLevel satisfies LogLevel,
    format: "json",
    target: { write: (line) => void log.push(JSON.parse(line)) },
  });
  const server = await openServer({
    settings: result.settings,
    keys: result.settings.apiKey,
    logger,
    build: { version: "0.0.0", commit: "test" },
  });
  return {
    url: server.url,
    port: server.port,
    apiUrl: server.apiUrl ?? server.url,
    log,
    drain: () => server.drain(),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

function toArguments(settings: Flags): readonly string[] {
  return Object.entries({ port: "0", "log-level": "debug", "log-format": "json", ...settings }).map(
    ([name, value]) => `--${name}=${value}`,
  );
}

/** The figures of /metrics, by name and labels as they are written there: `server_push_sessions`, `…_total{code="internal"}`. */
export async function readMetrics(server: { readonly url: string }): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** How much memory the server's process takes, in bytes, without what only waits to be collected as far as a test can see to that. */
export async function readMemory(server: { readonly url: string }): Promise<number> {
  if (binary === undefined) Bun.gc(true);
  return (await readMetrics(server)).get("process_resident_memory_bytes") ?? Number.NaN;
}
