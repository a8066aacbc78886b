/**
 * The settings: one table, from which come the flags, the environment, the file, the help and the README's table. Pure.
 *
 * The flag `--max-message 1MiB`, the variable `SERVER_PUSH_MAX_MESSAGE=1MiB` and the line `max-message = "1MiB"` in the file
 * are one setting; the first of these that is there counts, else the default. To add one, add a row.
 */
import { parseArgs } from "node:util";
import { quote } from "./errors.ts";

interface Kind<Value> {
  /** What a value looks like, as it ends the sentence "expected …". */
  readonly expected: string;
  /** What stands for the value in the help; a switch has none. */
  readonly placeholder?: string;
  /** `undefined` for what is not a value of this kind. */
  parse(text: string): Value | undefined;
}

const kinds = {
  host: {
    expected: "a host name or an IP address",
    placeholder: "HOST",
    parse: (text) => (/^[\w.:%-]+$/.test(text) ? text : undefined),
  } satisfies Kind<string>,
  port: {
    expected: "a port from 0 to 65535, 0 for any that is free",
    placeholder: "PORT",
    parse: (text) => integer(text, 0, 65535),
  } satisfies Kind<number>,
  count: {
    expected: "a whole number from 1 to 1000000000",
    placeholder: "N",
    parse: (text) => integer(text, 1, 1e9),
  } satisfies Kind<number>,
  bytes: {
    expected: "a size from 1 to 1TiB, such as 65536, 64KiB or 1MiB",
    placeholder: "SIZE",
    parse: (text) => scaled(text, byteUnits, 1, 2 ** 40),
  } satisfies Kind<number>,
  message: {
    expected: "a size from 1 to 64MiB, such as 65536, 64KiB or 1MiB",
    placeholder: "SIZE",
    parse: (text) => scaled(text, byteUnits, 1, 2 ** 26),
  } satisfies Kind<number>,
  duration: {
    expected: "a duration from 10ms to 365d, such as 500ms, 25s, 10m or 1h",
    placeholder: "TIME",
    parse: (text) => scaled(text, timeUnits, 10, 365 * 86_400_000),
  } satisfies Kind<number>,
  ping: {
    expected: "a duration from 100ms to 1h, such as 25s",
    placeholder: "TIME",
    parse: (text) => scaled(text, timeUnits, 100, 3_600_000),
  } satisfies Kind<number>,
  seconds: {
    expected: "a duration from 1s to 255s in whole seconds",
    placeholder: "TIME",
    parse: (text) => {
      const ms = scaled(text, timeUnits, 1000, 255_000);
      return ms !== undefined && ms % 1000 === 0 ? ms : undefined;
    },
  } satisfies Kind<number>,
  level: choice("error", "warn", "info", "debug"),
  format: choice("auto", "json", "text"),
  switch: {
    expected: "true or false",
    parse: (text) =>
      text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : undefined,
  } satisfies Kind<boolean>,
};

interface Row {
  readonly name: string;
  readonly kind: keyof typeof kinds;
  readonly default: string;
  readonly help: string;
}

export const settingsTable = [
  {
    name: "host",
    kind: "host",
    default: "127.0.0.1",
    help: "The address to listen on; one that is not loopback needs --insecure",
  },
  { name: "port", kind: "port", default: "8888", help: "The port to listen on; 0 takes any that is free" },
  {
    name: "insecure",
    kind: "switch",
    default: "false",
    help: "Listen on any address although anyone who reaches it may push and listen",
  },
  {
    name: "max-message",
    kind: "message",
    default: "64KiB",
    help: "The largest message, pushed or from a client; larger is 413, or close code 1009",
  },
  {
    name: "max-sessions",
    kind: "count",
    default: "100000",
    help: "The most sessions at once; one more is refused with 503",
  },
  {
    name: "max-queued",
    kind: "bytes",
    default: "1MiB",
    help: "What may wait for a session that reads slowly; over it, the session is dropped",
  },
  {
    name: "ping",
    kind: "ping",
    default: "25s",
    help: "How often every session is pinged; one that has not answered by the next ping is dropped",
  },
  {
    name: "http-timeout",
    kind: "seconds",
    default: "30s",
    help: "After so long without a byte an HTTP connection is closed",
  },
  {
    name: "drain",
    kind: "duration",
    default: "10s",
    help: "How long stopping may take: sessions are closed in batches, requests in flight are answered",
  },
  {
    name: "retain-time",
    kind: "duration",
    default: "10m",
    help: "How long the journal keeps a message at the most",
  },
  {
    name: "retain-bytes",
    kind: "bytes",
    default: "64MiB",
    help: "What the journal's messages may take, at 256 bytes each beside their bodies",
  },
  {
    name: "retain-count",
    kind: "count",
    default: "100000",
    help: "How many messages the journal keeps at the most",
  },
  {
    name: "log-level",
    kind: "level",
    default: "info",
    help: "The least that is logged: error, warn, info or debug",
  },
  {
    name: "log-format",
    kind: "format",
    default: "auto",
    help: "json, text, or auto: text in a terminal, else json",
  },
] as const satisfies readonly Row[];

type Table = (typeof settingsTable)[number];
type CamelCase<Name> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;
type ValueOf<Name extends keyof typeof kinds> = NonNullable<ReturnType<(typeof kinds)[Name]["parse"]>>;

/** The values: sizes in bytes, durations in milliseconds, named as in the table but in camel case (`maxMessage`). */
export type Settings = { readonly [row in Table as CamelCase<row["name"]> & string]: ValueOf<row["kind"]> };

/** Where settings are written: the arguments, the environment, and what the file holds once it is parsed. */
export interface SettingsSources {
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file?: { readonly path: string; readonly values: Readonly<Record<string, unknown>> };
}

export type SettingsResult = { readonly settings: Settings } | { readonly problems: readonly string[] };

/** Reads the settings, or says everything that is wrong with them, each with where it stands and what was expected. */
export function readSettings(sources: SettingsSources): SettingsResult {
  const problems: string[] = [];
  const layers = [
    readArguments(sources.arguments, problems),
    readEnvironment(sources.environment, problems),
    readFile(sources.file, problems),
  ];
  const settings: Record<string, unknown> = {};
  for (const { name, kind, default: fallback } of settingsTable) {
    const { parse, expected }: Kind<unknown> = kinds[kind];
    settings[toCamelCase(name)] = parse(fallback);
    // Every layer is checked, also one that another overrides: a mistake is a mistake.
    for (const layer of layers.toReversed()) {
      const entry = layer.get(name);
      if (entry === undefined) continue;
      const value = parse(entry.text);
      if (value === undefined) problems.push(`${entry.where}: ${quote(entry.text)} is not ${expected}`);
      else settings[toCamelCase(name)] = value;
    }
  }
  // Every row of the table was given a value of its kind just above.
  const complete = settings as Settings;
  if (!complete.insecure && !isLoopback(complete.host))
    problems.push(
      `host: ${quote(complete.host)} is not a loopback address, and anyone who reaches it could push and listen; ` +
        "expected --host 127.0.0.1, or --insecure to allow just that",
    );
  return problems.length > 0 ? { problems } : { settings: complete };
}

/** Whether only this machine can reach the host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The path of the settings file, as flag or environment name it. */
export function findConfigPath({ arguments: argv, environment }: SettingsSources): string | undefined {
  return scan(argv).values.get("config")?.at(-1) ?? environment["SERVER_PUSH_CONFIG"];
}

/** The settings as lines of `--help`. */
export function describeSettings(): string[] {
  const rows = settingsTable.map(({ name, kind, default: fallback, help }) => {
    const { placeholder }: Kind<unknown> = kinds[kind];
    return {
      flag: placeholder === undefined ? `--${name}` : `--${name} ${placeholder}`,
      help: placeholder === undefined ? help : `${help} (${fallback})`,
    };
  });
  rows.push({ flag: "--config FILE", help: `The TOML file to read settings from; also ${prefix}CONFIG` });
  const width = Math.max(...rows.map((row) => row.flag.length)) + 2;
  return rows.map((row) => `  ${row.flag.padEnd(width)}${row.help}`);
}

/** The settings as the table of the README. */
export function toMarkdown(): string {
  const rows = settingsTable.map(
    ({ name, kind, default: fallback, help }) =>
      `| \`--${name}\` | \`${toVariable(name)}\` | ${kind} | \`${fallback}\` | ${help} |`,
  );
  return [
    "| flag | environment | type | default | what it does |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

interface Entry {
  readonly text: string;
  readonly where: string;
}

function scan(argv: readonly string[]) {
  const options = Object.fromEntries([
    ["config", { type: "string" as const }],
    ...settingsTable.map(({ name, kind }) => [
      name,
      { type: kind === "switch" ? ("boolean" as const) : ("string" as const) },
    ]),
  ]);
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  const values = new Map<string, (string | undefined)[]>();
  const problems: string[] = [];
  let mayBeValue = false;
  for (const token of tokens) {
    // What follows a flag that we do not know is most likely its value: one mistake, not two.
    if (token.kind === "positional" && !mayBeValue)
      problems.push(
        `${quote(token.value)}: unexpected, expected a command (push, listen) first or only flags`,
      );
    mayBeValue = false;
    if (token.kind !== "option") continue;
    const { name, rawName, value } = token;
    if (Object.hasOwn(options, name))
      values.set(name, [
        ...(values.get(name) ?? []),
        value ?? (options[name]?.type === "boolean" ? "true" : undefined),
      ]);
    else {
      problems.push(`${quote(rawName)}: unknown setting, expected one that --help lists`);
      mayBeValue = value === undefined;
    }
  }
  return { values, problems };
}

function readArguments(argv: readonly string[], problems: string[]): Map<string, Entry> {
  const found = scan(argv);
  problems.push(...found.problems);
  const entries = new Map<string, Entry>();
  for (const [name, [text, ...more]] of found.values) {
    const where = `--${name}`;
    if (more.length > 0) problems.push(`${where}: given more than once, expected it once`);
    if (text === undefined) problems.push(`${where}: has no value, expected one`);
    else entries.set(name, { text, where });
  }
  return entries;
}

const prefix = "SERVER_PUSH_";

/** What Kubernetes injects for a service of this name: SERVER_PUSH_SERVICE_HOST, SERVER_PUSH_PORT_8888_TCP_ADDR, … */
const injected = /^SERVER_PUSH_(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

function readEnvironment(
  environment: SettingsSources["environment"],
  problems: string[],
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const [where, text] of Object.entries(environment)) {
    if (
      text === undefined ||
      !where.startsWith(prefix) ||
      where === `${prefix}CONFIG` ||
      injected.test(where)
    )
      continue;
    const row = settingsTable.find(({ name }) => toVariable(name) === where);
    if (row === undefined) problems.push(`${where}: unknown setting, expected one that --help lists`);
    // SERVER_PUSH_PORT=tcp://10.0.0.1:8888 is Kubernetes again.
    else if (!(row.name === "port" && /^(tcp|udp|sctp):\/\//.test(text)))
      entries.set(row.name, { text, where });
  }
  return entries;
}

function readFile(file: SettingsSources["file"], problems: string[]): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(file?.values ?? {})) {
    const where = `${file?.path}: ${name}`;
    if (!settingsTable.some((row) => row.name === name))
      problems.push(`${where}: unknown setting, expected one that --help lists`);
    else if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      entries.set(name, { text: String(value), where });
    else problems.push(`${where}: is neither text, a number nor true or false`);
  }
  return entries;
}

const byteUnits = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const timeUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function scaled(
  text: string,
  units: Readonly<Record<string, number>>,
  least: number,
  most: number,
): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,15})([A-Za-z]*)$/.exec(text) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (digits === undefined || factor === undefined) return undefined;
  const value = Number(digits) * factor;
  return value >= least && value <= most ? value : undefined;
}

function integer(text: string, least: number, most: number): number | undefined {
  if (!/^\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}

function choice<const Choice extends string>(...choices: Choice[]): Kind<Choice> {
  return {
    expected: `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`,
    placeholder: choices.join("|"),
    parse: (text) => choices.find((candidate) => candidate === text),
  };
}

function toVariable(name: string): string {
  return prefix + name.toUpperCase().replaceAll("-", "_");
}

function toCamelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
