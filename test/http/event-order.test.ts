/**
 * The order of events: one for all readers, in which every session and every user has a life that makes sense; and its end, when the
 * server stops.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { push, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventFormats, type HeardEvent, readEvents } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { exchange } from "../support/raw.ts";
import { type Random, seeded } from "../support/random.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

setDefaultTimeout(60_000);

const users = 10;
const transports = ["plain", "push.v1", "SSE", "poll"] as const;

/** A session of one of the users, over any transport, which sends something where it can, and goes. */
async function visit(server: TestServer, visitor: number, random: Random): Promise<void> {
  const query = `userid=${visitor % users}`;
  const transport = transports[random.below(transports.length)];
  if (transport === "poll") return void (await exchange(server, toGet(`/poll?${query}&wait=0`)));
  if (transport === "SSE") {
    const leaving = new AbortController();
    const answer = await fetch(`${server.url}/sse?${query}`, { signal: leaving.signal });
    await answer.body?.getReader().read();
    return leaving.abort();
  }
  await using client = await connect(server, query, transport === "push.v1" ? ["push.v1"] : []);
  for (let count = random.below(4); count > 0; count--)
    client.send(transport === "plain" ? "hello" : '{"type":"message","data":"hello"}');
}

const isLast = ({ data: { event } }: HeardEvent) => event === "last";
const toGet = (target: string) => `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;

/** Events of these by what the others have in common with them. */
function groupBy(events: readonly HeardEvent[], member: string): readonly (readonly HeardEvent[])[] {
  const groups = Map.groupBy(events, ({ data }) => data[member]);
  groups.delete(undefined);
  return [...groups.values()];
}

test.concurrent.each(["memory", "a file"])("is one for all readers, with a journal in %s", async (kept) => {
  await using folder = await makeFolder();
  const data = kept === "memory" ? {} : { data: folder.file("messages.db") };
  await using server = await startServer(data);
  const random = seeded(5);
  const visits = 300;
  await using first = await readEvents("SSE", server);
  await using second = await readEvents("NDJSON", server);

  for (let begun = 0; begun < visits; begun += 20)
    await Promise.all(Array.from({ length: 20 }, (_, index) => visit(server, begun + index, random)));
  await untilSessions(server, 0);
  await eventually(
    "that nobody is online",
    async () => (await readMetrics(server)).get("server_push_users_online") === 0,
  );
  await push(server, "userid=nobody&event=last", "x");
  const events = await first.until(isLast);

  expect(await second.until(isLast)).toEqual(events);
  await using late = await readEvents("NDJSON", server, { query: "since=all" });
  expect(await late.until(isLast)).toEqual(events);
  const sessions = groupBy(events, "session");
  expect(sessions).toHaveLength(visits);
  for (const life of sessions) {
    const types = life.map(({ type }) => type);
    const between = types.slice(1, -1);
    expect([types[0], types.at(-1)]).toEqual(["session.opened", "session.closed"]);
    expect(between).toEqual(between.map(() => "message.received"));
  }
  const comings = groupBy(
    events.filter(({ type }) => type.startsWith("user.")),
    "userid",
  );
  expect(comings).toHaveLength(users);
  for (const life of comings) {
    const expected = life.map((_, index) => (index % 2 === 0 ? "user.online" : "user.offline"));
    expect(life.map(({ type }) => type)).toEqual(expected);
    expect(life.length % 2).toBe(0);
  }
});

for (const format of eventFormats)
  test.each(["memory", "a file"])(
    `when the server stops, a reader as ${format} is told how all sessions ended, and then ends, with a journal in %s`,
    async (kept) => {
      await using folder = await makeFolder();
      const data = kept === "memory" ? {} : { data: folder.file("messages.db") };
      await using server = await startServer(data);
      await using reader = await readEvents(format, server);
      const clients = await Promise.all(
        Array.from({ length: 300 }, (_, index) => connect(server, `userid=${index}`)),
      );

      const [events] = await Promise.all([readToGoodEnd(), server.drain()]);

      const closed = events.filter(({ type }) => type === "session.closed");
      expect(closed).toHaveLength(clients.length);
      expect(new Set(closed.map(({ data: { reason } }) => reason))).toEqual(new Set(["drained"]));

      async function readToGoodEnd(): Promise<HeardEvent[]> {
        const heard: HeardEvent[] = [];
        for (;;) {
          const next = await reader.next().catch((error: Error) => error);
          if (!(next instanceof Error)) heard.push(next);
          else if (next.message === "the stream ended") return heard;
          else throw next;
        }
      }
    },
  );

test("a reader that comes back while the server still stops is ended again, and does not hold it up", async () => {
  await using server = await startServer({ drain: "20s" });
  await using reader = await readEvents("NDJSON", server);
  await using client = await connect(server, "userid=1");
  const begun = performance.now();
  const draining = server.drain();
  const events = await reader.rest();

  await using again = await readEvents("NDJSON", server, { query: `since=${events[0]?.id}` });

  expect(again.welcome).toMatchObject({ resumed: true });
  expect(await again.rest()).toEqual(events.slice(1));
  await draining;
  expect(performance.now() - begun).toBeLessThan(5000);
  expect((await client.closed).code).toBe(1012);
});
