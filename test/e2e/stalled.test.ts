/**
 * A reader that stops reading, while others get a thousand messages a second: nobody else is later for it, the server's memory stays
 * bounded, and when it reads again it gets everything, in order, once.
 *
 *   STALLED_SECONDS=60   a whole minute; by default it is shorter, with larger messages
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { toReceipt, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { percentile, pushAtPace, showSpread } from "../support/pace.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { openReader, type Readable, type Reader } from "../support/reader.ts";
import { readMetrics } from "../support/server.ts";
import { type Receiver, streams } from "../support/transports.ts";

const seconds = Number(process.env["STALLED_SECONDS"] ?? 5);
/** Together more than the system's buffers of a connection, and --max-queued, take. */
const messageBytes = Math.ceil(20_000_000 / (seconds * 1000));
const perSecond = 1000;
/** What the server's memory may grow by, beside what the journal keeps: garbage, mostly. */
const spareBytes = 96 * 2 ** 20;

setDefaultTimeout(seconds * 2000 + 60_000);

interface Crowd extends AsyncDisposable {
  /** How late each message came to each of the others, in milliseconds, in the order in which they came. */
  readonly lateness: number[];
  /** Everything that was pushed, with its id, in the journal's order. */
  readonly log: readonly { readonly data: string; readonly id: string }[];
  /** Pushes for so long, and waits until the others have it all. */
  push(ms: number): Promise<void>;
}

const others: readonly Readable[] = ["plain", "push.v1", "SSE", "plain", "push.v1", "SSE"];

async function gather(server: ServerProcess): Promise<Crowd> {
  const sentAt: number[] = [];
  const ids: string[] = [];
  const lateness: number[] = [];
  let delivered = 0;
  const take = (data: string) => {
    delivered++;
    lateness.push(performance.now() - (sentAt[Number(data)] ?? Number.NaN));
  };
  const readers: Reader[] = others.map((transport) =>
    openReader(transport, server, { onNotice: ({ message }) => message !== undefined && take(message.data) }),
  );
  await Promise.all(readers.map(({ begun }) => begun));
  const push = async () => {
    const number = sentAt.push(performance.now()) - 1;
    const body = `${number}`.padEnd(messageBytes);
    const { id } = await toReceipt(await fetch(`${server.url}/pushtoall`, { method: "POST", body }));
    ids[number] = id;
  };
  return {
    lateness,
    get log() {
      return ids
        .map((id, number) => ({ data: `${number}`, id, offset: Number(id.split("-")[1]) }))
        .toSorted((one, other) => one.offset - other.offset);
    },
    async push(ms) {
      await pushAtPace({ perSecond, ms, lanes: 16, push });
      await eventually("all with the others", () => delivered === sentAt.length * others.length, 30_000);
    },
    async [Symbol.asyncDispose]() {
      for (const reader of readers) reader.drop();
      await Promise.all(readers.map(({ ended }) => ended));
    },
  };
}

/** What the server's memory is without what the journal keeps. */
async function readOwnMemory(server: ServerProcess): Promise<number> {
  const metrics = await readMetrics(server);
  const of = (name: string) => metrics.get(name) ?? Number.NaN;
  return of("process_resident_memory_bytes") - of("server_push_journal_bytes");
}

/** What it had, by the numbers of the messages, when it was ended. */
async function readToEnd(receiver: Receiver): Promise<string[]> {
  const had: string[] = [];
  for (;;) {
    const item = await receiver.next().catch(() => undefined);
    if (item === undefined) return had;
    had.push(item.data.trim());
  }
}

describe.each(streams)("while a reader over $name reads nothing", ({ name, hasIds, open }) => {
  test("nobody else is later, memory is bounded, and afterwards it misses nothing", async () => {
    const flags = ["--port=0", "--log-format=json", "--retain-bytes=1GiB", "--retain-count=1000000"];
    await using server = await startProcess([compiledFile, ...flags]);
    await using crowd = await gather(server);
    await crowd.push(seconds * 300);
    const [before, memory, first] = [crowd.lateness.splice(0), await readOwnMemory(server), crowd.log.length];

    await using stalled = await open(server, { query: "userid=1" });
    stalled.stopReading();
    await crowd.push(seconds * 1000);
    const meanwhile = crowd.lateness.splice(0);
    const grown = (await readOwnMemory(server)) - memory;
    await untilSessions(server, others.length);

    process.stdout.write(
      [
        `others, before a reader over ${name} stalls: ${showSpread(before)}`,
        `others, meanwhile: ${showSpread(meanwhile)}; memory grew by ${(grown / 2 ** 20).toFixed(0)} MiB\n`,
      ].join("\n"),
    );
    expect(percentile(meanwhile, 0.99)).toBeLessThan(100 + 5 * percentile(before, 0.99));
    expect(grown).toBeLessThan(spareBytes);
    stalled.readOn();
    const had = await readToEnd(stalled);
    const [log, owed] = [crowd.log, crowd.log.slice(first).map(({ data }) => data)];
    expect(had).toEqual(owed.slice(0, had.length));
    expect(had.length).toBeLessThan(owed.length);
    const lastId = hasIds ? stalled.told.at(-1) : log[first + had.length - 1]?.id;
    await using again = await open(server, { query: "userid=1", since: lastId ?? stalled.start });
    expect(again.resumed).toBe(true);
    while (had.length < owed.length) had.push((await again.next()).data.trim());
    expect(had).toEqual(owed);
  });
});
