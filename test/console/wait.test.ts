/**
 * What is done again and again for as long as a page is open, for days, waits between: nothing of that may add up.
 */
import { expect, test } from "bun:test";
import { next, pause } from "../../src/console/wait.ts";

/** A signal that counts who listens to it. */
function makeCounted() {
  const controller = new AbortController();
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  let count = 0;
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    count++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    count--;
    remove(...args);
  };
  return { signal, countListeners: () => count, abort: () => controller.abort() };
}

test("a pause that is over leaves no listener behind", async () => {
  const { signal, countListeners } = makeCounted();

  for (let index = 0; index < 10; index++) await pause(0, signal);

  expect(countListeners()).toBe(0);
});

test("neither does an event that has come", async () => {
  const { signal, countListeners } = makeCounted();
  const target = new EventTarget();

  const waiting = next(target, "turn", signal);
  expect(countListeners()).toBe(1);
  target.dispatchEvent(new Event("turn"));
  await waiting;

  expect(countListeners()).toBe(0);
});

test("both end when the signal says so", async () => {
  const { signal, countListeners, abort } = makeCounted();
  const waiting = [pause(1_000_000, signal), next(new EventTarget(), "turn", signal)];

  abort();
  await Promise.all(waiting);

  expect(countListeners()).toBe(0);
});
