/**
 * A server under attack, in a process of its own, and what must hold at the end of every attack: others were served meanwhile, what
 * it took is given back, and the figures tell what has happened.
 *
 *   await using siege = await openSiege({ "max-message": "1KiB" });
 *   await siege.withstand(async ({ port }) => { … }, { [rejections("too_large")]: 100 });
 */
import { expect } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { eventually } from "./eventually.ts";
import { type ServerProcess, startProcess } from "./process.ts";
import { program } from "./program.ts";
import { readMetrics } from "./server.ts";
import { mint } from "./tokens.ts";
import { startWitness, type Witness } from "./witness.ts";

/** How late a fast client may be at the most while an attack goes on. */
const latestMs = 250;
/** A virtual machine is away itself now and then: what the server does to others, it does each time. */
const tries = 3;
/** What may be left of an attack in memory: what the process's allocator and compiler keep for the next time. */
const leftBytes = 32 * 2 ** 20;
/** Connections of well-behaved clients, which keep them open for the next request. */
const keptConnections = 16;

/** For how long what is to be so may not be so yet, in milliseconds. */
const settlingMs = 3000;

/** What an attack must be counted as: the name of a figure, and by how much it grows, beside what the witness does. */
export type Counts = Readonly<Record<string, number>>;

/** What an attack did, as far as it is not the same for all. */
export interface Damage {
  /** How far the memory went above what it was before, in bytes. */
  readonly peakBytes: number;
}

export interface Siege extends AsyncDisposable {
  readonly server: ServerProcess;
  /**
   * Lets the attack run, with a witness beside it, and fails unless the server withstands it.
   *
   * @param counts what the figures must show of it, exactly
   */
  withstand(attack: (server: ServerProcess) => Promise<void>, counts: Counts): Promise<Damage>;
}

/** The figures of refusals, and of sessions that ended. */
export const rejections = (code: string) => `server_push_rejections_total{code="${code}"}`;
export const endings = (reason: string) => `server_push_sessions_closed_total{reason="${reason}"}`;

/** @param toCommand puts something before the command line, such as a limit of the system */
export async function openSiege(
  settings: Readonly<Record<string, string>> = {},
  toCommand: (command: readonly string[]) => readonly string[] = (command) => command,
): Promise<Siege> {
  const flags = Object.entries({ port: "0", "log-format": "json", ...settings });
  const command = [...program, ...flags.map(([name, value]) => `--${name}=${value}`)];
  const processes = new AsyncDisposableStack();
  const server = processes.use(await startProcess(toCommand(command)));
  const witness = processes.use(await callWitness(server, settings["api-key"]));
  return {
    server,
    async withstand(attack, counts) {
      let peakBytes = 0;
      await expectNobodyLate(async () => {
        await witness.begin();
        const [before, figures] = [await look(server), await readMetrics(server)];

        await attack(server);

        const { worstMs } = await witness.end();
        peakBytes = Math.max(peakBytes, (await look(server)).peakBytes - before.bytes);
        await expectCounted(server, figures, counts);
        await expectBack(server, before);
        return worstMs;
      });
      return { peakBytes };
    },
    [Symbol.asyncDispose]: () => processes.disposeAsync(),
  };
}

/** Fails when a fast client is late each time that it is tried. */
export async function expectNobodyLate(attempt: () => Promise<number>): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  for (let count = 0; count < tries && least >= latestMs; count++) least = Math.min(least, await attempt());
  expect(least).toBeLessThan(latestMs);
}

/** What the witness does after its attack has begun: the client that comes last. */
const ofWitness: Counts = { server_push_sessions_opened_total: 1 };

async function callWitness(server: ServerProcess, apiKey: string | undefined): Promise<Witness> {
  const { port } = server;
  if (apiKey === undefined) return startWitness({ port });
  return startWitness({ port, credentials: { apiKey, token: await mint(server, "userid=witness") } });
}

interface Holdings {
  readonly bytes: number;
  /** The most since it was looked at before. */
  readonly peakBytes: number;
  readonly files: number;
}

/** What a process holds, as Linux shows it ("VmRSS:  62064 kB"), whatever the process says of itself. */
async function look({ pid }: ServerProcess): Promise<Holdings> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const of = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? Number.NaN) * 1024;
  const files = await readdir(`/proc/${pid}/fd`);
  await writeFile(`/proc/${pid}/clear_refs`, "5");
  return { bytes: of("VmRSS"), peakBytes: of("VmHWM"), files: files.length };
}

async function expectCounted(
  server: ServerProcess,
  before: ReadonlyMap<string, number>,
  counts: Counts,
): Promise<void> {
  const count = async () => {
    const now = await readMetrics(server);
    const grown = (name: string) =>
      (now.get(name) ?? Number.NaN) - (before.get(name) ?? Number.NaN) - (ofWitness[name] ?? 0);
    return Object.fromEntries(Object.keys(counts).map((name) => [name, grown(name)]));
  };
  let counted = await count();
  const isCounted = async () => Bun.deepEquals((counted = await count()), counts);
  await eventually("what it is counted as", isCounted, settlingMs).catch(() => {});
  expect(counted).toEqual(counts);
}

async function expectBack(server: ServerProcess, before: Holdings): Promise<void> {
  let left = before;
  const isBack = async () => {
    left = await look(server);
    return left.bytes <= before.bytes + leftBytes && left.files <= before.files + keptConnections;
  };
  await eventually("what it has taken", isBack, settlingMs).catch(() => {});
  expect(left.bytes - before.bytes).toBeLessThanOrEqual(leftBytes);
  expect(left.files - before.files).toBeLessThanOrEqual(keptConnections);
}
