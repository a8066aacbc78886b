/**
 * What a session may send, by a clock that the test moves.
 */
import { expect, test } from "bun:test";
import { Inflow, type Verdict } from "../../src/receive/inflow.ts";

const judgeMany = (inflow: Inflow, count: number, now = 0): Verdict[] =>
  Array.from({ length: count }, () => inflow.judge(now));

const times = (count: number, verdict: Verdict) => Array.from({ length: count }, () => verdict);

test("ten seconds' worth of frames are taken at once, as many again are refused, and the next ends the session", () => {
  const inflow = new Inflow(2);

  expect(judgeMany(inflow, 42)).toEqual([
    ...times(20, "taken"),
    ...times(20, "refused"),
    ...times(2, "ended"),
  ]);
});

test("who sends at the limit is never refused", () => {
  const inflow = new Inflow(2);
  judgeMany(inflow, 20);

  for (let frame = 1; frame <= 10_000; frame++) expect(inflow.judge(frame * 500)).toBe("taken");
});

test("who sends up to twice as many is told so, and not ended", () => {
  const inflow = new Inflow(2);
  const seen = new Set<Verdict>();

  for (let frame = 1; frame <= 10_000; frame++) seen.add(inflow.judge(frame * 250));

  expect([...seen]).toEqual(["taken", "refused"]);
});

test("who sends more is ended, also when some of it is taken in between", () => {
  const inflow = new Inflow(2);
  let now = 0;

  while (inflow.judge(now) !== "ended") now += 1000 / 7;

  expect(now).toBeWithin(5000, 15_000);
});

test("pings and pongs count by themselves, and are never refused: too many end the session", () => {
  const inflow = new Inflow(2);
  judgeMany(inflow, 20);

  const seen = Array.from({ length: 22 }, () => inflow.judgeControl(0));

  expect(seen).toEqual([...times(20, "taken"), ...times(2, "ended")]);
  expect(inflow.judgeControl(500)).toBe("taken");
});
