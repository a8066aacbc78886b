/**
 * Two hundred pages behind relays that cut, fall silent, refuse and hold back at random, and a server that is killed and restarted
 * meanwhile: each page has exactly what was pushed to its address, once, in order.
 *
 *   LIBRARY_SEED=7        the faults of another run again, as it has printed
 *   LIBRARY_MESSAGES=9000 more of them
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { type Address, topicsOf, toTopic } from "../../src/address.ts";
import type { Transport } from "../../src/client/contract.d.ts";
import { toReceipt, type Target } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { type Gateway, openGateway } from "../support/gateway.ts";
import { type Library, openLibrary } from "../support/listening.ts";
import { pushAtPace } from "../support/pace.ts";
import { type Random, seeded } from "../support/random.ts";
import { openRelay, type Relay } from "../support/relay.ts";
import { startService } from "../support/service.ts";

const seed = Number(process.env["LIBRARY_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const count = Number(process.env["LIBRARY_MESSAGES"] ?? 3000);
const [pageCount, userCount, componentCount, wayCount] = [200, 50, 4, 8];
const perSecond = 400;

setDefaultTimeout(60_000 + (count / perSecond) * 1000);

const times = { first: 50, cap: 400, spread: 400, steady: 2000, open: 1000, better: 1000 };
const allTransports: readonly Transport[] = ["websocket", "sse", "poll"];

interface Page extends Library {
  readonly topics: readonly string[];
}

interface Sent {
  readonly id: string;
  readonly topic: string;
}

/** What stands between some of the pages and the server. */
interface Way {
  readonly relay: Relay;
  readonly gateway: Gateway;
}

/** Most is for one of the users, each of whom has four pages, all of another component. */
function chooseAddress(random: Random): Address {
  const kind = random.below(100);
  if (kind < 2) return {};
  const compid = `${random.below(componentCount)}`;
  if (kind < 6) return { compid };
  const userid = `${random.below(userCount)}`;
  return kind < 40 ? { userid, compid } : { userid };
}

function breakOne({ relay, gateway }: Way, random: Random): void {
  const faults = [
    () => relay.cut(),
    () => relay.mend(),
    () => {
      relay.cut();
      relay.mend();
    },
    () => relay.silence(),
    () => (gateway.upgrades = "refuse"),
    () => (gateway.upgrades = "hang"),
    () => (gateway.streams = "hold"),
    () => mend({ relay, gateway }),
    () => mend({ relay, gateway }),
  ];
  faults[random.below(faults.length)]?.();
}

function mend({ relay, gateway }: Way): void {
  relay.mend();
  gateway.upgrades = gateway.streams = "pass";
}

async function pushTo({ url }: Target, address: Address): Promise<Sent> {
  const path = Object.keys(address).length === 0 ? "pushtoall" : "push";
  const query = new URLSearchParams({ ...address, message: "m" });
  return { ...(await toReceipt(await fetch(`${url}/${path}?${query}`))), topic: toTopic(address) };
}

test(`${pageCount} pages have exactly what was for them, whatever breaks on the way (seed ${seed})`, async () => {
  process.stdout.write(`LIBRARY_SEED=${seed}\n`);
  const random = seeded(seed);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await makeFolder());
  const service = stack.use(await startService(`--data=${folder.file("messages.db")}`, "--ping=500ms"));
  const ways: Way[] = [];
  for (let number = 0; number < wayCount; number++) {
    const relay = stack.use(await openRelay(service));
    ways.push({ relay, gateway: stack.use(await openGateway({ port: Number(new URL(relay.url).port) })) });
  }
  const pages: Page[] = Array.from({ length: pageCount }, (_, number) => {
    const address = { userid: `${number % userCount}`, compid: `${Math.floor(number / userCount)}` };
    const transports = random.pick(allTransports, 1 + random.below(3));
    const { gateway } = ways[number % wayCount] ?? { gateway: service };
    const page = stack.use(openLibrary(gateway, { ...address, transports, times }));
    return Object.assign(page, { topics: topicsOf(address) });
  });
  await Promise.all(pages.map((page) => page.until("open")));

  const sent: Sent[] = [];
  const push = async (target: Target) => void sent.push(await pushTo(target, chooseAddress(random)));
  const pushThird = () =>
    pushAtPace({
      perSecond,
      ms: (count / 3 / perSecond) * 1000,
      lanes: 8,
      async push(number) {
        const way = ways[random.below(wayCount)];
        if (number % 20 === 0 && way !== undefined) breakOne(way, random);
        await push(service);
      },
    });
  for (const ending of ["SIGKILL", "SIGTERM"] as const) {
    await pushThird();
    await service.restart(ending, async (elsewhere) => {
      for (let number = 0; number < 50; number++) await push(elsewhere);
    });
  }
  await pushThird();
  // What has fallen silent stays so until it is cut.
  for (const way of ways) way.relay.cut();
  for (const way of ways) mend(way);

  const ordered = sent.toSorted((one, other) => offsetOf(one) - offsetOf(other));
  const owed = new Map(
    pages.map((page) => [
      page,
      ordered.filter(({ topic }) => page.topics.includes(topic)).map(({ id }) => id),
    ]),
  );
  await eventually(
    "everything with everybody",
    () => pages.every((page) => page.messages.length >= (owed.get(page)?.length ?? 0)),
    30_000,
  ).catch(() => {});

  for (const page of pages) {
    const had = page.messages.map(({ id }) => id);
    if (!Bun.deepEquals(had, owed.get(page))) process.stdout.write(`${JSON.stringify(page.told)}\n`);
    expect(had).toEqual(owed.get(page) ?? []);
    expect(page.of("reset")).toEqual([]);
  }
  const opened = pages.flatMap((page) => page.of("open"));
  for (const transport of allTransports)
    expect(opened.filter((event) => event["transport"] === transport).length).toBeGreaterThan(pageCount / 2);
  process.stdout.write(`${sent.length} pushed, ${opened.length} connections\n`);
});

function offsetOf({ id }: Sent): number {
  return Number(id.slice(id.indexOf("-") + 1));
}
