/**
 * The limit of open files: every connection takes one, and without any left a server can neither take a connection nor refuse it.
 */
import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { toHandshake } from "../support/frames.ts";
import { push } from "../support/calls.ts";
import type { ServerProcess } from "../support/process.ts";
import { openRaw, type RawAnswer, type RawConnection } from "../support/raw.ts";
import { openSiege, rejections, type Siege } from "../support/siege.ts";

const limit = 120;
const limited = (command: readonly string[]) => [
  "sh",
  "-c",
  `ulimit -n ${limit}; exec "$@"`,
  "sh",
  ...command,
];

const openLimited = (): Promise<Siege> => openSiege({}, limited);

/** The processor's time that the process has taken, in milliseconds: fields 14 and 15 of proc(5), in hundredths of a second. */
async function readCpuMs({ pid }: ServerProcess): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** What part of a core it takes for half a second in which nobody asks for anything but the witness. */
async function readLoad(server: ServerProcess): Promise<number> {
  const [cpu, began] = [await readCpuMs(server), performance.now()];
  await eventually("half a second", () => performance.now() - began >= 500);
  return ((await readCpuMs(server)) - cpu) / (performance.now() - began);
}

/** The next answer; `undefined` when the connection ends without any, or none is there for a second. */
async function answerOf(raw: RawConnection): Promise<RawAnswer | undefined> {
  return await Promise.race([raw.answer().catch(() => undefined), Bun.sleep(1000).then(() => undefined)]);
}

describe(`with ${limit} open files`, () => {
  // More pages than there are files: those that come too late must be told so, and those that are there must notice nothing.
  test("more sessions than that are refused with 503, and those that are there go on", async () => {
    await using siege = await openLimited();
    const sessions: RawConnection[] = [];

    await siege.withstand(
      async (server) => {
        await using first = await connect(server, "userid=first");
        let refused = 0;
        while (refused < 100) {
          const raw = await openRaw(server);
          await raw.write(toHandshake("userid=1"));
          const answer = await answerOf(raw);
          if (answer?.status === 101) sessions.push(raw);
          else {
            expect([answer?.status, answer?.headers.has("retry-after")]).toEqual([503, true]);
            refused++;
          }
        }

        expect((await push(server, "userid=first", "still here")).sessions).toBe(1);
        expect(await first.next()).toBe("still here");
        expect(await readLoad(server)).toBeLessThan(0.5);
        for (const raw of sessions) raw.reset();
      },
      { [rejections("too_many_sessions")]: 100 },
    );
    expect(sessions.length).toBeGreaterThan(limit / 2);
  }, 30_000);

  // The same by who does not even ask: connections take files, too. New ones wait then, as nothing can be told to who cannot be let in.
  test("more connections than that leave those that are there served, and the figures and the log say it", async () => {
    await using siege = await openLimited();

    await siege.withstand(async (server) => {
      await using operator = await openRaw(server);
      const ask = async (path: string) => {
        await operator.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
        return await operator.answer();
      };
      expect((await ask("/readyz")).status).toBe(200);
      const connections = await Promise.all(
        Array.from({ length: 2 * limit }, async () => {
          const raw = await openRaw(server);
          await raw.write("GET /push?userid=1");
          return raw;
        }),
      );

      await eventually("that it says so", async () => (await ask("/readyz")).status === 503);
      const figures = await ask("/metrics");
      expect(figures.status).toBe(200);
      expect(figures.body).toContain(`process_max_fds ${limit}`);
      expect(server.log.some(({ msg }) => msg.startsWith("nearly all file descriptors are used"))).toBe(true);

      for (const raw of connections) raw.reset();
      await eventually("that it is over", async () => (await ask("/readyz")).status === 200);
    }, {});
  }, 30_000);
});
