/**
 * The settings, as they are read from flags, environment and file, and shown in the help and the README. Pure.
 *
 * The flag `--max-message 1MiB`, the variable `SERVER_PUSH_MAX_MESSAGE=1MiB` and the line `max-message = "1MiB"` in the file
 * are one setting; the first of these that is there counts, else the default. The table of them is settings-table.ts.
 */
import { parseArgs } from "node:util";
import { quote, quoteArgument } from "./errors.ts";
import { type Kind, kinds } from "./kinds.ts";
import { settingsTable } from "./settings-table.ts";

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
  readonly file?: SettingsFile;
}

export interface SettingsFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** Why it could not be read, if so. */
  readonly problem?: string;
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
    const { parse, expected, isSecret, absent }: Kind<unknown> = kinds[kind];
    // What has no default is empty, and cannot be set to that: a script whose variable is not set should hear of it.
    settings[toCamelCase(name)] = fallback === "" ? absent : parse(fallback);
    // Every layer is checked, also one that another overrides: a mistake is a mistake.
    for (const layer of layers.toReversed()) {
      const entry = layer.get(name);
      if (entry === undefined) continue;
      const value = parse(entry.text);
      // A flag without its value takes the next one for it.
      const isTelling = isSecret === true || entry.text.startsWith("--");
      const shown = isTelling ? "what it is set to" : quote(entry.text);
      if (value === undefined) problems.push(`${entry.where}: ${shown} is not ${expected}`);
      else settings[toCamelCase(name)] = value;
    }
  }
  // Every row of the table was given a value of its kind just above.
  const complete = settings as Settings;
  const given = new Set(layers.flatMap((layer) => Array.from(layer.keys())));
  problems.push(...findConflicts(complete), ...findIdle(complete, given));
  return problems.length > 0 ? { problems } : { settings: complete };
}

/** What is wrong with the settings together, though each alone is right. */
function findConflicts(settings: Settings): string[] {
  const { host, apiPort, port, insecure, apiKey, apiKeyFile, maxMessage, maxQueued } = settings;
  const { apiHost, tlsCert, tlsKey, http2, jwks, webhook, webhookEvents, maxWebhookQueue } = settings;
  const conflicts: string[] = [];
  for (const own of hostsOf(settings))
    if (!insecure && !isLoopback(own) && apiKey.length === 0 && apiKeyFile === "")
      conflicts.push(
        `${own === host ? "host" : "api-host"}: ${quote(own)} is not a loopback address, and anyone who reaches it could push and listen; ` +
          "expected --api-key or --api-key-file, or --insecure to allow just that",
      );
  if (apiPort === port && port !== 0 && (host === apiHost || anyAddress.has(host) || anyAddress.has(apiHost)))
    conflicts.push(`api-port: ${apiPort} is --port too, expected another one, another --api-host, or none`);
  if ((tlsCert === "") !== (tlsKey === ""))
    conflicts.push(
      `${tlsCert === "" ? "tls-cert" : "tls-key"}: is missing, expected it beside --tls-${tlsCert === "" ? "key" : "cert"}`,
    );
  if (http2 && tlsCert === "")
    conflicts.push("http2: browsers speak it over TLS only, expected --tls-cert and --tls-key beside it");
  const plain = URL.parse(jwks);
  if (!insecure && plain?.protocol === "http:" && !isLoopback(plain.hostname.replace(/^\[(.+)\]$/, "$1")))
    conflicts.push(
      `jwks: ${quote(plain.origin)} is not https, and anyone on the way could sign tokens; expected https, or --insecure to allow just that`,
    );
  if (maxQueued < maxMessage)
    conflicts.push(
      `max-queued: ${maxQueued} bytes are less than max-message, so one large message would drop a session; ` +
        `expected at least ${maxMessage}`,
    );
  if (webhook.length > 0 && webhookEvents.includes("message.received") && maxWebhookQueue < maxMessage)
    conflicts.push(
      `max-webhook-queue: ${maxWebhookQueue} bytes are less than max-message, so one large message of a client could never be taken; ` +
        `expected at least ${maxMessage}`,
    );
  return conflicts;
}

/** What opens a port to more than one address. */
const anyAddress = new Set(["0.0.0.0", "::"]);

/** What makes clients need a token. */
const locks = ["api-key", "api-key-file", "jwt-secret", "jwks"];

/**
 * What was set, and has no effect as something else is not: somebody believes in a protection that is not there.
 *
 * @param given the names of all that was set anywhere, rightly or not
 */
function findIdle({ anonymous, clientPush }: Settings, given: ReadonlySet<string>): string[] {
  const idle: string[] = [];
  if (given.has("api-host") && !given.has("api-port"))
    idle.push("api-host: has no effect without --api-port, expected it beside it");
  if (locks.some((name) => given.has(name))) return idle;
  const switches: Readonly<Record<string, boolean>> = { anonymous, "client-push": clientPush };
  for (const name of ["jwt-issuer", "jwt-audience", "anonymous", "client-push"])
    if (given.has(name) && switches[name] !== false)
      idle.push(
        `${name}: has no effect where no client needs a token, expected one of --${locks.join(", --")} beside it`,
      );
  return idle;
}

/** Every address that is listened on. */
function hostsOf({ host, apiHost, apiPort }: Settings): readonly string[] {
  return apiPort === "none" || apiHost === host ? [host] : [host, apiHost];
}

/** Whether only this machine can reach the host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/.test(host);
}

/** The path of the settings file, as flag or environment name it. */
export function findConfigPath({ arguments: argv, environment }: SettingsSources): string | undefined {
  return scan(argv).values.get("config")?.at(-1) ?? environment["SERVER_PUSH_CONFIG"];
}

/** The settings as lines of `--help`: the flag with its default, and below it what it does. */
export function describeSettings(): string[] {
  const lines = settingsTable.flatMap(({ name, kind, default: fallback, help }) => {
    const { placeholder }: Kind<unknown> = kinds[kind];
    const flag = placeholder === undefined ? `--${name}` : `--${name} ${placeholder}`;
    return [`  ${flag} (${fallback || "none"})`, `      ${help}`];
  });
  return [...lines, "  --config FILE", `      The TOML file to read settings from; also ${prefix}CONFIG`];
}

/** The settings as the table of the README. */
export function toMarkdown(): string {
  const rows = settingsTable.map(({ name, kind, default: fallback, help }) => {
    const [takes] = kinds[kind].expected.split(" (");
    const shown = fallback === "" ? "none" : `\`${fallback}\``;
    return `| \`--${name}\` | \`${toVariable(name)}\` | ${takes} | ${shown} | ${help} |`;
  });
  return [
    "| flag | environment | takes | default | what it does |",
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
        `${quoteArgument(token.value, argv)}: unexpected, expected a command (push, listen, events) first or only flags`,
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
      // One dash makes every letter a flag of its own, its value's too.
      const argument = argv[token.index] ?? "";
      const [written = ""] = argument.split("=", 1);
      const problem = `${toPlain(argument.startsWith("--") ? rawName : written)}: unknown setting, expected one that --help lists`;
      if (!problems.includes(problem)) problems.push(problem);
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

/**
 * What Kubernetes injects for a service of this name, or of one that begins with it: SERVER_PUSH_SERVICE_HOST,
 * SERVER_PUSH_PORT_8888_TCP_ADDR, SERVER_PUSH_REDIS_PORT=tcp://10.0.0.1:6379, and SERVER_PUSH_PORT=tcp://10.0.0.1:8888,
 * which would be ours but for its value.
 */
const injectedName =
  /^SERVER_PUSH_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const injectedPort = /^SERVER_PUSH_(\w+_)?PORT=(tcp|udp|sctp):\/\//;

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
      where === `${prefix}TOKEN`
    )
      continue;
    if (injectedName.test(where) || injectedPort.test(`${where}=${text}`)) continue;
    const row = settingsTable.find(({ name }) => toVariable(name) === where);
    if (row !== undefined) entries.set(row.name, { text, where });
    else problems.push(`${toPlain(where)}: unknown setting, expected one that --help lists`);
  }
  return entries;
}

function readFile(file: SettingsSources["file"], problems: string[]): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  if (file === undefined) return entries;
  const path = toPlain(file.path);
  if (file.problem !== undefined)
    problems.push(`--config ${quote(file.path)}: ${file.problem}; expected a TOML file that can be read`);
  for (const [name, value] of Object.entries(file.values)) {
    const where = `${path}: ${toPlain(name)}`;
    const row = settingsTable.find((known) => known.name === name);
    const kind: Kind<unknown> | undefined = row && kinds[row.kind];
    if (kind === undefined) problems.push(`${where}: unknown setting, expected one that --help lists`);
    else if (kind.isText === true && typeof value !== "string")
      problems.push(`${where}: is not text, expected ${kind.expected} in quotes`);
    else if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      entries.set(name, { text: String(value), where });
    else problems.push(`${where}: is neither text, a number nor true or false`);
  }
  return entries;
}

/** A name as it is written, in quotes when it has anything unusual in it. */
function toPlain(name: string): string {
  return /^[\w./: \\-]+$/.test(name) ? name : quote(name);
}

function toVariable(name: string): string {
  return prefix + name.toUpperCase().replaceAll("-", "_");
}

function toCamelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
