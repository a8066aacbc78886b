/**
 * Pushes that wait for a receipt: one call tells a back end whether a page has handled the message.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type TestClient } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll } from "../support/poll.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

interface Answer {
  readonly status: number;
  readonly id: string;
  readonly sessions: number;
  readonly received?: number;
}

async function pushAndWait({ url }: TestServer, query: string, headers = {}): Promise<Answer> {
  const answer = await fetch(`${url}/push?${query}`, { headers });
  return { status: answer.status, ...((await answer.json()) as Omit<Answer, "status">) };
}

/** The next frame of this type. */
async function nextFrame(client: TestClient, type: string): Promise<{ readonly id: string }> {
  for (;;) {
    const frame = JSON.parse(String(await client.next()));
    if (frame.type === type) return frame;
  }
}

const connectV1 = (server: TestServer, query: string) => connect(server, query, ["push.v1"]);
const acknowledge = (client: TestClient, id: string) => client.send(JSON.stringify({ type: "ack", id }));

/** Resolves when so many pushes wait. */
const untilWaiting = (server: TestServer, count: number) =>
  eventually("the wait", async () => (await readMetrics(server)).get("server_push_receipt_waits") === count);

test("a push that waits is answered when the page has handled it", async () => {
  await using server = await startServer();
  await using page = await connectV1(server, "userid=1");

  const answered = pushAndWait(server, "userid=1&wait=30&message=m");
  const { id } = await nextFrame(page, "message");
  acknowledge(page, id);

  expect(await answered).toEqual({ status: 200, id, sessions: 1, received: 1 });
});

test("the first of several pages is enough", async () => {
  await using server = await startServer();
  await using slow = await connectV1(server, "userid=1");
  await using quick = await connectV1(server, "userid=1&compid=inbox");

  const answered = pushAndWait(server, "userid=1&wait=30&message=m");
  const { id } = await nextFrame(quick, "message");
  acknowledge(quick, id);

  expect(await answered).toMatchObject({ sessions: 2, received: 1 });
  await nextFrame(slow, "message");
});

test("a receipt counts for all that came before it, and for nothing after it", async () => {
  await using server = await startServer();
  await using page = await connectV1(server, "userid=1");

  const first = pushAndWait(server, "userid=1&wait=30&message=one");
  const { id: one } = await nextFrame(page, "message");
  const second = pushAndWait(server, "userid=1&wait=30&message=two");
  const { id: two } = await nextFrame(page, "message");
  const third = pushAndWait(server, "userid=1&wait=1&message=three");
  await nextFrame(page, "message");
  acknowledge(page, two);

  expect(await first).toMatchObject({ id: one, received: 1 });
  expect(await second).toMatchObject({ id: two, received: 1 });
  expect(await third).toMatchObject({ received: 0 });
});

test("the wait ends with 0 when the page's handler throws, or the tab closes in between", async () => {
  await using server = await startServer();
  await using page = await connectV1(server, "userid=1");
  const tab = await connectV1(server, "userid=1");

  const answered = pushAndWait(server, "userid=1&wait=1&message=m");
  await nextFrame(page, "message");
  await nextFrame(tab, "message");
  await tab[Symbol.asyncDispose]();

  expect(await answered).toMatchObject({ status: 200, sessions: 2, received: 0 });
});

test("nobody is there: who comes back within the wait and handles it counts", async () => {
  await using server = await startServer();
  const { id: position } = await poll(server, { query: "userid=1&wait=0" });

  const answered = pushAndWait(server, "userid=1&wait=30&message=m");
  await untilWaiting(server, 1);
  await using page = await connectV1(server, `userid=1&since=${position}`);
  const { id } = await nextFrame(page, "message");
  acknowledge(page, id);

  expect(await answered).toEqual({ status: 200, id, sessions: 0, received: 1 });
});

test("a page that was never sent the message cannot have handled it, whatever it says", async () => {
  await using server = await startServer();
  await using other = await connectV1(server, "userid=2");
  const answered = pushAndWait(server, "userid=1&wait=1&message=m");
  await untilWaiting(server, 1);
  await using late = await connectV1(server, "userid=1");
  const { id } = await nextFrame(late, "welcome");

  const [epoch, offset] = id.split("-");
  for (const client of [late, other])
    for (const claimed of [id, `${epoch}-${Number(offset) + 1000}`, "x", `${epoch}-`, "00000000-1"])
      acknowledge(client, claimed);

  expect(await answered).toEqual({ status: 202, id, sessions: 0, received: 0 });
});

test("who comes back after the end of a message's ttl was not sent it, and cannot have handled it", async () => {
  await using server = await startServer();
  const { id: position } = await poll(server, { query: "userid=1&wait=0" });
  const answered = pushAndWait(server, "userid=1&wait=1&ttl=0&message=m");
  await untilWaiting(server, 1);
  await using late = await connectV1(server, `userid=1&since=${position}`);
  await nextFrame(late, "welcome");

  const [epoch, offset] = position.split("-");
  acknowledge(late, `${epoch}-${Number(offset) + 1}`);

  expect(await answered).toMatchObject({ status: 202, received: 0 });
});

test("a publisher that hangs up gives its place back at once", async () => {
  await using server = await startServer();
  const publisher = new AbortController();
  const answered = fetch(`${server.url}/push?userid=1&wait=60&message=m`, {
    signal: publisher.signal,
  }).then(
    () => "answered",
    () => "hung up",
  );
  await untilWaiting(server, 1);

  publisher.abort();

  expect(await answered).toBe("hung up");
  await untilWaiting(server, 0);
});

test("plain sockets and event streams give no receipts", async () => {
  await using server = await startServer();
  await using plain = await connect(server, "userid=1");
  const answered = pushAndWait(server, "userid=1&wait=1&message=m");
  await plain.next();
  plain.send('{"type":"ack","id":"x"}');

  expect(await answered).toMatchObject({ sessions: 1, received: 0 });
});

test("a repeat by its Idempotency-Key does not wait, and does not know", async () => {
  await using server = await startServer();
  const headers = { "Idempotency-Key": "k" };

  const first = await pushAndWait(server, "userid=1&wait=1&message=m", headers);
  const second = await pushAndWait(server, "userid=1&wait=30&message=m", headers);

  expect(first).toMatchObject({ sessions: 0, received: 0 });
  expect(second).toEqual({ status: 202, id: first.id, sessions: 0 });
});

test("with an Idempotency-Key and a journal in a file, the first receipt is not missed either", async () => {
  await using folder = await makeFolder();
  await using server = await startServer({ data: folder.file("messages.db") });
  await using page = await connectV1(server, "userid=1");

  for (const key of ["a", "b", "c", "d", "e"]) {
    const answered = pushAndWait(server, "userid=1&wait=30&message=m", { "Idempotency-Key": key });
    // It acknowledges in the moment in which it is sent the message, before the push is settled.
    acknowledge(page, (await nextFrame(page, "message")).id);
    expect(await answered).toMatchObject({ status: 200, received: 1 });
  }
});

test("a push that is under way when the server stops is not waited for", async () => {
  await using folder = await makeFolder();
  await using server = await startServer({ data: folder.file("messages.db"), drain: "60s" });
  const headers = { "Idempotency-Key": "a" };
  const answered = pushAndWait(server, "userid=1&wait=60&message=m", headers);
  await eventually(
    "the message",
    async () => ((await readMetrics(server)).get("server_push_journal_messages") ?? 0) > 0,
  );

  await server.drain();

  expect(await answered).toMatchObject({ received: 0 });
});

test("the limit of waits holds while the journal writes", async () => {
  await using folder = await makeFolder();
  await using server = await startServer({ data: folder.file("messages.db"), "max-receipt-waits": "5" });

  const answers = await Promise.all(
    Array.from({ length: 100 }, () => fetch(`${server.url}/push?userid=1&wait=1&message=m`)),
  );

  expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(95);
});

test("what waits is let go when the server stops", async () => {
  await using server = await startServer();
  const answered = pushAndWait(server, "userid=1&wait=60&message=m");
  await untilWaiting(server, 1);

  await server.drain();

  expect(await answered).toMatchObject({ received: 0 });
});

test("no more than --max-receipt-waits wait, and one more is not pushed", async () => {
  await using server = await startServer({ "max-receipt-waits": "2" });
  const two = [1, 2].map(() => pushAndWait(server, "userid=1&wait=1&message=m"));
  await untilWaiting(server, 2);

  const third = await fetch(`${server.url}/push?userid=1&wait=1&message=m`);

  expect(third.status).toBe(429);
  expect(third.headers.get("retry-after")).not.toBeNull();
  expect(await third.json()).toMatchObject({
    code: "quota_exceeded",
    detail: "2 pushes wait for a receipt, which is the limit; expected a push without wait",
  });
  const figures = await readMetrics(server);
  expect(figures.get("server_push_messages_total")).toBe(2);
  expect(figures.get('server_push_rejections_total{code="quota_exceeded"}')).toBe(1);
  await Promise.all(two);
  await untilWaiting(server, 0);
});

describe("a wait that is none is refused:", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each(["0", "61", "-1", "1.5", "1s", "x"])("%s", async (wait) => {
    const answer = await fetch(`${server.url}/push?userid=1&message=m&wait=${wait}`);

    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: "invalid_parameter",
      detail: `wait is "${wait}", expected whole seconds from 1 to 60`,
    });
  });
});
