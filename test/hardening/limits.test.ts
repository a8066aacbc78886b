/**
 * What one client may take: who takes more is told so, and nobody else is the worse for it.
 */
import { describe, expect, test } from "bun:test";
import { push, toProblem } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { poll } from "../support/poll.ts";
import { readMetrics, startServer } from "../support/server.ts";

const proxied = { "trusted-proxies": "loopback" };
const from = (address: string) => ({ "X-Forwarded-For": address });

describe("sessions of one user", () => {
  test.each(["/ws", "/sse", "/poll"])("beyond the limit are refused at %s, until one ends", async (path) => {
    await using server = await startServer({ "max-sessions-per-user": "1" });
    const first = await connect(server, "userid=7");

    const answer = await fetch(`${server.url}${path}?userid=7`);
    await using other = await connect(server, "userid=8");

    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "5"]);
    expect(await toProblem(answer)).toMatchObject({ code: "quota_exceeded" });
    expect(other.waiting).toEqual([]);
    expect((await readMetrics(server)).get('server_push_rejections_total{code="quota_exceeded"}')).toBe(1);
    await first[Symbol.asyncDispose]();
    await using again = await connect(server, "userid=7");
    expect(again.waiting).toEqual([]);
  });

  test("do not keep a poll out that asks what it lacks, and does not wait", async () => {
    await using server = await startServer({ "max-sessions-per-user": "1" });
    await using only = await connect(server, "userid=7");
    const { id: since } = await poll(server, { query: "userid=8&wait=0" });
    const { id } = await push(server, "userid=7", "hello");

    const { messages } = await poll(server, { query: `userid=7&since=${since}&wait=0` });

    expect(messages).toEqual([{ id, data: "hello" }]);
    expect(await only.next()).toBe("hello");
    for (const query of ["wait=0", `since=${since}&wait=1`])
      expect((await fetch(`${server.url}/poll?userid=7&${query}`)).status).toBe(429);
  });
});

describe("sessions from one address", () => {
  test("beyond the limit are refused, and another address is not", async () => {
    await using server = await startServer({ ...proxied, "max-sessions-per-address": "1" });
    const abort = new AbortController();
    const { signal } = abort;
    const first = await fetch(`${server.url}/sse`, { headers: from("203.0.113.7"), signal });

    const same = await fetch(`${server.url}/poll?wait=0`, { headers: from("203.0.113.7") });
    const other = await fetch(`${server.url}/poll?wait=0`, { headers: from("203.0.113.8") });

    expect([first.status, same.status, other.status]).toEqual([200, 429, 200]);
    expect((await toProblem(same)).detail).toBe("203.0.113.7 has 1 sessions, which is the limit for one");
    abort.abort();
  });

  test("count by the /64 of IPv6", async () => {
    await using server = await startServer({ ...proxied, "max-session-rate": "1" });
    const ask = async (address: string) =>
      (await fetch(`${server.url}/poll?wait=0`, { headers: from(address) })).status;

    for (let index = 0; index < 10; index++) expect(await ask(`2001:db8:1:1::${index}`)).toBe(200);
    expect(await ask("2001:db8:1:1:ffff::1")).toBe(429);
    expect(await ask("2001:db8:1:2::1")).toBe(200);
  });

  test("that begin too fast are refused, whatever the query is, and one of another address is not", async () => {
    await using server = await startServer({ ...proxied, "max-session-rate": "1" });
    const ask = (address: string) => fetch(`${server.url}/poll?wait=0`, { headers: from(address) });
    for (let index = 0; index < 10; index++) await ask("203.0.113.7");

    const answer = await ask("203.0.113.7");

    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await toProblem(answer)).toMatchObject({ code: "rate_limited" });
    expect((await ask("203.0.113.8")).status).toBe(200);
  });

  test("are of this machine for a program that names others, when no proxy is trusted", async () => {
    await using server = await startServer({ "max-session-rate": "1", "max-sessions-per-address": "1" });

    for (let index = 0; index < 30; index++)
      expect((await fetch(`${server.url}/poll?wait=0`, { headers: from("203.0.113.7") })).status).toBe(200);
  });
});

describe("a client that sends too much", () => {
  const rate = { "max-receive-rate": "1" };

  test("is told so over push.v1, and what is beyond the limit is not taken", async () => {
    await using server = await startServer(rate);
    await using client = await connect(server, "", ["push.v1"]);
    await client.next();

    for (let index = 0; index < 11; index++) client.send(JSON.stringify({ type: "message", data: "hello" }));

    expect(JSON.parse(String(await client.next()))).toEqual({
      type: "error",
      code: "rate_limited",
      detail: "the session sends too many messages, the limit is 1 a second",
    });
    const figures = await readMetrics(server);
    expect(figures.get("server_push_received_total")).toBe(10);
    expect(figures.get('server_push_rejections_total{code="rate_limited"}')).toBe(1);
  });

  test("and goes on over push.v1 is told so as often as it may send, and then ended with 1008", async () => {
    await using server = await startServer(rate);
    await using client = await connect(server, "", ["push.v1"]);
    await client.next();

    for (let index = 0; index < 100; index++) client.send(JSON.stringify({ type: "message", data: "hello" }));

    expect(await client.closed).toEqual({
      code: 1008,
      reason: "the session sends too many messages, the limit is 1 a second",
    });
    const codes = client.waiting.map((frame) => JSON.parse(String(frame)).code);
    // As many a second come again while they are sent.
    expect(codes.length).toBeWithin(10, 15);
    expect(new Set(codes)).toEqual(new Set(["rate_limited"]));
    const figures = await readMetrics(server);
    expect(figures.get("server_push_received_total")).toBeLessThan(15);
    expect(figures.get("server_push_sessions")).toBe(0);
  });

  test("over a plain WebSocket is ended with 1008, as it cannot be told", async () => {
    await using server = await startServer(rate);
    await using client = await connect(server);
    await using other = await connect(server);

    for (let index = 0; index < 11; index++) client.send("hello");

    expect((await client.closed).code).toBe(1008);
    expect((await readMetrics(server)).get("server_push_sessions")).toBe(1);
    expect(other.waiting).toEqual([]);
  });
});
