import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createLogger, type LogFormat, type Logger, type LogLevel } from "../src/logger.ts";

/** Letters, and what ends a line, moves a cursor or reverses the direction of writing, in one and in two UTF-16 units. */
const unit = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  fc.constantFrom("\0", "\b", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"),
  fc.constantFrom(
    "\u061c",
    "\u200b",
    "\u200e",
    "\u200f",
    "\u202e",
    "\u2066",
    "\u2069",
    "\ufeff",
    "\u{e0041}",
  ),
  fc.constantFrom(" ", "  ", "=", '"', "\\", "'", "é", "😀", "\ud800", "\udc00"),
);
const text = fc.string({ unit, maxLength: 60 });
const value = fc.oneof(text, fc.double(), fc.integer(), fc.boolean(), fc.constant(undefined));
/** The names of fields are constants of ours. */
const fields = fc.dictionary(fc.constantFrom("id", "userid", "compid", "error", "bytes", "path"), value);

describe("a line of JSON", () => {
  test("is one object and one line, whatever the fields hold", () => {
    fc.assert(
      fc.property(fields, (given) => {
        const [line = "", ...more] = logged("json", "info", ({ info }) => info("session opened", given));

        expect(more).toEqual([]);
        expect(line).toEndWith("}\n");
        expect(line.slice(0, -1)).not.toMatch(/[\n\r]/);
        expect(JSON.parse(line)).toMatchObject({ level: "info", msg: "session opened" });
      }),
      { numRuns: 1000 },
    );
  });

  test("holds every text of a field as it was", () => {
    fc.assert(
      fc.property(text, text, (userid, compid) => {
        const [line = ""] = logged("json", "info", ({ info }) => info("push", { userid, compid }));

        expect(JSON.parse(line)).toMatchObject({ userid, compid });
      }),
    );
  });

  test("says when, in the ISO format", () => {
    const [line = ""] = logged("json", "info", ({ info }) => info("listening"));

    const { time } = JSON.parse(line);
    expect(new Date(time).toISOString()).toBe(time);
  });

  test("has no field for what is undefined", () => {
    const [line = ""] = logged("json", "info", ({ info }) => info("push", { userid: undefined, bytes: 5 }));

    expect(JSON.parse(line)).toEqual({ level: "info", time: expect.any(String), msg: "push", bytes: 5 });
  });
});

describe("a line of text", () => {
  test("is one line without anything that a terminal acts on, whatever the fields hold", () => {
    fc.assert(
      fc.property(fields, (given) => {
        const [line = "", ...more] = logged("text", "info", ({ info }) => info("session opened", given));

        expect(more).toEqual([]);
        expect(line).toEndWith("\n");
        expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
      { numRuns: 2000 },
    );
  });

  test("holds every text as it was: plain, or as JSON", () => {
    fc.assert(
      fc.property(text, (userid) => {
        const [line = ""] = logged("text", "info", ({ info }) => info("push", { userid }));
        const shown = line.slice(line.indexOf("userid=") + "userid=".length, -1);

        expect(shown.startsWith('"') ? JSON.parse(shown) : shown).toBe(userid);
      }),
      { numRuns: 2000 },
    );
  });

  for (const [userid, shown] of Object.entries({
    "7": "7",
    "é-1_a.b:c/d@e+f": "é-1_a.b:c/d@e+f",
    "7  id=8Jk": '"7  id=8Jk"',
    "7=8": '"7=8"',
    'a"b': '"a\\"b"',
    "": '""',
    "7\n12:30:01 info  push": '"7\\n12:30:01 info  push"',
  }))
    test(`shows a value so that it cannot look like another field or another line: ${shown}`, () => {
      const [line] = logged("text", "info", ({ info }) => info("push", { userid, compid: "inbox" }));

      expect(line).toEndWith(` info  push  userid=${shown}  compid=inbox\n`);
    });

  test("has the time of day, the level, the event and the fields", () => {
    const [line] = logged("text", "info", ({ warn }) => warn("slow", { id: "8Jk-_", bytes: 17, ok: true }));

    expect(line).toMatch(/^\d\d:\d\d:\d\d warn {2}slow {2}id=8Jk-_ {2}bytes=17 {2}ok=true\n$/);
  });
});

describe("a level", () => {
  const levels = ["error", "warn", "info", "debug"] as const;
  for (const [at, level] of levels.entries())
    for (const format of ["json", "text"] as const)
      test(`shows itself and what is worse: ${level} in ${format}`, () => {
        const lines = logged(format, level, (logger) => {
          for (const each of levels) logger[each](`at ${each}`);
        });

        expect(lines.map((line) => /at (\w+)/.exec(line)?.[1])).toEqual(levels.slice(0, at + 1));
      });
});

describe("activity", () => {
  const shown: readonly (readonly [LogFormat, LogLevel, boolean])[] = [
    ["text", "warn", false],
    ["text", "info", true],
    ["text", "debug", true],
    ["json", "info", false],
    ["json", "debug", true],
  ];
  for (const [format, level, isShown] of shown)
    test(`is ${isShown ? "" : "not "}shown at ${level} in ${format}, and the logger says so beforehand`, () => {
      const lines: string[] = [];
      const logger = create(format, level, lines);

      logger.activity("session opened", { id: "8Jk" });

      expect(lines).toHaveLength(isShown ? 1 : 0);
      expect(logger.showsActivity).toBe(isShown);
    });

  test("is at level debug in json, and at info in text", () => {
    const [json = ""] = logged("json", "debug", ({ activity }) => activity("push"));
    const [line = ""] = logged("text", "debug", ({ activity }) => activity("push"));

    expect(JSON.parse(json).level).toBe("debug");
    expect(line).toContain(" info ");
  });

  test("is not content: a logger shows debug at debug only", () => {
    for (const format of ["json", "text"] as const) {
      expect(create(format, "info", []).showsDebug).toBe(false);
      expect(create(format, "debug", []).showsDebug).toBe(true);
    }
  });
});

function create(format: LogFormat, level: LogLevel, lines: string[]): Logger {
  return createLogger({ format, level, target: { write: (line) => void lines.push(line) } });
}

/** What is written when `act` logs, line by line. */
function logged(format: LogFormat, level: LogLevel, act: (logger: Logger) => void): string[] {
  const lines: string[] = [];
  act(create(format, level, lines));
  return lines;
}
