import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { DescriptorWatch } from "../src/descriptors.ts";
import { createLogger } from "../src/logger.ts";
import type { LogLine } from "./support/server.ts";

function createWatch(limit: number, findFree?: () => number) {
  const log: LogLine[] = [];
  const target = { write: (line: string) => void log.push(JSON.parse(line)) };
  const logger = createLogger({ level: "info", format: "json", target });
  const watch = new DescriptorWatch({ limit, logger, ...(findFree !== undefined && { findFree }) });
  watch.stop();
  return { watch, log };
}

test("file descriptors are scarce from 95 in 100 on, which is said once, and once when it is over", () => {
  let free = 0;
  const { watch, log } = createWatch(100, () => free);

  for (free of [3, 94, 95, 96, Infinity, 95, 94, 10]) {
    watch.check();
    expect(watch.areScarce).toBe(free >= 95);
  }

  expect(log.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
    "warn: nearly all file descriptors are used: new connections will have to wait",
    "info: there are file descriptors again",
  ]);
});

test("those that are really open count", () => {
  const opened = Array.from({ length: 50 }, () => openSync("/dev/null", "r"));
  const { watch } = createWatch(50);

  watch.check();
  const before = watch.areScarce;
  for (const descriptor of opened) closeSync(descriptor);

  expect(before).toBe(true);
});
