/**
 * The kinds of values that a setting can have, each with what it expects in words. Pure.
 */
import { type EventType, eventTypes } from "./event-types.ts";
import { Networks, parseNetworks } from "./peer.ts";

export interface Kind<Value> {
  /** What a value looks like, as it ends the sentence "expected …". */
  readonly expected: string;
  /** What stands for the value in the help; a switch has none. */
  readonly placeholder?: string;
  /** That a file has it in quotes: any text would do, so a number or a switch is a mistake and not its name. */
  readonly isText?: true;
  /** That a value is shown nowhere, whatever is wrong with it. */
  readonly isSecret?: true;
  /** What it is where there is no value and no default. */
  readonly absent?: Value;
  /** `undefined` for what is not a value of this kind. */
  parse(text: string): Value | undefined;
}

/** What an API key is, as it ends a sentence that begins with "each". */
export const apiKeyRule = "of 16 to 256 characters of printable ASCII without spaces and commas";

export function isApiKey(text: string): boolean {
  return /^[!-+\--~]{16,256}$/.test(text);
}

/** As browsers write it: without a path, in lower case, without the scheme's own port. A `*` stands for one or more labels. */
function isOrigin(text: string): boolean {
  const plain = text.replace(/^(https?:\/\/)\*\./, "$1");
  return /^https?:\/\/[^*]+$/.test(plain) && URL.parse(plain)?.origin === plain;
}

export const kinds = {
  host: {
    expected: "a host name or an IP address",
    placeholder: "HOST",
    isText: true,
    parse: (text) => (/^[\w.:][\w.:%-]*$/.test(text) ? text : undefined),
  } satisfies Kind<string>,
  port: {
    expected: "a port from 0 to 65535",
    placeholder: "PORT",
    parse: (text) => integer(text, 0, 65535),
  } satisfies Kind<number>,
  portOrNone: {
    expected: "a port from 0 to 65535, or none",
    placeholder: "PORT",
    parse: (text) => (text === "none" ? text : integer(text, 0, 65535)),
  } satisfies Kind<number | "none">,
  count: {
    expected: "a whole number from 1 to 1000000000",
    placeholder: "N",
    parse: (text) => integer(text, 1, 1e9),
  } satisfies Kind<number>,
  countOrNone: {
    expected: "a whole number from 0 to 1000000000",
    placeholder: "N",
    parse: (text) => integer(text, 0, 1e9),
  } satisfies Kind<number>,
  bytes: {
    expected: "a size from 1 to 1TiB (such as 65536, 64KiB or 1MiB)",
    placeholder: "SIZE",
    parse: (text) => scaled(text, byteUnits, 1, 2 ** 40),
  } satisfies Kind<number>,
  buffer: {
    expected: "a size from 1 to 64MiB (such as 65536, 64KiB or 1MiB)",
    placeholder: "SIZE",
    parse: (text) => scaled(text, byteUnits, 1, 2 ** 26),
  } satisfies Kind<number>,
  duration: {
    expected: "a duration from 10ms to 365d (a whole number and ms, s, m, h or d, such as 10m)",
    placeholder: "TIME",
    parse: (text) => scaled(text, timeUnits, 10, 365 * 86_400_000),
  } satisfies Kind<number>,
  lifetime: {
    expected: "a duration from 1s to 365d (a whole number and ms, s, m, h or d, such as 24h)",
    placeholder: "TIME",
    parse: (text) => scaled(text, timeUnits, 1000, 365 * 86_400_000),
  } satisfies Kind<number>,
  ping: {
    expected: "a duration from 100ms to 1h (such as 25s)",
    placeholder: "TIME",
    parse: (text) => scaled(text, timeUnits, 100, 3_600_000),
  } satisfies Kind<number>,
  seconds: {
    // Bun's timer goes in steps of 4 seconds: with less than 5, a connection that has just begun could be cut.
    expected: "a duration from 5s to 255s in whole seconds (such as 30s)",
    placeholder: "TIME",
    parse: (text) => {
      const ms = scaled(text, timeUnits, 5000, 255_000);
      return ms !== undefined && ms % 1000 === 0 ? ms : undefined;
    },
  } satisfies Kind<number>,
  path: {
    expected: "a path",
    placeholder: "FILE",
    isText: true,
    absent: "",
    parse: (text) => (text === "" || text.includes("\0") ? undefined : text),
  } satisfies Kind<string>,
  keys: {
    expected: `one key or several with commas between, each ${apiKeyRule}`,
    placeholder: "KEYS",
    isText: true,
    isSecret: true,
    absent: [],
    parse: (text) => {
      const keys = text.split(",");
      return keys.every(isApiKey) ? keys : undefined;
    },
  } satisfies Kind<readonly string[]>,
  secret: {
    expected: "32 to 1024 characters of printable ASCII",
    placeholder: "SECRET",
    isText: true,
    isSecret: true,
    absent: "",
    parse: (text) => (/^[\x20-\x7e]{32,1024}$/.test(text) ? text : undefined),
  } satisfies Kind<string>,
  name: {
    expected: "a text of 1 to 256 characters of printable ASCII",
    placeholder: "TEXT",
    isText: true,
    absent: "",
    parse: (text) => (/^[\x20-\x7e]{1,256}$/.test(text) ? text : undefined),
  } satisfies Kind<string>,
  networks: {
    expected:
      "addresses and networks with commas between (such as 10.0.0.1, 2001:db8::/32, loopback or private)",
    placeholder: "NETWORKS",
    isText: true,
    absent: new Networks(),
    parse: (text) => (text === "" ? undefined : parseNetworks(text).networks),
  } satisfies Kind<Networks>,
  rate: {
    expected: "a whole number from 1 to 1000000 a second",
    placeholder: "N",
    parse: (text) => integer(text, 1, 1e6),
  } satisfies Kind<number>,
  rateOrNone: {
    expected: "a whole number from 0 to 1000000 a second, 0 for no limit",
    placeholder: "N",
    parse: (text) => integer(text, 0, 1e6),
  } satisfies Kind<number>,
  origins: {
    expected: "origins with commas between (such as https://app.example.com or https://*.example.com)",
    placeholder: "ORIGINS",
    isText: true,
    absent: [],
    parse: (text) => {
      const origins = text.split(",");
      return origins.every(isOrigin) ? origins : undefined;
    },
  } satisfies Kind<readonly string[]>,
  urls: {
    expected: "URLs with commas between, each http or https (such as https://app.example.com/hook)",
    placeholder: "URLS",
    isText: true,
    isSecret: true,
    absent: [],
    parse: (text) => {
      const urls = text.split(",");
      return urls.every((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? "")) ? urls : undefined;
    },
  } satisfies Kind<readonly string[]>,
  webhookSecrets: {
    expected: "one secret or several with commas between, each whsec_ and 24 to 64 bytes as base64",
    placeholder: "SECRETS",
    isText: true,
    isSecret: true,
    absent: [],
    parse: (text) => {
      const secrets = text.split(",").map(toWebhookSecret);
      return secrets.some((secret) => secret === undefined)
        ? undefined
        : secrets.filter((one) => one !== undefined);
    },
  } satisfies Kind<readonly Uint8Array[]>,
  eventTypes: {
    expected: `types of events with commas between (${eventTypes.join(", ")})`,
    placeholder: "TYPES",
    isText: true,
    parse: (text) => {
      const wanted = new Set(text.split(","));
      const known = eventTypes.filter((type) => wanted.delete(type));
      return wanted.size === 0 ? known : undefined;
    },
  } satisfies Kind<readonly EventType[]>,
  level: choice("error", "warn", "info", "debug"),
  format: choice("auto", "json", "text"),
  switch: {
    expected: "true or false",
    parse: (text) =>
      text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : undefined,
  } satisfies Kind<boolean>,
};

/** As Standard Webhooks writes it. */
function toWebhookSecret(text: string): Uint8Array | undefined {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(text) ?? [];
  const bytes = base64 === undefined ? undefined : Buffer.from(base64, "base64");
  return bytes !== undefined && bytes.length >= 24 && bytes.length <= 64 ? bytes : undefined;
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
