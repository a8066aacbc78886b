/**
 * A publisher gone wild, such as a loop without an end: it is told to wait, and nobody else is the worse for it.
 */
import { describe, expect, test } from "bun:test";
import { postBatch, toArray } from "../support/batches.ts";
import { toProblem } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { readMetrics, startServer } from "../support/server.ts";

/** Ten at once, batches included. */
const rate = { "max-push-rate": "1", "max-batch-count": "10" };
const [own, other] = ["0123456789abcdef", "fedcba9876543210"];

const push = ({ url }: { readonly url: string }, headers: Readonly<Record<string, string>> = {}) =>
  fetch(`${url}/push?userid=1&message=m`, { headers });
const withKey = (key: string) => ({ Authorization: `Bearer ${key}` });
const items = (count: number) =>
  toArray(Array.from({ length: count }, () => ({ userid: "1", message: "m" })));

describe("beyond --max-push-rate", () => {
  test("a push is refused with 429 and when to come back, is not delivered, and is counted", async () => {
    await using server = await startServer(rate);
    await using inbox = await connect(server, "userid=1");
    for (let index = 0; index < 10; index++) expect((await push(server)).status).toBe(200);

    const answer = await push(server);

    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await toProblem(answer)).toMatchObject({
      code: "rate_limited",
      detail: "too many messages are pushed, the limit is 1 a second",
    });
    const figures = await readMetrics(server);
    expect(figures.get("server_push_messages_total")).toBe(10);
    expect(figures.get('server_push_rejections_total{code="rate_limited"}')).toBe(1);
    expect(figures.get('server_push_limits_hit_total{limit="max-push-rate"}')).toBe(1);
    expect(inbox.waiting.length).toBeLessThanOrEqual(10);
  });

  test.each([
    ["GET", "/push?userid=1&message=m"],
    ["POST", "/push?userid=1"],
    ["GET", "/pushtoall?message=m"],
    ["POST", "/pushtoall"],
  ])("%s %s is refused", async (method, target) => {
    await using server = await startServer(rate);
    await postBatch(server, items(10));

    const answer = await fetch(server.url + target, { method, ...(method === "POST" && { body: "m" }) });

    expect(answer.status).toBe(429);
  });

  test("a push passes as soon as it was told that it would", async () => {
    await using server = await startServer(rate);
    await postBatch(server, items(10));
    const refused = performance.now();
    expect((await push(server)).headers.get("retry-after")).toBe("1");

    let { status } = await push(server);
    while (status === 429) ({ status } = await push(server));

    expect(status).toBe(202);
    expect(performance.now() - refused).toBeLessThan(1900);
  });

  test("a publisher is refused, and one with another key is not", async () => {
    await using server = await startServer({ ...rate, "api-key": `${own},${other}` });
    for (let index = 0; index < 10; index++) await push(server, withKey(own));

    const answers = [await push(server, withKey(own)), await push(server, withKey(other))];

    expect(answers.map(({ status }) => status)).toEqual([429, 202]);
    const [refused] = answers;
    const text = refused === undefined ? "" : JSON.stringify([...refused.headers]) + (await refused.text());
    expect(text).toContain("by this API key or user, the limit is 1 a second for each");
    expect(text).not.toMatch(new RegExp(`${own}|${other}`));
  });
});

describe("at --max-push-rate", () => {
  test("a batch counts by its messages, and all of them are refused or none", async () => {
    await using server = await startServer(rate);
    expect((await postBatch(server, items(6))).status).toBe(202);

    const refused = await postBatch(server, items(7));

    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "3"]);
    expect((await postBatch(server, items(4))).status).toBe(202);
    expect((await readMetrics(server)).get("server_push_messages_total")).toBe(10);
  });

  test("a batch of more than ever pass at once is not told to come back, but how large it may be", async () => {
    await using server = await startServer({ "max-push-rate": "1" });

    const refused = await postBatch(server, items(11));

    expect(refused.status).toBe(413);
    expect(await toProblem(refused)).toMatchObject({
      code: "too_large",
      detail: "the batch has 11 messages and the limit is 1 a second, expected at most 10 at once",
    });
    expect((await postBatch(server, items(10))).status).toBe(202);
  });

  test("what is refused for another reason does not count", async () => {
    await using server = await startServer({ ...rate, "api-key": own });
    for (let index = 0; index < 30; index++) {
      await push(server);
      await fetch(`${server.url}/push?userid=1&mesage=m`, { headers: withKey(own) });
      await postBatch(server, items(11), withKey(own));
    }

    for (let index = 0; index < 10; index++) expect((await push(server, withKey(own))).status).toBe(202);
  });

  test("a repeat of a push does not count, and one that was refused can be tried again", async () => {
    await using server = await startServer(rate);
    const once = (key: string) => push(server, { "Idempotency-Key": key });
    for (let index = 0; index < 30; index++) expect((await once("same")).status).toBe(202);
    for (let index = 0; index < 9; index++) expect((await once(`other ${index}`)).status).toBe(202);

    let { status } = await once("refused");
    expect(status).toBe(429);
    expect((await once("same")).headers.get("idempotency-replayed")).toBe("true");
    while (status === 429) ({ status } = await once("refused"));
    expect(status).toBe(202);
  });
});

test("without --max-push-rate nothing is refused", async () => {
  await using server = await startServer();

  const batches = await Promise.all(Array.from({ length: 10 }, () => postBatch(server, items(10_000))));

  expect(batches.map(({ status }) => status)).toEqual(Array(10).fill(202));
});
