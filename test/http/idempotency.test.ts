/**
 * That a publisher can try again: with `Idempotency-Key` a repeat pushes nothing, whatever became of the first answer.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { postBatch, toArray, toReceipts } from "../support/batches.ts";
import { push, receiveUntil, toOffset, toProblem } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, textsOf } from "../support/poll.ts";
import { type ServerProcess, sourceCommand, startProcess } from "../support/process.ts";
import { type Pushed, pushForms, toOnlyReceipt } from "../support/pushes.ts";
import { exchange } from "../support/raw.ts";
import { binary, readMetrics, startServer, type TestServer } from "../support/server.ts";

const withKey = (key: string) => ({ "Idempotency-Key": key });

/** What of an answer has to be the same when it is repeated, and whether it says that it is. */
async function read(answer: Response) {
  return {
    status: answer.status,
    body: await answer.text(),
    type: answer.headers.get("content-type"),
    cache: answer.headers.get("cache-control"),
    replayed: answer.headers.get("idempotency-replayed"),
  };
}

describe.each(pushForms)("$name", ({ push: send }) => {
  test("that is repeated with its key gets the first answer, is told so, and pushes nothing", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");

    const first = await read(await send(server, { message: "once" }, withKey("k")));
    const again = await read(await send(server, { message: "once" }, withKey("k")));
    const third = await read(await send(server, { message: "once" }, withKey("k")));
    const end = await push(server, "userid=1", "end");

    expect([first.status, first.replayed]).toEqual([200, null]);
    expect(again).toEqual({ ...first, replayed: "true" });
    expect(third).toEqual(again);
    expect(await receiveUntil(client, "end")).toEqual(["once"]);
    expect(toOffset(end)).toBe(2);
  });

  test("that reached nobody is answered the same also when somebody is there by now", async () => {
    await using server = await startServer();
    const first = await read(await send(server, { message: "once" }, withKey("k")));
    await using client = await connect(server, "userid=1");

    const again = await read(await send(server, { message: "once" }, withKey("k")));
    await push(server, "userid=1", "end");

    expect(first.status).toBe(202);
    expect(again).toEqual({ ...first, replayed: "true" });
    expect(await receiveUntil(client, "end")).toEqual([]);
  });

  test.each<[what: string, other: Pushed]>([
    ["another message", { message: "other" }],
    ["an event", { message: "once", event: "order" }],
    ["a key to replace by", { message: "once", key: "progress" }],
    ["a ttl", { message: "once", ttl: 60 }],
  ])("with a key that was used before, and %s, is refused with 422 and pushes nothing", async (_, other) => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");
    await send(server, { message: "once" }, withKey("order 17"));

    const refused = await send(server, other, withKey("order 17"));
    await push(server, "userid=1", "end");

    expect(refused.status).toBe(422);
    expect(refused.headers.get("content-type")).toBe("application/problem+json");
    expect(await toProblem(refused)).toMatchObject({
      code: "idempotency_key_reused",
      detail: 'Idempotency-Key "order 17" was used within five minutes for another push, expected a new key',
    });
    expect(await receiveUntil(client, "end")).toEqual(["once"]);
  });

  test("that comes twenty times at once with one key is delivered once, and each gets the one answer", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");

    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => read(await send(server, { message: "once" }, withKey("k")))),
    );
    await push(server, "userid=1", "end");

    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
    expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(1);
    expect(answers.filter(({ replayed }) => replayed === "true")).toHaveLength(19);
    expect(await receiveUntil(client, "end")).toEqual(["once"]);
  });

  test("without a key, or with another one, is pushed again", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");

    const receipts = [];
    for (const headers of [{}, {}, withKey("a"), withKey("b"), withKey("A"), withKey("a ")])
      receipts.push(await toOnlyReceipt(await send(server, { message: "m" }, headers)));
    await push(server, "userid=1", "end");

    // Blanks at the end of a header are no part of it.
    expect(receipts.map(toOffset)).toEqual([1, 2, 3, 4, 5, 3]);
    expect(await receiveUntil(client, "end")).toEqual(["m", "m", "m", "m", "m"]);
  });

  describe("on one server", () => {
    let server: TestServer;

    beforeAll(async () => {
      server = await startServer();
    });

    afterAll(async () => {
      await server[Symbol.asyncDispose]();
    });

    test.each(["x", "x".repeat(255), "a b", '"quoted"', "~!@#$%^&*(){}[]:;,.?/"])(
      "may have the key %j",
      async (key) => {
        await send(server, { message: "m" }, withKey(key));

        const again = await read(await send(server, { message: "m" }, withKey(key)));

        expect([again.status, again.replayed]).toEqual([202, "true"]);
      },
    );

    test.each(["", "x".repeat(256), "é", "\u00ff", "a\tb", "\u0080"])(
      "with the key %j is refused by name, and pushes nothing",
      async (key) => {
        const before = await push(server, "userid=1", "before");

        const refused = await send(server, { message: "m" }, withKey(key));
        const next = await push(server, "userid=1", "next");

        expect(refused.status).toBe(400);
        const { code, detail } = await toProblem(refused);
        expect(code).toBe("invalid_parameter");
        expect(detail).toMatch(/^Idempotency-Key is ".*", expected 1 to 255 characters of printable ASCII$/);
        expect(toOffset(next)).toBe(toOffset(before) + 1);
      },
    );
  });

  test("that was refused as too large can be tried again with the same key, and is pushed then", async () => {
    await using server = await startServer({ "max-message": "1KiB" });

    const refused = await send(server, { message: "x".repeat(1025) }, withKey("k"));
    const taken = await read(await send(server, { message: "x".repeat(1024) }, withKey("k")));

    expect(refused.status).toBe(413);
    expect([taken.status, taken.replayed]).toEqual([202, null]);
  });
});

describe("on one server", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startServer({ "max-idempotency-keys": "3" });
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("a repeat in another form is the same push, when it is the same message to the same address", async () => {
    const message = "in any form";
    const answers = [];
    for (const { isToAll, push: send } of pushForms)
      if (!isToAll) answers.push(await send(server, { message }, withKey("form")));

    expect(answers.map(({ headers }) => headers.get("idempotency-replayed"))).toEqual([null, "true", "true"]);
    const receipts = await Promise.all(answers.map(toOnlyReceipt));
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
  });

  test.each(["userid=1&compid=x", "userid=2", "compid=1"])(
    "the same message to %s instead of userid=1 is another push, and is refused with the same key",
    async (query) => {
      const headers = withKey(`to ${query}`);
      await fetch(`${server.url}/push?userid=1&message=m`, { headers });

      const other = await fetch(`${server.url}/push?${query}&message=m`, { headers });

      expect(other.status).toBe(422);
    },
  );

  test("bytes are another push than the text of the same bytes", async () => {
    const init = { method: "POST", body: "m" };
    const url = `${server.url}/push?userid=1`;
    await fetch(url, { ...init, headers: { ...withKey("bytes"), "Content-Type": "text/plain" } });

    const other = await fetch(url, {
      ...init,
      headers: { ...withKey("bytes"), "Content-Type": "application/octet-stream" },
    });

    expect(other.status).toBe(422);
  });

  test("a header that comes twice is one key, of both", async () => {
    const [both, again, first] = [await pushWith("x", "y"), await pushWith("x", "y"), await pushWith("x")];

    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(again.body).toBe(both.body);
    expect(first.headers.get("idempotency-replayed")).toBeNull();
  });

  /** Pushes with a header for each of these keys. */
  async function pushWith(...keys: readonly string[]) {
    const lines = keys.map((key) => `Idempotency-Key: ${key}`);
    const head = ["GET /push?userid=1&message=m HTTP/1.1", "Host: 127.0.0.1", ...lines].join("\r\n");
    return await exchange(server, `${head}\r\n\r\n`);
  }

  test("over --max-idempotency-keys the oldest is forgotten, and the figures say how many there are", async () => {
    const send = (key: string) => fetch(`${server.url}/push?userid=1&message=m`, { headers: withKey(key) });
    for (const key of ["1st", "2nd", "3rd", "4th"]) await send(key);

    const figures = await readMetrics(server);
    const repeats = [];
    for (const key of ["4th", "3rd", "2nd", "1st"])
      repeats.push((await send(key)).headers.get("idempotency-replayed"));

    expect(figures.get("server_push_idempotency_keys")).toBe(3);
    expect(repeats).toEqual(["true", "true", "true", null]);
  });
});

const three = toArray([
  { userid: "1", message: "a" },
  { all: true, message: "b", event: "order" },
  { userid: "2", message: "c", ttl: 60 },
]);

test("a batch is answered again with the places of all its messages", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");

  const first = await read(await postBatch(server, three, withKey("k")));
  const again = await read(await postBatch(server, three, withKey("k")));
  await push(server, "userid=1", "end");

  expect(JSON.parse(first.body)).toMatchObject([{ sessions: 1 }, { sessions: 1 }, { sessions: 0 }]);
  expect(again).toEqual({ ...first, replayed: "true" });
  expect(await receiveUntil(client, "end")).toEqual(["a", "b"]);
});

test.each<[what: string, change: (items: unknown[]) => unknown[]]>([
  ["in another order", (items) => items.toReversed()],
  ["without its last message", (items) => items.slice(0, -1)],
  ["with another last message", (items) => items.with(2, { userid: "2", message: "d", ttl: 60 })],
  ["with one message more", (items) => [...items, { all: true, message: "d" }]],
])("a batch %s is another one, and is refused with the same key", async (_, change) => {
  await using server = await startServer();
  await postBatch(server, three, withKey("k"));

  const refused = await postBatch(server, toArray(change(JSON.parse(three.body))), withKey("k"));

  expect(refused.status).toBe(422);
  expect(await toProblem(refused)).not.toHaveProperty("item");
});

test("a batch that was refused for one of its messages can be mended and sent with the same key", async () => {
  await using server = await startServer();

  const refused = await postBatch(
    server,
    toArray([{ userid: "1", message: "a" }, { message: "b" }]),
    withKey("k"),
  );
  const taken = await postBatch(server, three, withKey("k"));

  expect([refused.status, taken.status]).toEqual([400, 202]);
  expect((await toReceipts(taken)).map(toOffset)).toEqual([1, 2, 3]);
});

test("without --data, the keys are forgotten with the messages", async () => {
  await using before = await startServer();
  const first = await toReceipts(await postBatch(before, three, withKey("k")));
  await before.drain();

  await using after = await startServer();
  const again = await postBatch(after, three, withKey("k"));

  expect(again.headers.get("idempotency-replayed")).toBeNull();
  expect(await toReceipts(again)).not.toEqual(first);
});

/** The ways in which a server can end, each of which the file has to outlast. */
const ends = [
  { how: "in good order", signal: "SIGTERM" },
  { how: "by SIGKILL", signal: "SIGKILL" },
] as const;

describe.each(ends)("with --data, after the server has ended $how,", ({ signal }) => {
  test("a repeat of every form gets the first answer, and pushes nothing", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    await using before = await startWith(file);
    const first = [];
    const client = await connect(before, "userid=1");
    for (const [index, form] of pushForms.entries())
      first.push(await read(await form.push(before, { message: `${index}` }, withKey(`key ${index}`))));
    first.push(await read(await postBatch(before, three, withKey("batch"))));
    await client[Symbol.asyncDispose]();
    before.signal(signal);
    await before.exited;

    await using after = await startWith(file);
    const again = [];
    for (const [index, form] of pushForms.entries())
      again.push(await read(await form.push(after, { message: `${index}` }, withKey(`key ${index}`))));
    again.push(await read(await postBatch(after, three, withKey("batch"))));
    const other = await pushForms[0]?.push(after, { message: "other" }, withKey("key 0"));

    expect(first.map(({ status }) => status)).toEqual(Array(7).fill(200));
    expect(again.map(({ replayed }) => replayed)).toEqual(Array(7).fill("true"));
    expect(again.map(({ status, body }) => [status, body])).toEqual(
      first.map(({ status, body }) => [status, body]),
    );
    expect(other?.status).toBe(422);
    expect(textsOf(await poll(after, { query: "userid=1&since=all" }))).toEqual([
      ...pushForms.map((_, index) => `${index}`),
      "a",
      "b",
    ]);
  }, 60_000);
});

test("with --data, a batch that comes twenty times at once with one key is there once", async () => {
  await using folder = await makeFolder();
  await using server = await startServer({ data: folder.file("journal.db") });

  const answers = await Promise.all(
    Array.from({ length: 20 }, async () => read(await postBatch(server, three, withKey("k")))),
  );

  expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
  expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(1);
  expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual(["a", "b"]);
});

test("with --data, a push that the journal could not take is tried again with the same key, and is there once", async () => {
  await using folder = await makeFolder();
  const file = folder.file("journal.db");
  await using server = await startServer({ data: file });
  await push(server, "userid=1", "before");
  using other = new Database(file);
  other.run("BEGIN IMMEDIATE");

  const refused = await Promise.all(Array.from({ length: 5 }, () => postBatch(server, three, withKey("k"))));
  other.run("ROLLBACK");
  await eventually("it takes messages again", async () => (await fetch(`${server.url}/readyz`)).ok);
  const taken = await read(await postBatch(server, three, withKey("k")));
  const again = await read(await postBatch(server, three, withKey("k")));

  expect(refused.map(({ status }) => status)).toEqual(Array(5).fill(503));
  expect([taken.status, taken.replayed]).toEqual([202, null]);
  expect(again).toEqual({ ...taken, replayed: "true" });
  expect(textsOf(await poll(server, { query: "userid=1&since=all" }))).toEqual(["before", "a", "b"]);
}, 30_000);

/** A process, which can be killed as the server in a test's own cannot. */
async function startWith(file: string): Promise<ServerProcess> {
  const command = binary === undefined ? sourceCommand : [binary];
  return await startProcess([...command, "--port=0", "--log-format=json", `--data=${file}`]);
}
