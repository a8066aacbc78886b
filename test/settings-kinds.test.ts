/**
 * Every kind of value that a setting can have: what is taken, what is refused, and with what words.
 */
import { describe, expect, test } from "bun:test";
import { problemsOf, settingsOf, sourcesOf } from "./support/settings.ts";

/** Of each kind of value one setting, with texts that it takes and texts that it does not. */
const kinds: readonly { name: string; takes: Record<string, unknown>; refuses: string[] }[] = [
  {
    name: "host",
    takes: { "127.0.0.1": "127.0.0.1", localhost: "localhost", "::1": "::1", "127.8.8.8": "127.8.8.8" },
    refuses: ["", "a b", "http://localhost", "[::1]", "localhost\n", "--insecure"],
  },
  {
    name: "port",
    takes: { "0": 0, "8080": 8080, "65535": 65_535 },
    refuses: ["", "65536", "-1", "1.5", "80a", "0x50", "1e3", " 80", "٣"],
  },
  {
    name: "data",
    takes: { "messages.db": "messages.db", "/var/lib/my push/ü.db": "/var/lib/my push/ü.db" },
    refuses: ["", "a\0b"],
  },
  {
    name: "max-sessions",
    takes: { "1": 1, "007": 7, "1000000000": 1e9 },
    refuses: ["", "0", "1000000001", "9".repeat(30), "many"],
  },
  { name: "retain-count", takes: { "0": 0, "1000000000": 1e9 }, refuses: ["", "-1", "1000000001"] },
  {
    name: "retain-bytes",
    takes: { "1": 1, "2B": 2, "2KB": 2e3, "3MB": 3e6, "1GB": 1e9, "4KiB": 4096, "1TiB": 2 ** 40 },
    refuses: ["", "0", "2TiB", "64kib", "64 KiB", "1.5MiB", "KiB", "1constructor", "1e3"],
  },
  {
    name: "max-queued",
    takes: { "64KiB": 65_536, "64MiB": 2 ** 26 },
    refuses: ["0", "65MiB", "1TiB", "big"],
  },
  {
    name: "retain-time",
    takes: { "10ms": 10, "25s": 25_000, "10m": 600_000, "1h": 3_600_000, "365d": 31_536_000_000 },
    refuses: ["", "9ms", "366d", "10", "1y", "1.5h", "10 m", "1H", "-1s"],
  },
  {
    name: "max-token-time",
    takes: { "1s": 1000, "1500ms": 1500, "24h": 86_400_000, "365d": 31_536_000_000 },
    refuses: ["", "999ms", "500ms", "366d", "10"],
  },
  { name: "ping", takes: { "100ms": 100, "1h": 3_600_000 }, refuses: ["99ms", "61m", "25"] },
  {
    name: "http-timeout",
    takes: { "5s": 5000, "6000ms": 6000, "255s": 255_000 },
    refuses: ["4s", "5500ms", "256s", "30"],
  },
  {
    name: "log-level",
    takes: { error: "error", warn: "warn", info: "info", debug: "debug" },
    refuses: ["", "trace", "INFO"],
  },
  { name: "log-format", takes: { auto: "auto", json: "json", text: "text" }, refuses: ["", "xml"] },
  {
    name: "allow-origin",
    takes: {
      "https://app.example.com": ["https://app.example.com"],
      "https://*.example.com,http://localhost:5173": ["https://*.example.com", "http://localhost:5173"],
    },
    refuses: [
      "",
      "*",
      "null",
      "app.example.com",
      "https://app.example.com/",
      "https://App.example.com",
      "https://app.example.com:443",
      "https://a*.example.com",
      "https://*.*.example.com",
      "https://a.example.com, https://b.example.com",
      "ftp://app.example.com",
    ],
  },
  { name: "max-receive-rate", takes: { "1": 1, "1000000": 1e6 }, refuses: ["", "0", "1000001", "1.5"] },
  { name: "max-push-rate", takes: { "0": 0, "1000000": 1e6 }, refuses: ["", "-1", "1000001", "none"] },
  {
    name: "trusted-proxies",
    takes: { loopback: expect.objectContaining({ isEmpty: false }), "10.0.0.0/8,::1": expect.anything() },
    refuses: ["", "10.0.0.1/8", "10.0.0", "proxy.example.com", "010.0.0.1"],
  },
  {
    name: "insecure",
    takes: { true: true, false: false, "1": true, "0": false },
    refuses: ["", "yes", "TRUE"],
  },
];

describe("from any source", () => {
  for (const { name, takes, refuses } of kinds) {
    const key = name.replace(/-./g, (found) => found.slice(1).toUpperCase());

    for (const [text, value] of Object.entries(takes))
      test(`--${name} takes ${text}`, () => {
        for (const source of sourcesOf(name, text)) expect(settingsOf(source)).toHaveProperty(key, value);
      });

    for (const text of refuses)
      test(`--${name} refuses ${JSON.stringify(text)}, and says what was expected`, () => {
        for (const source of sourcesOf(name, text))
          expect(problemsOf(source)).toEqual([
            expect.stringMatching(
              /^(--|SERVER_PUSH_|push\.toml: )[\w-]+: (".*"|what it is set to) is not .*(or|to|a) /,
            ),
          ]);
      });
  }
});

describe("API keys", () => {
  test.each([
    ["0123456789abcdef", ["0123456789abcdef"]],
    ["0123456789abcdef,fedcba9876543210", ["0123456789abcdef", "fedcba9876543210"]],
    ["!".repeat(256), ["!".repeat(256)]],
  ])("may be %s", (text, keys) => {
    for (const source of sourcesOf("api-key", text)) expect(settingsOf(source).apiKey).toEqual(keys);
  });

  test.each([
    "",
    "0123456789abcde",
    "0123456789abcdef,",
    "0123456789abcdef,short",
    "0123456789 abcdef",
    "é".repeat(16),
    "x".repeat(257),
  ])("may not be %s, of which nothing is shown", (text) => {
    for (const source of sourcesOf("api-key", text))
      expect(problemsOf(source)).toEqual([
        expect.stringMatching(
          /^(--|SERVER_PUSH_|push\.toml: )[\w-]+: what it is set to is not one key or several .* without spaces and commas$/,
        ),
      ]);
  });
});
