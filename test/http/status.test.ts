/**
 * What an operator sees: alive, ready, and figures that are exact.
 */
import { expect, test } from "bun:test";
import { rename } from "node:fs/promises";
import { push, pushToAll, receiveUntil, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { openRawSession } from "../support/frames.ts";
import { readMetrics, startServer } from "../support/server.ts";

test("/healthz says ok", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/healthz`);

  expect(answer.status).toBe(200);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(await answer.json()).toEqual({ status: "ok" });
});

test("/readyz says ready", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/readyz`);

  expect(answer.status).toBe(200);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(await answer.json()).toEqual({ status: "ready" });
});

test("/metrics is in the text format of Prometheus, each figure with its help and its type", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/metrics`);

  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await answer.text();
  const named = new Set(
    [...text.matchAll(/^([a-z_]+)/gm)].map(([, name]) => name?.replace(/_(bucket|sum|count)$/, "")),
  );
  for (const name of named) {
    expect(text).toMatch(new RegExp(`^# HELP ${name} .+$`, "m"));
    expect(text).toMatch(new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`, "m"));
  }
});

test("the figures of a server that has done nothing are all there and zero", async () => {
  await using server = await startServer();

  const figures = await readMetrics(server);

  for (const name of [
    "server_push_sessions",
    "server_push_sessions_opened_total",
    "server_push_messages_total",
    "server_push_deliveries_total",
    "server_push_received_total",
    "server_push_journal_messages",
    "server_push_journal_bytes",
    "server_push_push_duration_seconds_count",
    'server_push_sessions_closed_total{reason="closed"}',
    'server_push_sessions_closed_total{reason="dropped"}',
    'server_push_sessions_closed_total{reason="unresponsive"}',
    'server_push_sessions_closed_total{reason="drained"}',
    'server_push_rejections_total{code="unknown_parameter"}',
    'server_push_rejections_total{code="internal"}',
  ])
    expect([name, figures.get(name)]).toEqual([name, 0]);
});

test("the figures of pushes are exact", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=1&compid=inbox");
  await using chart = await connect(server, "userid=1&compid=chart");

  await push(server, "userid=1", "to two");
  await push(server, "userid=1&compid=inbox", "to one");
  await push(server, "userid=2", "to none");
  await pushToAll(server, "to all");
  await fetch(`${server.url}/push?userid=1`);

  expect(await receiveUntil(inbox, "to all")).toEqual(["to two", "to one"]);
  expect(await receiveUntil(chart, "to all")).toEqual(["to two"]);
  const figures = await readMetrics(server);
  expect(figures.get("server_push_messages_total")).toBe(4);
  expect(figures.get("server_push_deliveries_total")).toBe(5);
  expect(figures.get("server_push_push_duration_seconds_count")).toBe(4);
  expect(figures.get("server_push_push_duration_seconds_sum")).toBeGreaterThan(0);
  expect(figures.get('server_push_rejections_total{code="missing_parameter"}')).toBe(1);
});

test("the figures of sessions are exact", async () => {
  await using server = await startServer();
  await using stays = await connect(server, "userid=1");
  const closes = await connect(server, "userid=1");
  const drops = await openRawSession(server, "userid=1");

  await closes[Symbol.asyncDispose]();
  drops.raw.reset();
  await untilSessions(server, 1);

  expect(stays.socket.readyState).toBe(WebSocket.OPEN);
  const figures = await readMetrics(server);
  expect(figures.get("server_push_sessions_opened_total")).toBe(3);
  expect(figures.get('server_push_sessions_closed_total{reason="closed"}')).toBe(1);
  expect(figures.get('server_push_sessions_closed_total{reason="dropped"}')).toBe(1);
});

test("a handshake that is refused is no session", async () => {
  await using server = await startServer();

  await connect(server, "userid=").catch(() => undefined);

  const figures = await readMetrics(server);
  expect(figures.get("server_push_sessions_opened_total")).toBe(0);
  expect(figures.get('server_push_rejections_total{code="empty_parameter"}')).toBe(1);
});

test("the figures of the journal are what it keeps, each message at its bytes and 64, each topic at its name and 256", async () => {
  await using server = await startServer({ "retain-count": "3" });

  for (const message of ["1", "22", "333", "4444", "é"]) await push(server, "userid=1", message);

  const figures = await readMetrics(server);
  expect(figures.get("server_push_messages_total")).toBe(5);
  expect(figures.get("server_push_journal_messages")).toBe(3);
  expect(figures.get("server_push_journal_bytes")).toBe(3 * 64 + 3 + 4 + 2 + 256 + 2 * "u1".length);
});

test("what the journal's time is over for is not counted", async () => {
  await using server = await startServer({ "retain-time": "10ms" });

  await push(server, "userid=1", "hello");

  await eventually("an empty journal", async () => {
    const figures = await readMetrics(server);
    return (
      figures.get("server_push_journal_messages") === 0 && figures.get("server_push_journal_bytes") === 0
    );
  });
});

test("whether the journal takes messages is a figure, which changes with what /readyz says", async () => {
  await using folder = await makeFolder();
  const path = folder.file("messages.db");
  await using server = await startServer({ data: path });
  const untilWritable = (writable: 0 | 1, ready: number) =>
    eventually(`/readyz with ${ready}`, async () => {
      const { status } = await fetch(`${server.url}/readyz`);
      return (await readMetrics(server)).get("server_push_journal_writable") === writable && status === ready;
    });
  await untilWritable(1, 200);

  await rename(path, `${path}.moved`);
  await fetch(`${server.url}/pushtoall?message=m`);

  await untilWritable(0, 503);
  await rename(`${path}.moved`, path);
  await untilWritable(1, 200);
});

test("the build and the process are among the figures", async () => {
  await using server = await startServer();

  const figures = await readMetrics(server);

  const build = [...figures].filter(([name]) => name.startsWith("server_push_build_info"));
  expect(build).toEqual([
    [expect.stringMatching(/^server_push_build_info\{version="[^"]+",commit="[^"]+",bun="[\d.]+"\}$/), 1],
  ]);
  expect(figures.get("process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(figures.get("process_cpu_seconds_total")).toBeGreaterThan(0);
  expect(figures.get("process_start_time_seconds")).toBeWithin(1.6e9, Date.now() / 1000);
});

test("no figure has a user, a component or an event in its name or its labels", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=the-user&compid=the-component");

  await push(server, "userid=the-user&compid=the-component&event=the-event", "hello");

  expect(await client.next()).toBe("hello");
  const text = await (await fetch(`${server.url}/metrics`)).text();
  expect(text).not.toMatch(/the-(user|component|event)/);
});
