import { describe, expect, test } from "bun:test";
import { setImmediate } from "node:timers/promises";
import { type Job, Slices } from "../../src/journal/slices.ts";

/** A job of so many messages of 10 bytes each, that writes down what was done. */
function toJob(name: string, count: number, done: string[]): Job {
  return {
    count,
    step(index) {
      done.push(`${name}${index}`);
      return 10;
    },
    done: () => void done.push(`${name} done`),
  };
}

describe("slices", () => {
  test("do at once what a turn has room for", () => {
    const done: string[] = [];

    new Slices(100).add(toJob("a", 3, done));

    expect(done).toEqual(["a0", "a1", "a2", "a done"]);
  });

  test("do the rest in the turns after, in order, one job after the other", async () => {
    const slices = new Slices(30);
    const done: string[] = [];
    const counts: number[] = [];

    slices.add(toJob("a", 4, done));
    slices.add(toJob("b", 4, done));
    for (let turn = 0; turn < 3; turn++) {
      counts.push(done.filter((entry) => !entry.endsWith("done")).length);
      await setImmediate();
    }

    expect(counts).toEqual([3, 6, 8]);
    expect(done).toEqual(["a0", "a1", "a2", "a3", "a done", "b0", "b1", "b2", "b3", "b done"]);
  });

  test("do one that is larger than a turn by itself", () => {
    const done: string[] = [];

    new Slices(5).add(toJob("a", 1, done));

    expect(done).toEqual(["a0", "a done"]);
  });

  test("leave out nothing that comes while they wait, and let nothing overtake it", async () => {
    const slices = new Slices(20);
    const done: string[] = [];
    slices.add(toJob("a", 3, done));

    const mayOvertake = slices.take(1);
    await setImmediate();

    expect([mayOvertake, slices.take(1)]).toEqual([false, true]);
    expect(done).toEqual(["a0", "a1", "a2", "a done"]);
  });

  test("let through so much without a job, and then have the next one wait", async () => {
    const slices = new Slices(20);
    const done: string[] = [];

    const taken = [slices.take(10), slices.take(10), slices.take(10)];
    slices.add(toJob("a", 1, done));
    const before = done.length;
    await setImmediate();

    expect([taken, before, done.length]).toEqual([[true, true, false], 0, 2]);
  });

  test("are all done when they are finished", () => {
    const slices = new Slices(10);
    const done: string[] = [];
    slices.add(toJob("a", 5, done));
    slices.add(toJob("b", 5, done));

    slices.finish();

    expect(done).toHaveLength(12);
  });

  test("take no longer than their time, whatever the bytes", async () => {
    const slices = new Slices(1e9);
    let steps = 0;
    slices.add({
      count: 100,
      step() {
        steps++;
        Bun.sleepSync(1);
        return 1;
      },
      done: () => {},
    });

    expect(steps).toBeLessThan(20);
    slices.finish();
  });
});
