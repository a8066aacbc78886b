import { expect, test } from "bun:test";
import { toVisible } from "../../src/console/format.ts";

test.each([
  ["a\u202eb", "a\u2039U+202E\u203ab"],
  ["\u200b", "\u2039U+200B\u203a"],
  ["\ufeff1\u2066", "\u2039U+FEFF\u203a1\u2039U+2066\u203a"],
  ["a\u061cb\u00ad", "a\u2039U+061C\u203ab\u2039U+00AD\u203a"],
  ["1\u{E0041}", "1\u2039U+E0041\u203a"],
  ["a\u2028b\u2029", "a\u2039U+2028\u203ab\u2039U+2029\u203a"],
  ["\u2800\u3164\u115f", "\u2039U+2800\u203a\u2039U+3164\u203a\u2039U+115F\u203a"],
  ["  ", "\u2039U+0020\u203a\u2039U+0020\u203a"],
  ["123 ", "123\u2039U+0020\u203a"],
  ["\u0301", "\u2039U+0301\u203a"],
])("of the id %p everything can be seen", (id, shown) => {
  expect(toVisible(id)).toBe(shown);
});

test("other letters stay what they are, also those that are written from the right", () => {
  for (const id of ["123", "a  b", "e\u0301", "\u0645\u0631\u062d\u0628\u0627", "\u{1F600} \u00e9"])
    expect(toVisible(id)).toBe(id);
});
