/**
 * Thousands of clients whose connections are cut every 15 seconds for 2 seconds, while messages are pushed all the time: each has
 * every message that was for it, in order, once.
 *
 *   JITTER_CLIENTS=5000   more clients
 *   JITTER_SPEED=1        as slow as it is on a train; by default time runs ten times as fast
 *   JITTER_SECONDS=600    for so long, by the clock on the wall
 */
import { beforeAll, afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Address, topicsOf, toTopic } from "../../src/address.ts";
import { toReceipt } from "../support/calls.ts";
import { Commuter } from "../support/commuters.ts";
import { eventually } from "../support/eventually.ts";
import { percentile, pushAtPace, showSpread } from "../support/pace.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { readable } from "../support/reader.ts";

const clients = Number(process.env["JITTER_CLIENTS"] ?? 2000);
const speed = Number(process.env["JITTER_SPEED"] ?? 10);
const seconds = Number(process.env["JITTER_SECONDS"] ?? 12);
const [onlineMs, offlineMs] = [15_000 / speed, 2000 / speed];
const perSecond = 250;

setDefaultTimeout(seconds * 1000 + 120_000);

const users = Math.ceil(clients / 4);
const toUser = (number: number): Address => ({ userid: `${number % users}` });

/** Nearly all is for a user, who has four clients; the rest for a component, or for all. */
function toAddress(number: number): Address {
  if (number % 100 === 0) return {};
  if (number % 50 === 0) return { compid: `${number % 4}` };
  const user = toUser(number * 7);
  return number % 3 === 0 ? { ...user, compid: `${number % 4}` } : user;
}

function toQuery(address: Address): string {
  return new URLSearchParams({ ...address }).toString();
}

interface Sent {
  readonly topic: string;
  readonly at: number;
  readonly offset: Promise<number>;
}

describe(`${clients} clients, cut every ${onlineMs} ms for ${offlineMs} ms`, () => {
  let server: ServerProcess;
  let epoch = "";
  const sent = new Map<string, Sent>();
  const received = new Map<Commuter, { readonly data: string; readonly at: number }[]>();
  const topics = new Map<Commuter, readonly string[]>();

  async function push(number: number): Promise<void> {
    const [data, address, offset] = [`${number}`, toAddress(number), Promise.withResolvers<number>()];
    sent.set(data, { topic: toTopic(address), at: performance.now(), offset: offset.promise });
    const path = Object.keys(address).length === 0 ? "/pushtoall" : `/push?${toQuery(address)}`;
    const { id } = await toReceipt(await fetch(server.url + path, { method: "POST", body: data }));
    offset.resolve(Number(id.slice(id.indexOf("-") + 1)));
    epoch = id.slice(0, id.indexOf("-"));
  }

  function board(number: number): Commuter {
    const address = { ...toUser(number), compid: `${number % 4}` };
    const messages: { data: string; at: number }[] = [];
    const commuter = new Commuter({
      server,
      query: toQuery(address),
      first: number,
      onlineMs,
      offlineMs,
      phaseMs: (number / clients) * onlineMs,
      toId: async (data) => `${epoch}-${await sent.get(data)?.offset}`,
      onMessage: (data) => messages.push({ data, at: performance.now() }),
    });
    received.set(commuter, messages);
    topics.set(commuter, topicsOf(address));
    return commuter;
  }

  /** What the client must have, by what the publishers were told: everything for it from where it began. */
  async function toOwed(commuter: Commuter): Promise<string[]> {
    const start = Number(commuter.start?.split("-")[1]);
    const own: { data: string; offset: number }[] = [];
    for (const [data, { topic, offset }] of sent)
      if (topics.get(commuter)?.includes(topic)) own.push({ data, offset: await offset });
    return own
      .filter(({ offset }) => offset > start)
      .toSorted((one, other) => one.offset - other.offset)
      .map(({ data }) => data);
  }

  beforeAll(async () => {
    server = await startProcess([compiledFile, "--port=0", "--log-format=json", "--log-level=info"]);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("have everything that was for them, in order, once", async () => {
    const commuters = Array.from({ length: clients }, (_, number) => board(number));
    await Promise.all(commuters.map(({ begun }) => begun));

    await Promise.race([
      pushAtPace({ perSecond, ms: seconds * 1000, lanes: 8, push }),
      Promise.all(commuters.map(({ over }) => over)),
    ]);
    for (const commuter of commuters) commuter.stay();
    const owed = new Map<Commuter, string[]>();
    for (const commuter of commuters) owed.set(commuter, await toOwed(commuter));
    const lacks = (commuter: Commuter) =>
      (received.get(commuter)?.length ?? 0) < (owed.get(commuter)?.length ?? 0);
    await eventually("everything with everybody", () => !commuters.some(lacks), 30_000).catch(() => {});

    const wrong = commuters.filter(
      (commuter) =>
        !Bun.deepEquals(
          received.get(commuter)?.map(({ data }) => data),
          owed.get(commuter),
        ),
    );
    report(commuters);
    expect(wrong.map((commuter) => [received.get(commuter), owed.get(commuter)]).slice(0, 1)).toEqual([]);
    expect(wrong.length).toBe(0);
    await Promise.all(commuters.map((commuter) => commuter.leave()));
  });

  function report(commuters: readonly Commuter[]): void {
    const [late, live, offline]: [number[], number[], number[]] = [[], [], []];
    for (const commuter of commuters) {
      offline.push(...commuter.windows.map(({ from, to }) => to - from));
      for (const { data, at } of received.get(commuter) ?? []) {
        const pushed = sent.get(data)?.at ?? Number.NaN;
        const wasAway = commuter.windows.some(({ from, to }) => pushed >= from && pushed < to);
        (wasAway ? late : live).push(at - pushed);
      }
    }
    const [least = 0, most = 0] = [percentile(offline, 0), percentile(offline, 1)];
    process.stdout.write(
      [
        `${clients} clients over ${readable.join(", ")} in turn, time ${speed} times as fast, ${seconds} s`,
        `${sent.size} pushed, ${late.length + live.length} delivered, ${offline.length} returns`,
        `away       ${least.toFixed(1)} to ${most.toFixed(1)} ms, ${showSpread(offline)}`,
        `late       ${late.length}: ${showSpread(late)}`,
        `connected  ${live.length}: ${showSpread(live)}\n`,
      ].join("\n"),
    );
  }
});
