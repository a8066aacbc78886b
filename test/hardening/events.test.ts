/**
 * Readers of /events that keep a server busy, or do not read at all: what it must do for them has a bound, and nobody else waits.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readEvents } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { openRawSession, opcodes, toFrame } from "../support/frames.ts";
import { push } from "../support/calls.ts";
import { openRaw } from "../support/raw.ts";
import { readMemory, readMetrics } from "../support/server.ts";
import { expectNobodyLate, openSiege } from "../support/siege.ts";
import { type ServerProcess, startProcess } from "../support/process.ts";
import { program } from "../support/program.ts";
import { startWitness } from "../support/witness.ts";

setDefaultTimeout(60_000);

const settings = {
  "max-receive-rate": "1000000",
  "max-message": "64KiB",
  "retain-bytes": "4MiB",
  "retain-events": "20000",
};

/** How many readers the server knows. */
const countReaders = async (server: { readonly url: string }) =>
  (await readMetrics(server)).get("server_push_event_readers");

async function startPlain(): Promise<ServerProcess> {
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  return await startProcess([...program, "--port=0", "--log-format=json", ...flags]);
}

describe("readers that do not read", () => {
  // A back end that hangs, with its connections open, while clients send 30 MB: for each of 40 that would be more than a gigabyte.
  test("have nothing wait for them, and hold up neither who reads nor who is pushed to", async () => {
    await expectNobodyLate(async () => {
      await using server = await startPlain();
      await using witness = startWitness(server);
      await witness.begin();
      const query = "types=message.received";
      await using reader = await readEvents("NDJSON", server, { query });
      const stuck = await Promise.all(Array.from({ length: 40 }, () => readEvents("SSE", server, { query })));
      for (const { raw } of stuck) raw.stopReading();
      await using session = await openRawSession(server);
      const message = toFrame(opcodes.text, "x".repeat(65_000));
      const count = 500;

      for (let sent = 0; sent < count; sent++) {
        await session.raw.write(message);
        expect((await reader.next()).type).toBe("message.received");
      }

      const { worstMs } = await witness.end();
      expect(await readMemory(server)).toBeLessThan(512 * 2 ** 20);
      for (const each of stuck) {
        each.raw.readOn();
        // Retention has passed them: what is on its way still comes, and then the end.
        expect((await each.rest()).length).toBeLessThan(count / 2);
        await using back = await readEvents("SSE", server, { query: `since=${each.position}` });
        expect(back.welcome).toMatchObject({ resumed: false });
        await each[Symbol.asyncDispose]();
      }
      await eventually("the end of all others", async () => (await countReaders(server)) === 1);
      return worstMs;
    });
  });
});

describe("many readers", () => {
  // Each of them wants all that is kept, at one moment.
  test("that begin with all that is kept hold up nobody", async () => {
    await expectNobodyLate(async () => {
      await using server = await startPlain();
      await using witness = startWitness(server);
      await using session = await openRawSession(server);
      const message = toFrame(opcodes.text, "x".repeat(1000));
      const count = 2000;
      for (let sent = 0; sent < count; sent++) await session.raw.write(message);
      await eventually(
        "all messages",
        async () => (await readMetrics(server)).get("server_push_received_total") === count,
      );
      await witness.begin();

      const readers = await Promise.all(
        Array.from({ length: 50 }, () => readEvents("NDJSON", server, { query: "since=all" })),
      );
      await push(server, "userid=nobody&event=last", "x");
      for (const reader of readers) {
        const events = await reader.until(({ data }) => data["event"] === "last");
        expect(events.filter(({ type }) => type === "message.received")).toHaveLength(count);
        await reader[Symbol.asyncDispose]();
      }

      return (await witness.end()).worstMs;
    });
  });

  // What they leave behind must be nothing: no timer, nobody who listens.
  test("that come and go are forgotten, however they go", async () => {
    await using siege = await openSiege(settings);
    await siege.withstand(
      async (server) => {
        for (let round = 0; round < 10; round++) {
          const raws = await Promise.all(Array.from({ length: 100 }, () => openRaw(server)));
          for (const [index, raw] of raws.entries()) {
            await raw.write("GET /events?since=all HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            if (index % 3 !== 0) await raw.answer();
            if (index % 2 === 0) raw.reset();
            else await raw[Symbol.asyncDispose]();
          }
        }
        await eventually("no readers", async () => (await countReaders(server)) === 0);
      },
      { server_push_event_readers: 0 },
    );
  });
});
