/**
 * Settings at random, as flags, in the environment and in a file: right ones, nearly right ones, and anything. None of them reaches
 * beyond this machine, or beyond the folder that the program is started in.
 */
import fc from "fast-check";
import { type kinds } from "../../src/kinds.ts";
import { settingsTable } from "../../src/settings-table.ts";

type KindName = keyof typeof kinds;

/** What stands for an API key or a secret in values that are none: no word of the program may hold it. */
export const marker = "hush-hush-hush";

const sizes = ["1", "64KiB", "64MiB", "1TiB", "65MiB", "0", "1.5KiB", "1kib", "999999999999999TiB"];
const times = ["10ms", "1s", "30s", "255s", "1h", "365d", "366d", "0s", "-1s", "1 s", "1500ms"];
const counts = ["0", "1", "2", "1000", "1000000", "1000000000", "1000000001", "-1", "1e3", "0x10", "٣"];
/** Within the folder, in which there is a `notes.txt` that is nothing of what is looked for. */
const paths = ["messages.db", "no/such/file", "", "\n", "x".repeat(300), ".", "notes.txt"];

const values: Readonly<Record<KindName, readonly string[]>> = {
  host: ["127.0.0.1", "127.0.0.1", "localhost", "::1", "0.0.0.0", "127.0.0.256", "a b", "", "[::1]", "-"],
  port: ["0", "0", "0", "1", "65535", "65536", "-1", "none", "tcp://10.0.0.1:8888"],
  portOrNone: ["none", "none", "0", "65536", "None"],
  switch: ["true", "false", "1", "0", "yes", ""],
  keys: [
    "0123456789abcdef",
    "0123456789abcdef,fedcba9876543210",
    marker,
    `${marker} ${marker}`,
    `0123456789abcdef,${marker}`,
    `${marker}\u0000`,
  ],
  secret: ["x".repeat(32), "x".repeat(1025), marker, `${marker}\n`],
  name: ["issuer", "", "x".repeat(257), "\u00e9"],
  networks: [
    "loopback",
    "private",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "::/0",
    "::ffff:0:0/95",
    "1.2.3",
    ",",
    ", ,",
    "%",
  ],
  origins: [
    "https://app.example.com",
    "https://*.example.com",
    "*",
    "https://",
    "null",
    "https://[",
    ",",
    "http://a,b",
  ],
  // Those that show when the server listens.
  level: ["info", "debug", "trace", ""],
  format: ["json", "text", "auto", "xml"],
  path: paths,
  count: counts,
  countOrNone: counts,
  rate: counts,
  rateOrNone: [...counts, "none"],
  bytes: sizes,
  buffer: sizes,
  duration: times,
  lifetime: times,
  ping: times,
  urls: ["http://127.0.0.1:9/hook", "https://user:x@127.0.0.1:9/", "ftp://127.0.0.1", "127.0.0.1", ","],
  webhookSecrets: [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_",
    "whsec_%%%",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  ],
  eventTypes: ["user.online", "user.online,user.offline", "user.gone", ","],
  seconds: times,
};

const words = (text: string) => text.split(" ");

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("", " ", "=", "-", "\u202e", "\u001b[2J", "\ud800", "__proto__", "x".repeat(5000)),
);

/** A setting by its name, and a value of its kind; what leads somewhere, or is a secret, has no other. */
const known = fc
  .constantFrom(...settingsTable)
  .chain(({ name, kind }) =>
    fc.tuple(
      fc.constant<string>(name),
      ["host", "port", "path", "keys", "secret"].includes(kind)
        ? fc.constantFrom(...values[kind])
        : fc.oneof(
            { weight: 5, arbitrary: fc.constantFrom(...values[kind]) },
            { weight: 1, arbitrary: anyText },
          ),
    ),
  );

const unknown = fc.tuple(
  fc.oneof(
    fc.constantFrom("", "\n", "port ", ...words("prot Port -port no-insecure constructor __proto__ config2")),
    anyText,
  ),
  anyText,
);

type Entry = readonly [name: string, value: string];

/** Mostly few, as a mistake in any refuses all of them. */
const entries: fc.Arbitrary<Entry[]> = fc.array(
  fc.oneof({ weight: 12, arbitrary: known }, { weight: 1, arbitrary: unknown }),
  { maxLength: 5 },
);

const toVariable = (name: string) => `SERVER_PUSH_${name.toUpperCase().replaceAll("-", "_")}`;

const flag: fc.Arbitrary<readonly string[]> = fc.oneof(
  { weight: 8, arbitrary: known.map(([name, value]) => [`--${name}=${value}`]) },
  { weight: 4, arbitrary: known.map(([name, value]) => [`--${name}`, value]) },
  { weight: 1, arbitrary: unknown.map(([name, value]) => [`--${name}=${value}`]) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ["--insecure"],
      ["--http2"],
      ["-"],
      ["-x"],
      ["pish"],
      ["--"],
      ["--ping"],
      [`-api-key=${values.keys[0]}`],
    ),
  },
);

/** The arguments of the server, slips of all kinds among them. */
export const serverArguments: fc.Arbitrary<string[]> = fc
  .array(flag, { maxLength: 4 })
  .map((flags) => flags.flat());

export const environment: fc.Arbitrary<Record<string, string>> = entries.map((all) =>
  Object.fromEntries(all.map(([name, value]) => [toVariable(name), value])),
);

/** What a file may hold once it is parsed. */
export const fileValues: fc.Arbitrary<Record<string, unknown>> = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: known },
      {
        weight: 1,
        arbitrary: fc
          .tuple(known, fc.jsonValue({ maxDepth: 2 }))
          .map(([[name], value]) => [name, value] as const),
      },
      { weight: 1, arbitrary: fc.tuple(anyText, fc.jsonValue({ maxDepth: 2 })) },
    ),
    { maxLength: 5 },
  )
  .map((all) => Object.fromEntries(all));

const tomlValue = (value: string) =>
  fc.constantFrom(JSON.stringify(value), `'${value}'`, value, `[${JSON.stringify(value)}]`, `"""${value}"""`);

/** The text of a file, or of what somebody took for one; each character is a byte. */
export const fileText: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .array(
        known.chain(([name, value]) => tomlValue(value).map((written) => `${name} = ${written}`)),
        { maxLength: 4 },
      )
      .map((lines) => Buffer.from(lines.join("\n")).toString("latin1")),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom("[[a]]\n", "\xff", "\xef\xbb\xbf", ...words(`[ a=[ a={b= [a. # " a. a=' 1e`)),
        fc.constantFrom(1, 2, 100, 20_000),
      )
      .map(([part, count]) => part.repeat(count)),
  },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  },
);

const clientFlags = words(
  "--userid=1 --compid=inbox --all --json --binary --count=1 --since=all --token=x --api-key=0123456789abcdef",
);
const wrongClientFlags = [
  `--api-key=${marker} `,
  `--token=${marker} `,
  "--event=\n",
  ...words(
    "--url= --url=ws://x --url=http://[ --url=http://127.0.0.1:99999 --idempotency-key=\u00e9 --ttl=x",
  ),
  ...words("--count=0 --count --userid - -x"),
];

/** The arguments of the commands that call a server. It is not there: what is tried is what comes before it is asked. */
export const clientArguments: fc.Arbitrary<string[]> = fc
  .tuple(
    fc.constantFrom("push", "listen"),
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom(...clientFlags) },
        { weight: 2, arbitrary: fc.constantFrom(...wrongClientFlags) },
        { weight: 1, arbitrary: anyText },
      ),
      { maxLength: 5 },
    ),
  )
  .map(([command, more]) => [command, "--url=http://127.0.0.1:1"].concat(more));
