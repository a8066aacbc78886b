/**
 * The tail: what is kept of what comes, whatever comes.
 */
import { describe, expect, test } from "bun:test";
import { effect, type ReadonlySignal } from "@preact/signals";
import { pace } from "../../src/console/pace.ts";
import { maxRows, Tail } from "../../src/console/tail.ts";

function add(tail: Tail, kind: string, count: number): void {
  for (let index = 0; index < count; index++)
    tail.add({ at: index, kind, subject: ["123", "inbox"], event: "", text: `${kind} ${index}` });
}

/** Waits until what a signal holds is this. */
function until<Value>(signal: ReadonlySignal<Value>, isWanted: (value: Value) => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = effect(() => {
    if (isWanted(signal.value)) resolve();
  });
  return promise.finally(stop);
}

describe("the tail", () => {
  test("keeps the one event that thousands of messages come after", async () => {
    const tail = new Tail();
    add(tail, "user.offline", 1);
    add(tail, "message", 5000);
    await until(tail.shown, (rows) => rows.length === maxRows);

    tail.kind.value = "user.offline";

    expect(tail.shown.value.map(({ text }) => text)).toEqual(["user.offline 0"]);
    tail.kind.value = "";
    tail.filter.value = "OFFLINE 0";
    expect(tail.shown.value).toHaveLength(1);
  });

  test("keeps of each kind no more than the newest, and shows no more of all", async () => {
    const tail = new Tail();
    add(tail, "message", 1000);
    add(tail, "session.opened", 1000);
    await until(tail.shown, (rows) => rows.length > 0);

    expect(tail.shown.value).toHaveLength(maxRows);
    for (const kind of ["message", "session.opened"]) {
      tail.kind.value = kind;
      expect(tail.shown.value).toHaveLength(maxRows);
      expect(tail.shown.value[0]?.text).toBe(`${kind} 999`);
    }
  });

  test("that is cleared while it is paused counts what has come since", async () => {
    const tail = new Tail();
    add(tail, "message", 5);
    await until(tail.shown, (rows) => rows.length === 5);
    tail.pause();
    add(tail, "message", 3);
    await until(tail.waiting, (count) => count === 3);

    tail.clear();
    expect(tail.waiting.value).toBe(0);
    add(tail, "message", 2);

    await until(tail.waiting, (count) => count > 0);
    expect(tail.waiting.value).toBe(2);
    expect(tail.shown.value).toEqual([]);
    tail.resume();
    expect(tail.shown.value).toHaveLength(2);
  });

  test("finds a message by whom it is for, and by its event", async () => {
    const tail = new Tail();
    add(tail, "message", 1);
    tail.add({ at: 0, kind: "message", subject: ["7"], event: "order", text: "paid" });
    tail.filter.value = "123 / inbox";

    await until(tail.shown, (rows) => rows.length === 1);
    tail.filter.value = "order";
    expect(tail.shown.value.map(({ text }) => text)).toEqual(["paid"]);
  });
});

test("what comes at once is shown once, and what comes later once more", async () => {
  let shown = 0;
  let turn = Promise.withResolvers<void>();
  const show = pace(1, () => {
    shown++;
    turn.resolve();
    turn = Promise.withResolvers();
  });

  for (let index = 0; index < 100; index++) show();
  await turn.promise;
  expect(shown).toBe(1);
  show();
  await turn.promise;
  expect(shown).toBe(2);
});
