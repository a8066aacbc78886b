/**
 * The log: one JSON object a line for a service, readable lines in a terminal.
 *
 * A line is an event and its fields. The event is a constant of ours; whatever a client or a publisher sent is in a field
 * and leaves here only as JSON escapes it, in both formats. Message bodies, query strings and keys are never a field,
 * but for `content` at level debug.
 */
import { toEscapes } from "./errors.ts";
import pino from "pino";

export type LogLevel = "error" | "warn" | "info" | "debug";
export type LogFormat = "json" | "text";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
  /** The coming and going of sessions and messages: for whoever watches a terminal; a service shows it at debug. */
  activity(event: string, fields?: LogFields): void;
  /** Whether `activity` and `debug` go anywhere: what is on the way of every push asks before it gathers fields. */
  readonly showsActivity: boolean;
  readonly showsDebug: boolean;
  /** Resolves when what was logged is written, or after a second in which nobody reads it. Nothing is logged afterwards. */
  close(): Promise<void>;
  /** Drops what is not written yet: else the end of the process would wait for a reader who does not read. */
  abandon(): void;
}

/** Where lines go: a file descriptor, or something that takes each line. */
export type LogTarget = number | { write(line: string): void };

/** When this much waits for a reader of the log who does not read, further lines are dropped. */
const maxWaitingBytes = 16 * 1024 * 1024;

const lastWordsMs = 1000;

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly target: LogTarget;
}

export function createLogger({ level, format, target }: LoggerOptions): Logger {
  const destination = typeof target === "number" ? openDestination(target) : undefined;
  const print = (line: string) =>
    void (typeof target === "number" ? destination?.write(line) : target.write(line));
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => print(format === "json" ? `${toInert(line.trimEnd())}\n` : toText(line)) },
  );
  const write = (at: LogLevel) => (event: string, fields?: LogFields) => log[at](fields ?? {}, event);
  const activityLevel = format === "text" ? "info" : "debug";
  return {
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    activity: write(activityLevel),
    showsActivity: log.isLevelEnabled(activityLevel),
    showsDebug: log.isLevelEnabled("debug"),
    async close() {
      if (destination === undefined) return;
      const written = new Promise((resolve) => destination.once("close", resolve));
      destination.end();
      await Promise.race([written, Bun.sleep(lastWordsMs)]);
      destination.destroy();
    },
    abandon: () => destination?.destroy(),
  };
}

function openDestination(fd: number) {
  const destination = pino.destination({ fd, sync: false, maxLength: maxWaitingBytes });
  // A reader of the log that went away (EPIPE) is no reason to stop serving.
  destination.on("error", () => {});
  return destination;
}

/** `12:30:01 info  session opened  id=8Jk… userid=123`: a value with anything but plain characters stands in quotes. */
function toText(line: string): string {
  // The line is one that pino has just written: level, time and msg are there. Who reads it has a clock on the wall.
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, string | number | boolean>;
  const head = `${new Date(String(time)).toTimeString().slice(0, 8)} ${String(level).padEnd(5)} ${msg}`;
  return `${[head, ...toPairs(fields)].join("  ")}\n`;
}

/** `userid=123`, for each of them. */
export function toPairs(fields: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(fields).map(([name, value]) => `${toShown(name)}=${toShown(value)}`);
}

function toShown(value: unknown): string {
  if (typeof value === "string" && /^[\p{L}\p{N}_.:/@+-]+$/u.test(value)) return value;
  return toInert(JSON.stringify(value));
}

/** JSON, with escapes also for what JSON may leave and a terminal acts on: C1 controls, separators, direction marks. */
export function toInert(json: string): string {
  return json.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, toEscapes);
}
