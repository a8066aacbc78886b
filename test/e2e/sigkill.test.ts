/**
 * The server killed by SIGKILL in the middle of its work, again and again: what a publisher was told is taken comes to every client that
 * comes back, once, in order.
 *
 *   SIGKILL_ROUNDS=500   more rounds
 *   SIGKILL_SEED=7       the same pushes, killed after as many answers
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, statSync, truncateSync } from "node:fs";
import { type Receipt, toProblem, toReceipt } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, pollAll } from "../support/poll.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { type Random, seeded } from "../support/random.ts";
import { openReader, type Readable, type Reader } from "../support/reader.ts";

const rounds = Number(process.env["SIGKILL_ROUNDS"] ?? 30);
const seed = Number(process.env["SIGKILL_SEED"] ?? crypto.getRandomValues(new Uint16Array(1))[0]);

setDefaultTimeout(rounds * 4000 + 30_000);

async function start(file: string): Promise<ServerProcess> {
  const flags = ["--port=0", "--log-format=json", "--retain-count=10000000", "--retain-bytes=1GiB"];
  return await startProcess([compiledFile, ...flags, `--data=${file}`]);
}

async function kill(server: ServerProcess): Promise<void> {
  server.signal("SIGKILL");
  await server.exited;
}

/** One call of a publisher, and what it was told. */
interface Call {
  readonly messages: readonly string[];
  readonly path: string;
  readonly init: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  };
  receipts?: readonly Receipt[];
}

/** Every message is for this client, whichever of its topics it is pushed to. */
const query = "userid=1&compid=a";
const addresses = ["push?userid=1&", "push?compid=a&", "push?userid=1&compid=a&", "pushtoall?"];

class Publishers {
  readonly calls: Call[] = [];
  answered = 0;
  readonly #random: Random;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Publishers that push all at once, each one call after another, until the server is gone. */
  async publish({ url }: ServerProcess): Promise<void> {
    const publishOn = async () => {
      for (;;) {
        const call = this.#next();
        this.calls.push(call);
        if ((await make(url, call)) === undefined) return;
        this.answered++;
      }
    };
    await Promise.all(Array.from({ length: 16 }, publishOn));
  }

  #next(): Call {
    const random = this.#random;
    const name = () => `m${this.#count++}`;
    const headers = { ...(random.below(3) === 0 && { "Idempotency-Key": `key ${this.#count}` }) };
    if (random.below(4) > 0) {
      const message = name();
      return {
        messages: [message],
        path: `${addresses[random.below(4)]}message=${message}`,
        init: { headers },
      };
    }
    const messages = Array.from({ length: 1 + random.below(20) }, name);
    return {
      messages,
      path: "batch",
      init: {
        method: "POST",
        headers: { ...headers, "Content-Type": "application/json" },
        body: JSON.stringify(messages.map((message) => ({ userid: "1", message }))),
      },
    };
  }
}

/** Makes the call; `undefined` when the server ended before it answered. */
async function make(url: string, call: Call): Promise<Response | undefined> {
  const answer = await fetch(`${url}/${call.path}`, call.init).catch(() => undefined);
  const text = await answer?.text().catch(() => undefined);
  if (answer === undefined || text === undefined) return undefined;
  if (!answer.ok) throw new Error(`refused with ${answer.status}: ${text}`);
  call.receipts ??= [JSON.parse(text)].flat();
  return answer;
}

const transports: readonly Readable[] = ["SSE", "push.v1", "poll"];

/** Comes back after each kill over another transport, with the last id that it was told. */
class Client {
  readonly received: { readonly id: string; readonly data: string }[] = [];
  #lastId: string;
  #round: number;
  #reader: Reader | undefined;
  #isLeaving = false;

  constructor(begin: string, round: number) {
    this.#lastId = begin;
    this.#round = round;
  }

  /** Resolves when the server has gone. */
  async follow(server: ServerProcess): Promise<void> {
    const transport = transports[this.#round++ % transports.length] ?? "SSE";
    for (;;) {
      const reader = openReader(transport, server, {
        query,
        since: this.#lastId,
        onNotice: ({ id = "", message }) => {
          this.#lastId = id;
          if (message !== undefined) this.received.push({ id, data: message.data });
        },
      });
      this.#reader = reader;
      const beginning = await reader.begun.catch(() => undefined);
      if (beginning === undefined) return;
      if (beginning.resumed !== true) throw new Error(`it was not resumed over ${transport}`);
      await reader.ended;
      if (transport !== "poll" || this.#isLeaving) return;
    }
  }

  leave(): void {
    this.#isLeaving = true;
    this.#reader?.drop();
  }
}

test(`everything that was taken comes once and in order, after ${rounds} times SIGKILL (seed ${seed})`, async () => {
  await using folder = await makeFolder();
  const random = seeded(seed);
  const publishers = new Publishers(random);
  let server = await start(folder.file("journal.db"));
  const { id: begin } = await poll(server, { query: "wait=0" });
  const clients = transports.map((_, index) => new Client(begin, index));

  let retried = 0;
  for (let round = 0; round < rounds; round++) {
    const following = clients.map((client) => client.follow(server));
    const [first, already] = [publishers.calls.length, publishers.answered];
    const publishing = publishers.publish(server);
    const atLeast = already + 1 + random.below(600);
    await eventually(`${atLeast} answers`, () => publishers.answered >= atLeast);
    await kill(server);
    await Promise.all([publishing, ...following]);
    server = await start(folder.file("journal.db"));
    // Who got no answer tries again, with the same key, and then it is there once.
    for (const call of publishers.calls.slice(first)) {
      if (call.init.headers?.["Idempotency-Key"] === undefined) continue;
      const { receipts: before, ...request } = call;
      const again: Call = request;
      const answer = await make(server.url, again);
      retried++;
      if (before === undefined) call.receipts = again.receipts ?? [];
      else {
        expect(again.receipts).toEqual(before);
        expect(answer?.headers.get("idempotency-replayed")).toBe("true");
      }
    }
  }
  const following = clients.map((client) => client.follow(server));
  const { messages: log } = await pollAll(server, query, begin);
  await eventually("everything with every client", () =>
    clients.every(({ received }) => received.length >= log.length),
  );
  for (const client of clients) client.leave();
  await Promise.all(following);
  await server[Symbol.asyncDispose]();

  const told = publishers.calls.flatMap(({ messages, receipts = [] }) =>
    receipts.map(({ id }, index) => ({ id, data: messages[index] ?? "" })),
  );
  const byData = new Map(log.map(({ id, data = "" }) => [data, id]));
  process.stdout.write(`${told.length} taken of ${log.length} kept, ${retried} calls made again\n`);
  expect(told.filter(({ id, data }) => byData.get(data) !== id)).toEqual([]);
  expect(byData.size).toBe(log.length);
  const epoch = begin.slice(0, begin.indexOf("-"));
  expect(log.map(({ id }) => id)).toEqual(log.map((_, index) => `${epoch}-${index + 1}`));
  // Of a batch nobody was told of, all is there or nothing.
  const torn = publishers.calls.filter(({ messages }) => {
    const kept = messages.filter((message) => byData.has(message)).length;
    return kept !== 0 && kept !== messages.length;
  });
  expect(torn).toEqual([]);
  for (const { received } of clients)
    expect(received).toEqual(log.map(({ id, data = "" }) => ({ id, data })));
});

const cuts: readonly (readonly [what: string, cut: (size: number) => number | undefined])[] = [
  ["its last byte", (size) => size - 1],
  ["its last page", (size) => size - 4096],
  ["half of it", (size) => Math.floor(size / 2)],
  ["a part of it", (size) => seeded(seed).below(size)],
  ["all but its head", () => 32],
  ["all that is in it", () => 0],
  ["it as a whole", () => undefined],
];

describe.each(cuts)("a write-ahead log that has lost %s, after SIGKILL", (_what, cut) => {
  test("is no reason not to start, and no client is told that it missed nothing when it did", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    const before = await start(file);
    const ids = [(await poll(before, { query: "wait=0" })).id];
    for (let number = 1; number <= 50; number++) {
      const answer = await fetch(`${before.url}/push?${query}&message=m${number}`);
      ids.push((await toReceipt(answer)).id);
    }
    await kill(before);
    const size = cut(statSync(`${file}-wal`).size);
    if (size === undefined) rmSync(`${file}-wal`);
    else truncateSync(`${file}-wal`, size);

    await using after = await start(file);

    for (const [index, id] of ids.entries()) {
      const { resumed, messages } = await poll(after, { query: `${query}&wait=0&since=${id}` });
      const missed = ids.slice(index + 1).map((_, offset) => `m${index + 1 + offset}`);
      if (resumed === true) expect(messages.map(({ data }) => data)).toEqual(missed);
      else expect([resumed, messages]).toEqual([false, []]);
    }
    // What is left is a beginning of what was there, and no id is given a second time.
    const left = await poll(after, { query: `${query}&wait=0&since=all` });
    expect(left.messages.map(({ data }) => data)).toEqual(left.messages.map((_, index) => `m${index + 1}`));
    expect(left.messages.length).toBeLessThan(50);
    const answer = await fetch(`${after.url}/push?${query}&message=new`);
    expect(ids).not.toContain((await toReceipt(answer)).id);
  });
});

test("a push is answered the same after SIGKILL, when it is made again with its Idempotency-Key", async () => {
  await using folder = await makeFolder();
  const before = await start(folder.file("journal.db"));
  const init = { method: "POST", body: "once", headers: { "Idempotency-Key": "order 17" } };
  const told: string[] = [];
  const reader = openReader("push.v1", before, {
    query,
    onNotice: ({ message }) => message !== undefined && told.push(message.data),
  });
  await reader.begun;
  const first = await fetch(`${before.url}/push?${query}`, init);
  const receipt = await toReceipt(first);
  await kill(before);

  await using after = await start(folder.file("journal.db"));
  const again = await fetch(`${after.url}/push?${query}`, init);

  expect([again.status, await toReceipt(again)]).toEqual([200, receipt]);
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect([receipt.sessions, told]).toEqual([1, ["once"]]);
  expect((await poll(after, { query: `${query}&wait=0&since=all` })).messages.length).toBe(1);
  const other = await fetch(`${after.url}/push?${query}`, { ...init, body: "another" });
  expect([other.status, (await toProblem(other)).code]).toEqual([422, "idempotency_key_reused"]);
});
