/**
 * The keys of publishers: which are taken, which are refused, and with what words.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseKeyFile, PublisherKeys } from "../../src/auth/publisher.ts";
import { isApiKey } from "../../src/kinds.ts";

const first = "0123456789abcdef";
const second = "fedcba9876543210";

const headersOf = (authorization?: string) =>
  new Headers(authorization === undefined ? {} : { Authorization: authorization });

test("without keys everybody may", () => {
  const keys = new PublisherKeys([]);

  expect(() => keys.check(headersOf())).not.toThrow();
  expect(() => keys.check(headersOf("Basic eDp5"))).not.toThrow();
});

describe("with keys", () => {
  const keys = new PublisherKeys([first, second]);

  test.each([`Bearer ${first}`, `Bearer ${second}`, `bearer ${first}`, `BEARER   ${second}  `])(
    "%j is taken",
    (authorization) => {
      expect(() => keys.check(headersOf(authorization))).not.toThrow();
    },
  );

  test("each has a name of its own, which is not the key and outlasts a replacement of the others", () => {
    const replaced = new PublisherKeys([first, second]);
    const names = [first, second].map((key) => replaced.check(headersOf(`Bearer ${key}`)));

    replaced.replace([second, first]);

    expect(new Set(names).size).toBe(2);
    expect([first, second].map((key) => replaced.check(headersOf(`Bearer ${key}`)))).toEqual(names);
    for (const name of names) expect(name).not.toMatch(new RegExp(`${first}|${second}`));
  });

  test.each([
    [undefined, "missing"],
    ["Basic eDp5", "missing"],
    ["Bearer", "malformed"],
    ["", "malformed"],
    [first, "malformed"],
    [`Bearer ${first} ${second}`, "malformed"],
    [`Bearer ${first}0`, "invalid"],
  ])("%j is refused as one that is %s", (authorization, fault) => {
    expect(() => keys.check(headersOf(authorization))).toThrow(expect.objectContaining({ fault }));
  });

  const wrong = "the key in Authorization is not one of the API keys";
  const malformed = 'the header Authorization is malformed, expected "Authorization: Bearer KEY"';
  test.each([
    [undefined, 'the header Authorization is missing, expected "Authorization: Bearer KEY"'],
    ["", malformed],
    ["Bearer", malformed],
    [first, malformed],
    [`Basic ${first}`, 'no Bearer in the header Authorization, expected "Authorization: Bearer KEY"'],
    [`Bearer ${first} ${second}`, malformed],
    [`Bearer ${first},${second}`, wrong],
    [`Bearer ${first}0`, wrong],
    [`Bearer ${first.slice(0, -1)}`, wrong],
    [`Bearer ${first.toUpperCase()}`, wrong],
    ["Bearer x", wrong],
  ])("%j is refused, and it is said why", (authorization, detail) => {
    expect(() => keys.check(headersOf(authorization))).toThrow(
      expect.objectContaining({ code: "unauthorized", detail }),
    );
  });

  test("only these are taken, whatever is given", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[!-~]{1,64}$/), (given) => {
        const check = () => keys.check(headersOf(`Bearer ${given}`));
        if (given === first || given === second) expect(check).not.toThrow();
        else expect(check).toThrow(expect.objectContaining({ code: "unauthorized" }));
      }),
    );
  });

  test("what is refused is in no word of the refusal", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[!-~]{16,64}$/), (given) => {
        try {
          keys.check(headersOf(`Bearer ${given}`));
          expect.unreachable();
        } catch (error) {
          expect(String(error)).not.toContain(given);
        }
      }),
    );
  });
});

test("keys that replace others are the only ones from then on", () => {
  const keys = new PublisherKeys([first]);

  keys.replace([second]);

  expect(() => keys.check(headersOf(`Bearer ${second}`))).not.toThrow();
  expect(() => keys.check(headersOf(`Bearer ${first}`))).toThrow();
});

describe("a file of keys", () => {
  test("has one a line, beside empty lines and comments", () => {
    expect(parseKeyFile(`# of November\n${first}\r\n\n  ${second}  \n`)).toEqual([first, second]);
  });

  test.each([
    [`${first}\nshort\n`, "line 2 is not a key, expected each of 16 to 256 characters"],
    [`${first},${second}`, "line 1 is not a key"],
    ["", "it has no key"],
    ["# nothing\n", "it has no key"],
  ])("that is %j is refused, and nothing of it is shown", (text, problem) => {
    const result = parseKeyFile(text);

    expect(result).toStartWith(problem);
    expect(result).not.toContain("short");
  });
});

test("a key is of 16 to 256 characters that need no quotes in a header", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 14, maxLength: 20 }), (text) => {
      expect(isApiKey(text)).toBe(/^[\x21-\x2b\x2d-\x7e]{16,}$/.test(text));
    }),
  );
});
