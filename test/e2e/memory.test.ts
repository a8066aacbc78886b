/**
 * What a full journal takes in memory: what the README says, whatever the messages are like.
 */
import { expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { compiledFile, startProcess } from "../support/process.ts";
import { readMemory, readMetrics } from "../support/server.ts";

const retained = 64 * 2 ** 20;
/** As the README has it. */
const allowance = 1.4;
const batchBytes = 2 ** 21;

interface Kind {
  readonly name: string;
  readonly size: number;
  readonly toItem: (index: number) => object;
}

const kinds: readonly Kind[] = [
  { name: "tiny, of one user", size: 10, toItem: () => ({ userid: "1" }) },
  { name: "tiny, each of another user", size: 10, toItem: (index) => ({ userid: `user-${index}` }) },
  {
    name: "tiny, each with a key of its own",
    size: 10,
    toItem: (index) => ({ userid: `${index % 1000}`, key: `job-${index}` }),
  },
  { name: "of 1 KiB", size: 1024, toItem: (index) => ({ userid: `${index % 1000}` }) },
  { name: "of 64 KiB", size: 65_536, toItem: (index) => ({ userid: `${index % 1000}` }) },
];

test.each(kinds)(
  "a journal full of messages $name takes no more than the README says",
  async ({ size, toItem }) => {
    await using server = await startProcess([compiledFile, "--port=0", "--retain-count=100000000"]);
    const before = await readMemory(server);
    const message = "x".repeat(size);
    const perBatch = Math.min(10_000, Math.floor(batchBytes / (size + 100)));
    let full = Number.POSITIVE_INFINITY;

    // Until twice as much was pushed as is kept.
    for (let pushed = 0; pushed < 2 * full;) {
      const items = Array.from({ length: perBatch }, () => ({ ...toItem(pushed++), message }));
      const answer = await fetch(`${server.url}/batch`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(items),
      });
      expect(answer.status).toBe(202);
      const kept = (await readMetrics(server)).get("server_push_journal_messages") ?? 0;
      if (kept < pushed) full = Math.min(full, pushed);
    }

    expect((await readMetrics(server)).get("server_push_journal_bytes")).toBeGreaterThan(0.98 * retained);
    await eventually(
      "what was garbage to be gone",
      async () => (await readMemory(server)) - before <= allowance * retained,
      20_000,
    );
  },
  60_000,
);
