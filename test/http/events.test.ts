/**
 * /events as a back end reads it: what it is told, and that it goes on where it was.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { EventSource } from "eventsource";
import { eventTypes } from "../../src/event-types.ts";
import { postBatch, toArray } from "../support/batches.ts";
import { push, toProblem, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { type EventReading, eventFormats, type HeardEvent, readEvents } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { exchange } from "../support/raw.ts";
import { openRelay } from "../support/relay.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { apiKey, withKey } from "../support/tokens.ts";

setDefaultTimeout(60_000);

const id = expect.stringMatching(/^[0-9a-z]{8}-\d+$/);
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

/** Makes an event of its own: a push for a user who is not there. */
async function note(server: TestServer, name: string): Promise<void> {
  await push(server, `userid=nobody&event=${name}`, "x");
}

/** Makes one of each name, in one call. */
async function noteAll(server: TestServer, names: readonly string[]): Promise<void> {
  await postBatch(server, toArray(names.map((event) => ({ userid: "nobody", message: "x", event }))));
}

const isNoted = (name: string) => (event: HeardEvent) => event.data["event"] === name;
const namesOf = (events: readonly HeardEvent[]) => events.map(({ data }) => data["event"]);

/** Everything that a reader gets up to a note that is made now. */
async function readNow(server: TestServer, reader: EventReading): Promise<HeardEvent[]> {
  const name = crypto.randomUUID();
  await note(server, name);
  return (await reader.until(isNoted(name))).slice(0, -1);
}

describe.each(eventFormats)("as %s", (format) => {
  test("a reader is welcomed first, and told from where on it gets everything", async () => {
    await using server = await startServer({ ping: "7s" });
    await note(server, "before");
    await using reader = await readEvents(format, server);

    expect(reader.welcome).toEqual({ id, idle: 7 });
    expect(reader.head.headers.get("content-type")).toBe(
      format === "SSE" ? "text/event-stream" : "application/x-ndjson",
    );
    expect(await readNow(server, reader)).toEqual([]);
  });

  test("it gets each thing that happens, with an id of its own, a type and a time", async () => {
    await using server = await startServer();
    await using reader = await readEvents(format, server);
    const text = 'two\nlines \r\n\u2028"quoted" \u0000 \u{1f600}';
    {
      await using client = await connect(server, "userid=1&compid=inbox");
      client.send(text);
      client.send(Uint8Array.of(0, 255));
    }
    const heard = await reader.until(({ type }) => type === "session.closed");
    const session = heard[0]?.data["session"];
    const receipt = await push(server, "userid=2&compid=inbox", "x");
    heard.push(await reader.next());

    const whose = { session, userid: "1", compid: "inbox" };
    const expected: [string, object][] = [
      ["session.opened", { ...whose, transport: "websocket", address: "loopback" }],
      ["user.online", { userid: "1" }],
      ["message.received", { ...whose, message: text }],
      ["message.received", { ...whose, base64: "AP8=" }],
      ["session.closed", { ...whose, transport: "websocket", reason: "closed", code: expect.any(Number) }],
      ["message.unclaimed", { id: receipt.id, userid: "2", compid: "inbox" }],
    ];
    expect(heard).toEqual(expected.map(([type, data]) => ({ id, type, timestamp, data }) as HeardEvent));
    expect(new Set(heard.map((event) => event.id)).size).toBe(heard.length);
  });

  test("it is told where it is every ping, also of what is not for it", async () => {
    await using server = await startServer({ ping: "100ms" });
    await using reader = await readEvents(format, server, { query: "types=user.online" });
    const { position: first } = reader;
    await using all = await readEvents(format, server);
    await note(server, "other");
    const { id: newest } = await all.next();

    while (reader.position !== newest) expect(await reader.step()).toBeUndefined();
    const told = reader.positions;
    while (reader.positions < told + 3) await reader.step();

    expect(reader.position).toBe(newest);
    expect(newest).not.toBe(first);
  });

  test("it begins where it asks to, in each of the ways to ask", async () => {
    await using server = await startServer();
    await using first = await readEvents(format, server);
    for (const name of ["one", "two", "three"]) await note(server, name);
    const [one] = await first.until(isNoted("three"));
    const after = one?.id ?? "";

    for (const [options, names, resumed] of [
      [{ query: `since=${after}` }, ["two", "three"], { resumed: true }],
      [{ query: `last_event_id=${after}` }, ["two", "three"], { resumed: true }],
      [{ headers: { "Last-Event-ID": after } }, ["two", "three"], { resumed: true }],
      [{ headers: { "Last-Event-ID": after }, query: "since=all" }, ["two", "three"], { resumed: true }],
      [{ query: "since=1h" }, ["one", "two", "three"], {}],
      [{ query: "since=all" }, ["one", "two", "three"], {}],
      [{ query: `since=${first.welcome.id}` }, ["one", "two", "three"], { resumed: true }],
    ] as const) {
      await using reader = await readEvents(format, server, options);
      const events = await reader.until(isNoted("three"));

      expect({ options, names: namesOf(events) }).toEqual({ options, names: [...names] });
      const { id: start, idle: _, ...rest } = reader.welcome;
      expect({ options, ...rest }).toEqual({ options, ...resumed });
      expect(start).toEqual(id);
    }
  });

  test("it comes back again and again while events pour in, and gets each once and in order", async () => {
    await using server = await startServer();
    const count = 3000;
    const [pushed, heard]: [string[], HeardEvent[]] = [[], []];
    await using first = await readEvents(format, server);
    let position = first.welcome.id;

    const pouring = (async () => {
      for (let from = 0; from < count; from += 50) {
        const names = Array.from({ length: 50 }, (_, index) => `${from + index}`);
        pushed.push(...names);
        await noteAll(server, names);
      }
    })();
    for (let returns = 0; heard.length < count; returns++) {
      await using reader = await readEvents(format, server, { headers: { "Last-Event-ID": position } });
      expect(reader.welcome).toMatchObject({ id: position, resumed: true });
      for (let taken = 0; taken < 100 + returns && heard.length < count; taken++)
        heard.push(await reader.next());
      ({ position } = reader);
    }
    await pouring;

    expect(namesOf(heard)).toEqual(pushed);
  });

  test("with types it gets these alone, and a type that there is not is refused by its name", async () => {
    await using server = await startServer();
    await using reader = await readEvents(format, server, { query: "types=user.online,message.unclaimed" });
    {
      await using client = await connect(server, "userid=1");
      client.send("hello");
      await untilSessions(server, 1);
    }
    await untilSessions(server, 0);

    expect((await readNow(server, reader)).map(({ type }) => type)).toEqual(["user.online"]);
    for (const [types, named] of [
      ["user.online,session.begun", '"session.begun"'],
      ["user.online,", '""'],
      ["user.online;user.offline", '"user.online;user.offline"'],
    ]) {
      const { code, detail } = await toProblem(await fetch(`${server.url}/events?types=${types}`));
      expect(code).toBe("invalid_parameter");
      expect(detail).toBe(
        `parameter types has ${named}, expected some of ${eventTypes.join(", ")} with commas between`,
      );
    }
  });

  describe("over a restart of the server", () => {
    const everBefore = "since=all&types=message.unclaimed";

    test("with --data it goes on, in the old order", async () => {
      await using folder = await makeFolder();
      const settings = { data: folder.file("messages.db") };
      let position = "";
      {
        await using server = await startServer(settings);
        await using reader = await readEvents(format, server);
        for (const name of ["one", "two", "three"]) await note(server, name);
        position = (await reader.next()).id;
        await server.drain();
      }
      await using server = await startServer(settings);
      await using reader = await readEvents(format, server, { headers: { "Last-Event-ID": position } });
      await using fresh = await readEvents(format, server, { query: everBefore });
      await note(server, "four");

      expect(reader.welcome).toMatchObject({ id: position, resumed: true });
      expect(namesOf(await reader.until(isNoted("four")))).toEqual(["two", "three", "four"]);
      expect(namesOf(await fresh.until(isNoted("four")))).toEqual(["one", "two", "three", "four"]);
    });

    test("without it, it is told that it may have missed some, and goes on from now", async () => {
      let position = "";
      {
        await using server = await startServer();
        await using reader = await readEvents(format, server);
        await note(server, "one");
        position = (await reader.next()).id;
      }
      await using server = await startServer();
      await note(server, "two");
      await using reader = await readEvents(format, server, { headers: { "Last-Event-ID": position } });

      expect(reader.welcome).toMatchObject({ resumed: false });
      expect(reader.welcome.id).not.toBe(position);
      expect(await readNow(server, reader)).toEqual([]);
    });
  });

  test("it cannot resume what nobody ever got, and is told so", async () => {
    await using server = await startServer();
    await using first = await readEvents(format, server);
    await note(server, "one");
    const { id: newest } = await first.next();
    const beyond = newest.replace(/\d+$/, "1000");

    for (const unknown of ["abcdefgh-1", beyond, "nonsense", "yesterday"]) {
      await using reader = await readEvents(format, server, { query: `last_event_id=${unknown}` });
      expect(reader.welcome).toMatchObject({ id: newest, resumed: false });
    }
  });

  test("it cannot resume what --retain-events has dropped, and is told so", async () => {
    await using server = await startServer({ "retain-events": "10" });
    await using first = await readEvents(format, server);
    await note(server, "0");
    const { id: dropped } = await first.next();
    for (let count = 1; count <= 11; count++) await note(server, `${count}`);

    await using reader = await readEvents(format, server, { query: `since=${dropped}` });
    await using rest = await readEvents(format, server, { query: "since=all" });

    expect(reader.welcome).toMatchObject({ resumed: false });
    expect(await readNow(server, reader)).toEqual([]);
    expect(namesOf(await rest.until(isNoted("11")))).toEqual(
      Array.from({ length: 10 }, (_, index) => `${index + 2}`),
    );
  });
});

test("the data of an event that is sent is the whole of it, and a line has its id besides", async () => {
  await using server = await startServer();
  await note(server, "one");
  const text = await readSome(server, "text/event-stream");
  const line = await readSome(server, "application/x-ndjson");

  const [, own = "", type = "", data = ""] = /\n\nid: (\S+)\nevent: (\S+)\ndata: (.+)\n\n/.exec(text) ?? [];
  expect(JSON.parse(data)).toEqual({ type, timestamp, data: expect.any(Object) });
  expect(line.split("\n")[1]).toBe(`{"id":"${own}",${data.slice(1)}`);
});

test("the type that is accepted may be written in capitals", async () => {
  await using server = await startServer();
  await note(server, "one");

  const text = await readSome(server, "Application/X-NDJSON");

  expect(JSON.parse(text.split("\n")[0] ?? "")).toMatchObject({ type: "events.welcome" });
});

test.each(["0", "5"])("of more at once than the %s that are kept, who is there gets all", async (kept) => {
  await using server = await startServer({ "retain-events": kept });
  await using reader = await readEvents("NDJSON", server);
  const names = Array.from({ length: 100 }, (_, index) => `${index}`);

  for (let round = 0; round < 3; round++) {
    await noteAll(server, names);

    expect(namesOf(await reader.until(isNoted("99")))).toEqual(names);
  }
});

test("a reader needs the API key, and no token of a client will do", async () => {
  await using server = await startServer({ "api-key": apiKey });

  for (const headers of [{}, { Authorization: "Bearer fedcba9876543210" }]) {
    const answer = await fetch(`${server.url}/events`, { headers });
    expect([answer.status, (await toProblem(answer)).code]).toEqual([401, "unauthorized"]);
  }
  await using reader = await readEvents("SSE", server, { headers: withKey });
  expect(reader.welcome).toMatchObject({ id });
});

test.each([
  ["of another site's page", { Origin: "https://evil.example.com" }, "403 foreign_origin"],
  ["of another site's page without an origin", { "Sec-Fetch-Site": "cross-site" }, "403 foreign_origin"],
  ["for another host", { Host: "evil.example.com" }, "403 foreign_host"],
])("a request %s is refused", async (_, headers, expected) => {
  await using server = await startServer();
  const lines = Object.entries({ Host: "127.0.0.1", ...headers }).map(([name, value]) => `${name}: ${value}`);

  const { status, body } = await exchange(server, `GET /events HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);

  expect(`${status} ${JSON.parse(body).code}`).toBe(expected);
});

test("HEAD is refused: it would open a stream that nobody reads", async () => {
  await using server = await startServer();

  const { status, headers } = await fetch(`${server.url}/events`, { method: "HEAD" });

  expect([status, headers.get("allow")]).toEqual([405, "GET, OPTIONS"]);
});

test("an EventSource reads it, and resumes by itself after its connection was cut", async () => {
  await using server = await startServer({ "api-key": apiKey });
  await using relay = await openRelay(server);
  const headers = { ...withKey, Accept: "text/event-stream" };
  const noteWithKey = async (name: string) =>
    await (await fetch(`${server.url}/push?userid=nobody&event=${name}&message=x`, { headers })).text();
  const heard: string[] = [];
  const welcomes: (boolean | undefined)[] = [];
  const source = new EventSource(`${relay.url}/events`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...withKey } }),
  });
  source.addEventListener("events.welcome", ({ data }) => welcomes.push(JSON.parse(data).resumed));
  source.addEventListener("message.unclaimed", ({ data }) => heard.push(JSON.parse(data).data.event));
  try {
    await eventually("its welcome", () => welcomes.length === 1);
    await noteWithKey("one");
    await eventually("an event", () => heard.length === 1);

    relay.cut();
    await noteWithKey("two");
    relay.mend();
    await eventually("its return", () => welcomes.length === 2);
    await noteWithKey("three");
    await eventually("all events", () => heard.length >= 3);

    expect(heard).toEqual(["one", "two", "three"]);
    expect(welcomes).toEqual([undefined, true]);
  } finally {
    source.close();
  }
});

/** What is there at once of all that is kept. */
async function readSome(server: TestServer, type: string): Promise<string> {
  const answer = await fetch(`${server.url}/events?since=all`, { headers: { Accept: type } });
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("message.unclaimed") && text.endsWith("\n")) break;
  }
  return text;
}
