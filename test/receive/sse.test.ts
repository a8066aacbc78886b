/**
 * Server-Sent Events, byte for byte: what a browser's EventSource needs, and what it would stumble over.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, type Receipt, toProblem, toReceipt, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { openEventStream, readToEnd, type TestEventStream } from "../support/event-stream.ts";
import { eventually } from "../support/eventually.ts";
import { openRaw } from "../support/raw.ts";
import { readMetrics, startServer } from "../support/server.ts";

/** Leaves the welcome behind. */
async function openWelcomed(...given: Parameters<typeof openEventStream>): Promise<TestEventStream> {
  const stream = await openEventStream(...given);
  await stream.block();
  return stream;
}

async function dataOf(stream: TestEventStream): Promise<string | undefined> {
  return (await stream.block())?.data;
}

describe("the head of the answer", () => {
  test("says that it is a stream of events, which nobody may keep, change or hold back", async () => {
    await using server = await startServer();

    await using stream = await openEventStream(server);

    const { status, headers } = stream.head;
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/event-stream");
    expect(headers.get("cache-control")).toBe("no-store, no-transform");
    expect(headers.get("x-accel-buffering")).toBe("no");
    expect(headers.has("content-length")).toBe(false);
  });

  test("says where the stream begins, and whether that is where the client asked", async () => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "had");

    await using fresh = await openEventStream(server);
    await using resumed = await openEventStream(server, { headers: { "Last-Event-ID": id } });
    await using not = await openEventStream(server, { headers: { "Last-Event-ID": "00000000-1" } });

    const told = [fresh, resumed, not].map(({ head: { headers } }) => [
      headers.get("last-event-id"),
      headers.get("server-push-resumed"),
    ]);
    expect(told).toEqual([
      [id, null],
      [id, "true"],
      [id, "false"],
    ]);
  });

  test.each(["*/*", "text/event-stream, */*;q=0.1", "application/json", ""])(
    "is the same for Accept: %s",
    async (accept) => {
      await using server = await startServer();

      await using stream = await openEventStream(server, { headers: { Accept: accept } });

      expect([stream.head.status, (await stream.event()).event]).toEqual([200, "push.welcome"]);
    },
  );
});

describe("the welcome", () => {
  test("is the first event, with a pause before the client comes back", async () => {
    await using server = await startServer({ ping: "2500ms" });
    const { id } = await pushToAll(server, "before");

    await using stream = await openEventStream(server);
    const { text, data = "" } = (await stream.block()) ?? { text: "" };

    const { session } = JSON.parse(data);
    expect(text).toMatch(/^retry: \d+\n/);
    expect(text.replace(/^retry: \d+\n/, "")).toBe(
      `event: push.welcome\nid: ${id}\ndata: {"session":"${session}","id":"${id}","idle":2.5}\n\n`,
    );
    expect(session).toMatch(/^[\w-]{22}$/);
  });

  test("gives each client a pause of its own, of one to four seconds", async () => {
    await using server = await startServer();

    const pauses = await Promise.all(
      Array.from({ length: 40 }, async () => {
        await using stream = await openEventStream(server);
        return Number((await stream.block())?.retry);
      }),
    );

    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(4000);
    expect(new Set(pauses).size).toBeGreaterThan(20);
  });

  test("says whether it is proven that nothing was lost", async () => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "had");

    await using stream = await openEventStream(server, { query: `since=${id}` });

    expect(JSON.parse((await stream.event()).data ?? "")).toMatchObject({ id, resumed: true });
  });
});

describe("a message", () => {
  test.each([
    ["a line", "hello", "data: hello\n"],
    ["two lines", "a\nb", "data: a\ndata: b\n"],
    ["lines that end in CR LF", "a\r\nb", ': json "a\\r\\nb"\ndata: a\ndata: b\n'],
    ["lines that end in CR", "a\rb", ': json "a\\rb"\ndata: a\ndata: b\n'],
    ["a line break at its end", "a\n", "data: a\ndata: \n"],
    ["a line break at its begin", "\na", "data: \ndata: a\n"],
    ["nothing but a line break", "\n", "data: \ndata: \n"],
    ["LF CR, which is two line breaks", "a\n\rb", ': json "a\\n\\rb"\ndata: a\ndata: \ndata: b\n'],
    ["an empty line, which would end the event", "a\n\nb", "data: a\ndata: \ndata: b\n"],
    ["what looks like fields", "a\nid: 7\nevent: x", "data: a\ndata: id: 7\ndata: event: x\n"],
    ["a space at its begin", " a", "data:  a\n"],
    ["a colon at its begin", ": a", "data: : a\n"],
    ["a byte order mark", "\uFEFFa", "data: \uFEFFa\n"],
    ["characters of two to four bytes", "é€😀", "data: é€😀\n"],
    ["line separators that are not SSE's", "a\u2028b\u0085c\u000bd", "data: a\u2028b\u0085c\u000bd\n"],
    ["a NUL", "a\u0000b", "data: a\u0000b\n"],
  ])(
    "of %s is an event with its id, as the standard writes it, and exact in a comment where that is not",
    async (_, message, data) => {
      await using server = await startServer();
      await using stream = await openWelcomed(server, { query: "userid=1" });

      const { id } = await push(server, "userid=1", message);

      expect((await stream.block())?.text).toBe(`id: ${id}\n${data}\n`);
    },
  );

  test("with an event has its name before the data", async () => {
    await using server = await startServer();
    await using stream = await openWelcomed(server, { query: "userid=1" });

    const { id } = await push(server, "userid=1&event=order%20%C3%A9", '{"order":17}');

    expect((await stream.block())?.text).toBe(`id: ${id}\nevent: order é\ndata: {"order":17}\n\n`);
  });

  test("of bytes is base64 with padding, on one line", async () => {
    await using server = await startServer();
    await using stream = await openWelcomed(server, { query: "userid=1" });
    const bytes = new Uint8Array(1000).fill(0xfb);

    const { id } = await toReceipt(
      await fetch(`${server.url}/push?userid=1`, {
        method: "POST",
        body: bytes,
        headers: { "Content-Type": "application/octet-stream" },
      }),
    );

    expect((await stream.block())?.text).toBe(
      `id: ${id}\n: base64\ndata: ${Buffer.from(bytes).toString("base64")}\n\n`,
    );
  });

  test("is the same bytes live and replayed", async () => {
    await using server = await startServer();
    await using live = await openEventStream(server, { query: "userid=1" });
    const { id } = (await live.block()) ?? {};
    for (const message of ["a\r\nb", "\uFEFF", "é😀"]) await push(server, "userid=1&event=e", message);

    await using replayed = await openWelcomed(server, { query: `userid=1&since=${id}` });

    for (let index = 0; index < 3; index++) expect(await replayed.block()).toEqual(await live.block());
  });

  test("of one push is counted for each stream that it was sent to", async () => {
    await using server = await startServer();
    await using first = await openWelcomed(server, { query: "userid=1&compid=a" });
    await using second = await openWelcomed(server, { query: "userid=1" });
    await using other = await openWelcomed(server, { query: "userid=2" });

    const receipts = [
      await push(server, "userid=1", "both"),
      await push(server, "userid=1&compid=a", "first"),
      await pushToAll(server, "all"),
    ];

    expect(receipts.map(({ sessions }) => sessions)).toEqual([2, 1, 3]);
    expect([await dataOf(first), await dataOf(first), await dataOf(first)]).toEqual(["both", "first", "all"]);
    expect([await dataOf(second), await dataOf(second)]).toEqual(["both", "all"]);
    expect(await dataOf(other)).toBe("all");
  });
});

describe("the position", () => {
  test("comes to a stream at rest as an id without data, which is no event", async () => {
    await using server = await startServer({ ping: "100ms" });
    await using stream = await openWelcomed(server, { query: "userid=1" });
    const { id } = await push(server, "userid=2", "not for it");

    await eventually("the position of what was not for it", async () => {
      const block = await stream.block();
      return block?.text === `id: ${id}\n\n`;
    });
  });

  test("is the id from which the stream resumes", async () => {
    await using server = await startServer({ ping: "100ms", "retain-count": "2" });
    await using stream = await openWelcomed(server, { query: "userid=1" });
    let newest: Receipt | undefined;
    for (let index = 0; index < 10; index++) newest = await push(server, "userid=2", "not for it");
    await eventually("the position", async () => (await stream.block())?.id === newest?.id);

    await using again = await openEventStream(server, {
      query: "userid=1",
      headers: { "Last-Event-ID": newest?.id ?? "" },
    });

    expect(again.head.headers.get("server-push-resumed")).toBe("true");
  });
});

describe("a stream that ends", () => {
  test.each([
    ["closes its connection", (stream: TestEventStream) => stream.raw[Symbol.asyncDispose]()],
    ["is reset", (stream: TestEventStream) => stream.raw.reset()],
  ])("because its client %s is no longer one of the sessions", async (_, end) => {
    await using server = await startServer();
    await using stays = await openWelcomed(server, { query: "userid=1" });
    await using ends = await openWelcomed(server, { query: "userid=1" });
    await untilSessions(server, 2);

    await end(ends);

    await untilSessions(server, 1);
    expect((await push(server, "userid=1", "hello")).sessions).toBe(1);
    expect((await stays.event()).data).toBe("hello");
    expect((await readMetrics(server)).get('server_push_sessions_closed_total{reason="closed"}')).toBe(1);
  });

  test("while much is on its way to it is no longer one of the sessions", async () => {
    await using server = await startServer({ "retain-bytes": "64MiB" });
    const { id } = await pushToAll(server, "before");
    for (let index = 0; index < 400; index++) await push(server, "userid=1", "x".repeat(60_000));
    await using ends = await openRaw(server);
    await ends.write(`GET /sse?userid=1&since=${id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    await ends.answer();
    ends.stopReading();
    await untilSessions(server, 1);

    ends.reset();

    await untilSessions(server, 0);
    expect((await readMetrics(server)).get("server_push_replays")).toBe(0);
  });
});

describe("a request that cannot be taken", () => {
  test("by HEAD is refused with 405, and opens no session", async () => {
    await using server = await startServer();

    const answer = await fetch(`${server.url}/sse`, { method: "HEAD" });

    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, OPTIONS"]);
    expect((await readMetrics(server)).get("server_push_sessions_opened_total")).toBe(0);
  });

  test("with a wrong parameter is refused with 400, as an EventSource shall give up", async () => {
    await using server = await startServer();

    const answer = await fetch(`${server.url}/sse?user=1`, { headers: { Accept: "text/event-stream" } });

    expect([answer.status, (await toProblem(answer)).code]).toEqual([400, "unknown_parameter"]);
  });

  test("now is answered with 503 and Retry-After to a client that asks for anything", async () => {
    await using server = await startServer({ "max-sessions": "1" });
    await using only = await connect(server);

    const answer = await fetch(`${server.url}/sse`);

    expect([answer.status, answer.headers.has("retry-after")]).toEqual([503, true]);
    expect((await toProblem(answer)).code).toBe("too_many_sessions");
    expect(only.waiting).toEqual([]);
  });

  test.each(["text/event-stream", "text/event-stream, */*;q=0.1"])(
    "now is answered to who accepts %s with a stream that ends with when to come back",
    async (accept) => {
      await using server = await startServer({ "max-sessions": "1" });
      await using only = await connect(server);

      await using stream = await openEventStream(server, { headers: { Accept: accept } });
      const [block, ...more] = await readToEnd(stream);

      expect([stream.head.status, stream.head.headers.get("content-type")]).toEqual([
        200,
        "text/event-stream",
      ]);
      expect(stream.head.headers.get("cache-control")).toBe("no-store, no-transform");
      expect(block?.text).toMatch(/^retry: [1-4]\d{3}\n: the server has 1 sessions, the limit is 1\n\n$/);
      expect([...more, ...only.waiting]).toEqual([]);
      expect((await readMetrics(server)).get("server_push_sessions_opened_total")).toBe(1);
    },
  );

  test("while the server stops is answered to an EventSource in the same way", async () => {
    await using server = await startServer({ drain: "10s" });
    const clients = await Promise.all(Array.from({ length: 1000 }, () => connect(server)));
    const drained = server.drain();
    await Promise.race(clients.map(({ closed }) => closed));

    await using stream = await openEventStream(server);
    const blocks = await readToEnd(stream);

    expect(stream.head.status).toBe(200);
    expect(blocks.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^retry: [1-4]\d{3}\n: the server is shutting down.*\n\n$/),
    ]);
    await drained;
  });
});
