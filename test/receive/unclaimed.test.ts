/**
 * A push to a user who is away for a moment: the back end hears of it when the user does not come back.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { push, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { readEvents } from "../support/event-log.ts";
import { makeFolder } from "../support/folder.ts";
import { openRaw } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

setDefaultTimeout(60_000);

/** Leaves nobody behind, but a user who is away. */
async function comeAndGo(server: TestServer, userid: string): Promise<void> {
  await (await connect(server, `userid=${userid}`))[Symbol.asyncDispose]();
  await untilSessions(server, 0);
}

const readGoing = (server: TestServer) =>
  readEvents("NDJSON", server, { query: "types=message.unclaimed,user.offline" });

// Most of it waits for somebody not to come.
describe.concurrent("a push to a user who has just left", () => {
  test("is told as unclaimed when the user does not come back, before it is told that the user has gone", async () => {
    await using server = await startServer();
    await using reader = await readGoing(server);
    await comeAndGo(server, "1");

    const { id, sessions } = await push(server, "userid=1&compid=inbox&event=order", "hello");

    expect(sessions).toBe(0);
    expect(await reader.until(({ type }) => type === "user.offline")).toMatchObject([
      { type: "message.unclaimed", data: { id, userid: "1", compid: "inbox", event: "order" } },
      { type: "user.offline", data: { userid: "1" } },
    ]);
  });

  test("is never told as such when the user comes back for it, also not when they leave for good later", async () => {
    await using server = await startServer();
    await using reader = await readGoing(server);
    await comeAndGo(server, "1");
    const before = await push(server, "userid=2", "of another");
    await push(server, "userid=1", "hello");

    await comeAndGo(server, `1&since=${before.id}`);

    expect(await reader.until(({ type }) => type === "user.offline")).toMatchObject([
      { type: "message.unclaimed", data: { id: before.id, userid: "2" } },
      { type: "user.offline", data: { userid: "1" } },
    ]);
  });

  test.each([
    ["begins anew", "1"],
    ["is of another component", "1&compid=chart&since=all"],
  ])("is told ten seconds after the return when who comes back %s", async (_, address) => {
    await using server = await startServer();
    await using reader = await readGoing(server);
    await comeAndGo(server, "1");
    const { id } = await push(server, "userid=1&compid=inbox", "hello");

    await using back = await connect(server, `userid=${address}`);

    expect(await reader.until(({ type }) => type === "message.unclaimed")).toMatchObject([
      { type: "message.unclaimed", data: { id, userid: "1", compid: "inbox" } },
    ]);
    expect(back.waiting).toEqual([]);
  });

  test("is never told when who comes back gets what replaces it", async () => {
    await using server = await startServer();
    await using reader = await readGoing(server);
    await comeAndGo(server, "1");
    await push(server, "userid=1&key=progress", "50 %");

    await using back = await connect(server, "userid=1");
    await push(server, "userid=1&key=progress", "100 %");
    expect(await back.next()).toBe("100 %");
    await back[Symbol.asyncDispose]();

    expect(await reader.until(({ type }) => type === "user.offline")).toMatchObject([
      { type: "user.offline", data: { userid: "1" } },
    ]);
  });

  test("is told when who comes back is lost before they were sent it, unlike what they were sent before that", async () => {
    await using server = await startServer({ "max-message": "1MiB" });
    await using reader = await readGoing(server);
    const before = await push(server, "userid=1", "before");
    await comeAndGo(server, "1");
    const first = await push(server, "userid=1", "first");
    // More than the buffers on the way hold.
    for (let count = 0; count < 30; count++) await push(server, "userid=1", "x".repeat(1_000_000));
    const last = await push(server, "userid=1", "last");

    const raw = await openRaw(server);
    await raw.write(`GET /sse?userid=1&since=${before.id} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await raw.take((bytes) => (bytes.includes("data: first") ? { value: true, length: 0 } : undefined));
    raw.stopReading();
    raw.reset();

    const told = await reader.until(({ type }) => type === "user.offline");
    const ids = new Set(told.map(({ data }) => data["id"]));
    expect([ids.has(first.id), ids.has(last.id)]).toEqual([false, true]);
  });

  test("is never told as such when one of two components comes back for it, whoever stays", async () => {
    await using server = await startServer();
    await using reader = await readGoing(server);
    await using chart = await connect(server, "userid=1&compid=chart");
    const inbox = await connect(server, "userid=1&compid=inbox");
    const { id } = await push(server, "userid=1&compid=inbox", "before");
    await inbox[Symbol.asyncDispose]();
    await untilSessions(server, 1);

    await push(server, "userid=1&compid=inbox", "between");
    await using back = await connect(server, `userid=1&compid=inbox&since=${id}`);

    expect(await back.next()).toBe("between");
    await back[Symbol.asyncDispose]();
    await chart[Symbol.asyncDispose]();
    expect(await reader.until(({ type }) => type === "user.offline")).toMatchObject([
      { type: "user.offline", data: { userid: "1" } },
    ]);
  });

  test("is told when the server stops, as the next one would know nothing of it", async () => {
    await using folder = await makeFolder();
    await using server = await startServer({ data: folder.file("messages.db") });
    await using reader = await readGoing(server);
    await comeAndGo(server, "1");
    const { id } = await push(server, "userid=1", "hello");

    await server.drain();

    expect(await reader.rest()).toMatchObject([{ type: "message.unclaimed", data: { id, userid: "1" } }]);
  });
});

test("who was online before the log of events begins is expected back after an orderly stop, too", async () => {
  await using folder = await makeFolder();
  const settings = { data: folder.file("messages.db"), "retain-events": "1" };
  await using before = await startServer(settings);
  const { id: since } = await push(before, "userid=9", "before");
  await using _ = await connect(before, "userid=1");
  // A hundred times as much are kept on a disk.
  for (let count = 0; count < 60; count++)
    await (await connect(before, `userid=other-${count}`))[Symbol.asyncDispose]();
  await before.drain();

  await using after = await startServer(settings);
  await using reader = await readEvents("NDJSON", after, { query: "types=message.unclaimed,user.online" });
  await push(after, "userid=1", "hello");
  await using back = await connect(after, `userid=1&since=${since}`);
  expect(await back.next()).toBe("hello");
  const { id } = await push(after, "userid=nobody", "told at once");

  expect(await reader.next()).toMatchObject({ type: "message.unclaimed", data: { id } });
});

test("an orderly stop without --data tells that everybody who is online has gone", async () => {
  await using server = await startServer();
  await using reader = await readGoing(server);
  await using first = await connect(server, "userid=1");
  await using second = await connect(server, "userid=2");
  await using again = await connect(server, "userid=2&compid=inbox");

  await server.drain();

  for (const { closed } of [first, second, again]) expect((await closed).code).toBe(1012);
  expect(await reader.rest()).toMatchObject([
    { type: "user.offline", data: { userid: "1" } },
    { type: "user.offline", data: { userid: "2" } },
  ]);
});
