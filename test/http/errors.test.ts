/**
 * What a caller is told when a request is refused: the status and the code to branch on, and a sentence that names the thing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { pushToAll, receiveUntil, toProblem, untilSessions } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { toHandshake } from "../support/frames.ts";
import { exchange } from "../support/raw.ts";
import { refusals, send } from "../support/refusals.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let everyone: TestClient;

beforeAll(async () => {
  server = await startServer({ "max-message": "1KiB" });
  everyone = await connect(server, "userid=1&compid=inbox");
});

afterAll(async () => {
  await everyone[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

describe.each(refusals.map((refusal) => [refusal.what, refusal] as const))("%s", (_, refusal) => {
  test("is refused with the status and the code for it", async () => {
    const answer = await send(server, refusal);

    expect(answer.status).toBe(refusal.status);
    expect((await toProblem(answer)).code).toBe(refusal.code);
  });

  test("is refused by name", async () => {
    const { detail } = await toProblem(await send(server, refusal));

    for (const name of refusal.names) expect(detail).toContain(name);
  });

  test("is answered with a problem of RFC 9457, which no cache keeps", async () => {
    const answer = await send(server, refusal);

    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await toProblem(answer)).toEqual({
      type: "about:blank",
      title: expect.stringMatching(/^[A-Z][a-z ]+$/),
      status: refusal.status,
      detail: expect.any(String),
      code: refusal.code,
      ...(refusal.item !== undefined && { item: refusal.item }),
    });
  });

  test("is counted under its code, and under no other", async () => {
    const before = await readMetrics(server);
    await (await send(server, refusal)).text();
    const after = await readMetrics(server);

    const counted = [...after]
      .filter(([name]) => name.startsWith("server_push_rejections_total"))
      .map(([name, value]) => [name, value - (before.get(name) ?? 0)] as const)
      .filter(([, added]) => added !== 0);
    expect(counted).toEqual([[`server_push_rejections_total{code="${refusal.code}"}`, 1]]);
  });
});

test("nothing that is refused reaches anyone", async () => {
  for (const refusal of refusals) await (await send(server, refusal)).text();
  await pushToAll(server, "end");

  expect(await receiveUntil(everyone, "end")).toEqual([]);
});

test("what a caller wrote stands in detail with its control and bidirectional characters escaped", async () => {
  const hostile = '\u001b[2J\r\n\u0000\u202e\u009b"<script>';

  const answer = await fetch(`${server.url}/push?${encodeURIComponent(hostile)}=1`);

  expect((await toProblem(answer)).detail).toStartWith(
    String.raw`parameter "\u001b[2J\r\n\u0000\u202e\u009b\"<script>" is unknown here`,
  );
});

test("what a caller wrote is cut in detail, however long it is", async () => {
  const answer = await fetch(`${server.url}/push?${"x".repeat(10_000)}=1`);

  expect((await toProblem(answer)).detail).toBe(
    `parameter "${"x".repeat(64)}…" is unknown here, expected userid, compid, message, event, key, ttl, except, wait`,
  );
});

test("one session more than --max-sessions is refused with 503 and Retry-After", async () => {
  await using full = await startServer({ "max-sessions": "1" });
  await using only = await connect(full, "userid=1");

  const answer = await fetch(`${full.url}/ws?userid=2`);

  expect(answer.status).toBe(503);
  expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
  const { code, detail } = await toProblem(answer);
  expect({ code, detail }).toEqual({
    code: "too_many_sessions",
    detail: "the server has 1 sessions, the limit is 1",
  });
  expect(only.socket.readyState).toBe(WebSocket.OPEN);
});

test("a handshake over --max-sessions is refused as the same request without one is", async () => {
  await using full = await startServer({ "max-sessions": "1" });
  await using only = await connect(full, "userid=1");

  const { status, body } = await exchange(full, toHandshake("userid=2"));

  expect(status).toBe(503);
  expect(JSON.parse(body).code).toBe("too_many_sessions");
  expect(only.socket.readyState).toBe(WebSocket.OPEN);
});

test("the place of a session that ended can be taken", async () => {
  await using full = await startServer({ "max-sessions": "1" });
  const first = await connect(full, "userid=1");
  await first[Symbol.asyncDispose]();
  await untilSessions(full, 0);

  await using second = await connect(full, "userid=2");

  await pushToAll(full, "hello");
  expect(await second.next()).toBe("hello");
});
