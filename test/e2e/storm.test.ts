/**
 * Thousands of sessions that come and go in every way at once: afterwards the server knows exactly who is there.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Address, topicsOf, toTopic } from "../../src/address.ts";
import { pushToAll, toReceipt, untilSessions } from "../support/calls.ts";
import { type Crowd, startCrowd } from "../support/crowd.ts";
import { readEvents } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { type Random, seeded } from "../support/random.ts";
import { readMetrics } from "../support/server.ts";

setDefaultTimeout(60_000);

const crowds = 8;
const sessionsPerCrowd = 625;
const rounds = 6;

const userids = Array.from({ length: 20 }, (_, number) => `user ${number}`);
const compids = Array.from({ length: 4 }, (_, number) => `component ${number}`);

/** Every address that a message can be for, but all. */
const addresses: readonly Address[] = [
  ...userids.map((userid) => ({ userid })),
  ...compids.map((compid) => ({ compid })),
  ...userids.flatMap((userid) => compids.map((compid) => ({ userid, compid }))),
];

function toQuery({ userid, compid }: Address): string {
  return new URLSearchParams({
    ...(userid !== undefined && { userid }),
    ...(compid !== undefined && { compid }),
  }).toString();
}

async function push(server: ServerProcess, address: Address, message: string): Promise<number> {
  const answer = await fetch(`${server.url}/push?${toQuery(address)}`, { method: "POST", body: message });
  return (await toReceipt(answer)).sessions;
}

interface Presence {
  readonly online: boolean;
  readonly sessions: number;
}

interface Page {
  readonly sessions: readonly Address[];
  readonly next?: string;
}

async function read<Body>({ url }: ServerProcess, path: string): Promise<Body> {
  const answer = await fetch(`${url}${path}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Body; // as the test that asks holds it to be
}

interface Tally {
  opened: number;
  closed: number;
  dropped: number;
}

/** One process of clients, and what is to be expected of its sessions. */
class Group {
  readonly sessions = new Map<string, Address>();

  constructor(
    readonly crowd: Crowd,
    readonly random: Random,
    readonly tally: Tally,
  ) {}

  async open(count: number): Promise<void> {
    const members = Array.from({ length: count }, () => {
      const name = String(this.tally.opened++);
      // A few have neither a user nor a component.
      const address = addresses[this.random.below(addresses.length + 5)] ?? {};
      this.sessions.set(name, address);
      return { name, query: toQuery(address) };
    });
    await this.crowd.open(members);
  }

  async comeAndGo(): Promise<void> {
    const closed = this.#forget(this.random.below(100));
    this.tally.closed += closed.length;
    await this.crowd.close(closed);
    const reset = this.#forget(this.random.below(100));
    this.tally.dropped += reset.length;
    await this.crowd.reset(reset);
    await this.open(this.random.below(200));
  }

  async kill(): Promise<void> {
    this.tally.dropped += this.sessions.size;
    this.sessions.clear();
    await this.crowd.kill();
  }

  #forget(count: number): string[] {
    const names = this.random.pick([...this.sessions.keys()], count);
    for (const name of names) this.sessions.delete(name);
    return names;
  }
}

interface Storm extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly tally: Tally;
  readonly groups: readonly Group[];
  /** Who must be there now. */
  readonly sessions: ReadonlyMap<string, Address>;
  readonly filesAtFirst: number;
}

/** Opens thousands of sessions, and lets them come and go while messages are pushed. */
async function raise(seed: number): Promise<Storm> {
  const random = seeded(seed);
  const processes = new AsyncDisposableStack();
  const server = processes.use(
    await startProcess([
      compiledFile,
      "--port=0",
      "--log-format=json",
      "--ping=1h",
      "--retain-events=100000",
    ]),
  );
  const filesAtFirst = (await readMetrics(server)).get("process_open_fds") ?? 0;
  const tally: Tally = { opened: 0, closed: 0, dropped: 0 };
  const startGroup = () => new Group(processes.use(startCrowd(server)), seeded(random.below(2 ** 31)), tally);
  const groups = Array.from({ length: crowds }, startGroup);
  await Promise.all(groups.map((group) => group.open(sessionsPerCrowd)));
  for (let round = 0; round < rounds; round++) {
    const [victim, heir] = [random.below(crowds), startGroup()];
    const storming = groups.map((group, number) => (number === victim ? group.kill() : group.comeAndGo()));
    const pushing = random
      .pick(addresses, 20)
      .map((address) => push(server, address, `in the storm of round ${round}`));
    await Promise.all([heir.open(300 + random.below(400)), ...storming, ...pushing]);
    groups[victim] = heir;
  }
  return {
    server,
    tally,
    groups,
    sessions: new Map(groups.flatMap((group) => Array.from(group.sessions))),
    filesAtFirst,
    [Symbol.asyncDispose]: () => processes.disposeAsync(),
  };
}

describe.each([1, 2])("after a storm of 5000 sessions (seed %d)", (seed) => {
  let storm: Storm;
  beforeAll(async () => {
    storm = await raise(seed);
  });
  afterAll(async () => {
    await storm[Symbol.asyncDispose]();
  });

  test("the table of sessions and the figures are exact", async () => {
    const { server, tally, sessions } = storm;

    await untilSessions(server, sessions.size);

    const metrics = await readMetrics(server);
    expect({
      opened: metrics.get("server_push_sessions_opened_total"),
      closed: metrics.get('server_push_sessions_closed_total{reason="closed"}'),
      dropped: metrics.get('server_push_sessions_closed_total{reason="dropped"}'),
      unresponsive: metrics.get('server_push_sessions_closed_total{reason="unresponsive"}'),
    }).toEqual({ ...tally, unresponsive: 0 });
    expect(tally.opened - tally.closed - tally.dropped).toBe(sessions.size);
  });

  test("a push to each address goes to exactly the sessions that have it", async () => {
    const { server, groups, sessions } = storm;
    const topics = new Map([...sessions].map(([name, address]) => [name, new Set(topicsOf(address))]));
    const due = (topic: string) => topics.values().reduce((sum, own) => sum + Number(own.has(topic)), 0);

    for (const address of addresses)
      expect(await push(server, address, toTopic(address))).toBe(due(toTopic(address)));
    expect(await pushToAll(server, "a")).toMatchObject({ sessions: sessions.size });

    const received = await Promise.all(groups.map((group) => group.crowd.receiveUntil("a")));
    const arrived = new Map(received.flatMap((group) => Object.entries(group)));
    const order = [...addresses.map(toTopic), "a"];
    const wrong = topics.entries().filter(([name, own]) => {
      const messages = arrived.get(name)?.filter((message) => !message.startsWith("in the storm"));
      return !Bun.deepEquals(
        messages,
        order.filter((topic) => own.has(topic)),
      );
    });
    expect([...wrong]).toEqual([]);
  });

  test("presence and the list of sessions say of each address who has it", async () => {
    const { server, sessions } = storm;

    const told = new Map<string, unknown>();
    const due = new Map<string, unknown>();
    for (const address of addresses) {
      const { online, sessions: count } = await read<Presence>(server, `/presence?${toQuery(address)}`);
      told.set(toTopic(address), { online, count });
      const own = Array.from(sessions.values()).filter(
        ({ userid, compid }) =>
          (address.userid ?? userid) === userid && (address.compid ?? compid) === compid,
      );
      due.set(toTopic(address), { online: own.length > 0, count: own.length });
    }
    expect(told).toEqual(due);

    const listed: string[] = [];
    for (let after = ""; ;) {
      const page = await read<Page>(server, `/sessions?limit=1000${after}`);
      listed.push(...page.sessions.map(toQuery));
      if (page.next === undefined) break;
      after = `&after=${page.next}`;
    }
    expect(listed.toSorted()).toEqual(Array.from(sessions.values(), toQuery).toSorted());
  });

  test("when all have gone nothing is left of them, and each user has come and gone by turns", async () => {
    const { server, groups, filesAtFirst } = storm;

    await Promise.all(groups.map((group) => group.kill()));

    await untilSessions(server, 0);
    expect(await pushToAll(server, "anybody?")).toMatchObject({ sessions: 0 });
    await eventually("hardly more open files than at first", async () => {
      const files = (await readMetrics(server)).get("process_open_fds") ?? Number.POSITIVE_INFINITY;
      return files <= filesAtFirst + ownConnections;
    });

    // A user has gone for good three seconds after the last session.
    await eventually("nobody online", async () => {
      const { users } = await read<{ users: number }>(server, "/presence");
      return users === 0;
    });
    await using reader = await readEvents("NDJSON", server, {
      query: "since=all&types=user.online,user.offline",
    });
    const left = new Set(userids);
    const comings = new Map<string, string[]>(userids.map((userid) => [userid, []]));
    await reader.until(({ type, data }) => {
      const userid = String(data["userid"]);
      comings.get(userid)?.push(type);
      if (type === "user.offline") left.delete(userid);
      else left.add(userid);
      return left.size === 0;
    });
    for (const own of comings.values())
      expect(own).toEqual(own.map((_, at) => (at % 2 === 0 ? "user.online" : "user.offline")));
  });
});

/** What this process itself may keep open to the server, from its concurrent pushes. */
const ownConnections = 30;
