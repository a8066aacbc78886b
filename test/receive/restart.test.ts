/**
 * A server that stops and one that begins, as clients of each transport see it.
 */
import { describe, expect, test } from "bun:test";
import { pushBacklog } from "../support/backlog.ts";
import { push, pushToAll, untilLogged, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { poll } from "../support/poll.ts";
import { startServer } from "../support/server.ts";
import { streams, transports } from "../support/transports.ts";

describe.each(streams)("over $name, a server that stops", ({ open }) => {
  test("ends a session after everything that was pushed before, in order", async () => {
    await using server = await startServer();
    await using receiver = await open(server, { query: "userid=1" });
    const sent = Array.from({ length: 100 }, (_, index) => `${index}`);
    for (const text of sent) await push(server, "userid=1", text);

    await server.drain();

    const { rest, code } = await receiver.ended();
    expect(rest.map(({ data }) => data)).toEqual(sent);
    if (code !== undefined) expect(code).toBe(1012);
    expect(await untilLogged(server, ({ msg }) => msg === "session closed")).toMatchObject({
      reason: "drained",
    });
  });

  test("ends a session in the middle of its replay, without a hole in what it has", async () => {
    await using server = await startServer({ drain: "10s" });
    const since = (await pushToAll(server, "before")).id;
    await pushBacklog(server, { userid: "1", count: 600, size: 60_000 });
    await using receiver = await open(server, { query: "userid=1", since });
    receiver.stopReading();

    const drained = server.drain();
    await eventually(
      "a server that takes nothing new",
      async () => !(await fetch(`${server.url}/readyz`)).ok,
    );
    receiver.readOn();

    const { rest, code } = await receiver.ended();
    expect(rest.length).toBeLessThan(600);
    expect(rest.map(({ data }) => data.trim())).toEqual(rest.map((_, index) => `${index}`));
    if (code !== undefined) expect(code).toBe(1012);
    await drained;
  });
});

test("a poll that waits is answered when the server stops, with where the next one begins", async () => {
  await using server = await startServer();
  const { id } = await push(server, "userid=2", "not for it");
  const waiting = poll(server, { query: "userid=1&wait=60" });
  await untilSessions(server, 1);

  await server.drain();

  expect(await waiting).toEqual({ id, messages: [] });
  expect(await untilLogged(server, ({ msg }) => msg === "session closed")).toMatchObject({
    transport: "poll",
    reason: "drained",
  });
});

test("a poll that comes while the server stops is told to come back", async () => {
  await using server = await startServer({ drain: "10s" });
  const clients = await Promise.all(Array.from({ length: 1000 }, () => connect(server)));
  const drained = server.drain();
  await Promise.race(clients.map(({ closed }) => closed));

  const answer = await fetch(`${server.url}/poll?userid=1`);

  expect([answer.status, answer.headers.has("retry-after")]).toEqual([503, true]);
  await drained;
});

describe.each(transports)("over $name, a server that begins with nothing", ({ open }) => {
  test("proves nothing to a client of the one before it, although it counts the same", async () => {
    await using before = await startServer();
    const { id } = await push(before, "userid=1", "had");
    await push(before, "userid=1", "missed");
    await before.drain();
    await using after = await startServer();
    for (const text of ["other", "others", "and more"]) await push(after, "userid=1", text);

    await using receiver = await open(after, { query: "userid=1", since: id });

    expect(receiver.resumed).toBe(false);
    const [{ data }] = await Promise.all([receiver.next(), push(after, "userid=1", "live")]);
    expect(data).toBe("live");
  });
});
