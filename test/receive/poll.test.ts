/**
 * Long poll: answered at once when there is something, else within its time, and nothing that arrives between two is lost.
 */
import { describe, expect, test } from "bun:test";
import { pushBacklog } from "../support/backlog.ts";
import { push, pushToAll, toOffset, toProblem, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { poll, pollAll, textsOf } from "../support/poll.ts";
import { openRaw } from "../support/raw.ts";
import { readMetrics, startServer } from "../support/server.ts";

async function secondsOf(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return (performance.now() - began) / 1000;
}

describe("the answer", () => {
  test("is JSON that nobody keeps", async () => {
    await using server = await startServer();

    const { status, headers } = await fetch(`${server.url}/poll?wait=0`);

    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("cache-control")).toBe("no-store");
  });

  test("has each message with its id, its event, and its text or bytes", async () => {
    await using server = await startServer();
    const { id: since } = await pushToAll(server, "before");
    const first = await push(server, "userid=1&event=order&key=k&ttl=60", '{"order":17}');
    await fetch(`${server.url}/push?userid=1`, {
      method: "POST",
      body: Uint8Array.of(0xfb, 0xff, 0),
      headers: { "Content-Type": "application/octet-stream" },
    });
    const last = await push(server, "userid=1", "é");

    const text = await (await fetch(`${server.url}/poll?userid=1&since=${since}`)).text();

    const epoch = since.slice(0, 8);
    expect(text).toBe(
      `{"id":"${last.id}","resumed":true,"messages":[` +
        `{"id":"${first.id}","event":"order","data":"{\\"order\\":17}"},` +
        `{"id":"${epoch}-3","base64":"+/8A"},{"id":"${last.id}","data":"é"}]}`,
    );
  });

  test("comes at once when something was missed, whatever the wait", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "had");
    await push(server, "userid=1", "missed");

    const seconds = await secondsOf(async () => {
      expect(textsOf(await poll(server, { query: `userid=1&since=${id}&wait=60` }))).toEqual(["missed"]);
    });

    expect(seconds).toBeLessThan(10);
  });

  test("says that the next one begins after all there is, also what was not for it", async () => {
    await using server = await startServer();
    const { id: since } = await push(server, "userid=1", "had");
    await push(server, "userid=1", "missed");
    const last = await push(server, "userid=2", "not for it");

    const answer = await poll(server, { query: `userid=1&since=${since}` });

    expect([answer.id, textsOf(answer)]).toEqual([last.id, ["missed"]]);
  });

  test("comes as soon as something is pushed", async () => {
    await using server = await startServer();
    const answer = poll(server, { query: "userid=1&wait=60" });
    await untilSessions(server, 1);

    const { id, sessions } = await push(server, "userid=1", "live");

    expect(await answer).toEqual({ id, messages: [{ id, data: "live" }] });
    expect(sessions).toBe(1);
  });

  test("has all that comes in one batch", async () => {
    await using server = await startServer();
    const answer = poll(server, { query: "userid=1&wait=60" });
    await untilSessions(server, 1);

    await pushBacklog(server, { userid: "1", count: 50, size: 0 });

    expect(textsOf(await answer)).toEqual(Array.from({ length: 50 }, (_, index) => `${index}`));
  });

  test("comes without messages when its time is over, and says where the next one begins", async () => {
    await using server = await startServer();
    const answer = poll(server, { query: "userid=1&wait=1" });
    await untilSessions(server, 1);
    const { id } = await push(server, "userid=2", "not for it");

    const seconds = await secondsOf(async () => expect(await answer).toEqual({ id, messages: [] }));

    expect(seconds).toBeLessThan(2);
    expect((await readMetrics(server)).get("server_push_sessions")).toBe(0);
  });

  test("comes no sooner than its time is over when there is nothing", async () => {
    await using server = await startServer();

    const seconds = await secondsOf(() => poll(server, { query: "userid=1&wait=1" }));

    expect(seconds).toBeGreaterThan(0.95);
  });

  test("comes at once with wait=0", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "before");

    const seconds = await secondsOf(async () => {
      expect(await poll(server, { query: "userid=1&wait=0" })).toEqual({ id, messages: [] });
    });

    expect(seconds).toBeLessThan(10);
  });

  test("comes at once to a client that did not resume, so that it can load its state", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "missed");

    const answer = await poll(server, { query: "userid=1&since=00000000-1&wait=60" });

    expect(answer).toEqual({ id, resumed: false, messages: [] });
  });

  test("to a client that did not resume is where it resumes", async () => {
    await using server = await startServer();
    await push(server, "userid=1", "missed");
    const { id } = await poll(server, { query: "userid=1&since=00000000-1" });
    await push(server, "userid=1", "later");

    const answer = await poll(server, { query: `userid=1&since=${id}` });

    expect([answer.resumed, textsOf(answer)]).toEqual([true, ["later"]]);
  });
});

describe("what comes between two polls", () => {
  test("is in the second", async () => {
    await using server = await startServer();
    const { id } = await poll(server, { query: "userid=1&wait=0" });
    await push(server, "userid=1", "between");

    const answer = await poll(server, { query: `userid=1&since=${id}` });

    expect([answer.resumed, textsOf(answer)]).toEqual([true, ["between"]]);
  });

  test("is not in the third", async () => {
    await using server = await startServer();
    const first = await poll(server, { query: "userid=1&wait=0" });
    await push(server, "userid=1", "between");
    const second = await poll(server, { query: `userid=1&since=${first.id}` });

    const third = await poll(server, { query: `userid=1&since=${second.id}&wait=0` });

    expect(third).toEqual({ id: second.id, resumed: true, messages: [] });
  });

  test("is never lost or repeated, however fast messages come", async () => {
    await using server = await startServer();
    let { id } = await poll(server, { query: "userid=1&wait=0" });
    const count = 1500;
    const pushing = Promise.all(
      [0, 1, 2].map(async (publisher) => {
        for (let index = 0; index < count / 3; index++)
          await push(server, "userid=1", `${publisher}.${index}`);
      }),
    );

    const offsets: number[] = [];
    while (offsets.length < count) {
      const answer = await poll(server, { query: `userid=1&since=${id}&wait=60` });
      expect(answer.resumed).toBe(true);
      offsets.push(...answer.messages.map((message) => toOffset({ ...message, sessions: 0 })));
      id = answer.id;
    }
    await pushing;

    expect(offsets).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  });
});

describe("a long backlog", () => {
  test.each([
    ["many messages", 1500, 10, 256, 6],
    ["large messages", 60, 60_000, 5, 12],
  ])("of %s comes in pages, of which each poll gives one", async (_, count, size, page, pages) => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "before");
    await pushBacklog(server, { userid: "1", count, size });

    const first = await poll(server, { query: `userid=1&since=${id}` });
    const all = await pollAll(server, "userid=1", id);

    expect(first.messages.length).toBe(page);
    expect(first.id).toBe(first.messages.at(-1)?.id ?? "");
    // The last one has nothing, and so says that this was all.
    expect(all.polls).toBe(pages + 1);
    expect(all.messages.map(({ data }) => data?.trim())).toEqual(
      Array.from({ length: count }, (__, index) => `${index}`),
    );
  });

  test("that comes all at once to a poll that waits is cut in the same way, and goes on", async () => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "before");
    const waiting = poll(server, { query: `userid=1&since=${id}&wait=60` });
    await untilSessions(server, 1);

    await pushBacklog(server, { userid: "1", count: 1000, size: 0 });
    const first = await waiting;
    const rest = await pollAll(server, "userid=1", first.id);

    // As many as are handed over in one turn, and no more than a page.
    expect(first.messages.length).toBeGreaterThan(0);
    expect(first.messages.length).toBeLessThanOrEqual(256);
    expect([...first.messages, ...rest.messages].map(({ data }) => data)).toEqual(
      Array.from({ length: 1000 }, (_, index) => `${index}`),
    );
  });

  test("of which nothing is for it is passed over in one poll", async () => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "before");
    await pushBacklog(server, { userid: "1", count: 1000, size: 0 });
    const last = await push(server, "userid=2", "for it");

    const answer = await poll(server, { query: `userid=2&since=${id}` });

    expect([answer.id, textsOf(answer)]).toEqual([last.id, ["for it"]]);
  });
});

describe("polls at the same time", () => {
  test("of one client are each answered with the same", async () => {
    await using server = await startServer();
    const { id } = await pushToAll(server, "before");
    const answers = Array.from({ length: 20 }, () => poll(server, { query: `userid=1&since=${id}&wait=60` }));
    await untilSessions(server, 20);

    const { sessions } = await push(server, "userid=1", "live");

    for (const answer of await Promise.all(answers)) expect(textsOf(answer)).toEqual(["live"]);
    expect(sessions).toBe(20);
    expect((await readMetrics(server)).get("server_push_sessions")).toBe(0);
  });

  test("of others go on waiting", async () => {
    await using server = await startServer();
    const [first, second] = [1, 2].map((user) => poll(server, { query: `userid=${user}&wait=60` }));
    await untilSessions(server, 2);

    await push(server, "userid=1", "for the first");
    expect(textsOf((await first) ?? { id: "", messages: [] })).toEqual(["for the first"]);
    await untilSessions(server, 1);
    await push(server, "userid=2", "for the second");

    expect(textsOf((await second) ?? { id: "", messages: [] })).toEqual(["for the second"]);
  });
});

describe("a client that goes away while it waits", () => {
  test.each([
    ["closes its connection", (raw: AsyncDisposable) => raw[Symbol.asyncDispose]()],
    ["is reset", (raw: { reset(): void }) => raw.reset()],
  ])("because it %s is no longer one of the sessions", async (_, end) => {
    await using server = await startServer();
    await using raw = await openRaw(server);
    await raw.write("GET /poll?userid=1&wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    await untilSessions(server, 1);

    await end(raw);

    await untilSessions(server, 0);
    expect((await push(server, "userid=1", "too late")).sessions).toBe(0);
    expect((await readMetrics(server)).get('server_push_sessions_closed_total{reason="closed"}')).toBe(1);
  });

  test("loses nothing by it: the next poll begins where the last answer ended", async () => {
    await using server = await startServer();
    const { id } = await poll(server, { query: "userid=1&wait=0" });
    const gone = new AbortController();
    const aborted = poll(server, { query: `userid=1&since=${id}&wait=60`, signal: gone.signal });
    await untilSessions(server, 1);
    gone.abort();
    await expect(aborted).rejects.toThrow();
    await push(server, "userid=1", "meanwhile");

    expect(textsOf(await poll(server, { query: `userid=1&since=${id}` }))).toEqual(["meanwhile"]);
  });
});

describe("the wait", () => {
  test.each(["121", "-1", "1.5", "1s", "1e1", "0x10", "999", "1000", "+1", " 1", "wait"])(
    "%j is refused by name, with what was expected",
    async (wait) => {
      await using server = await startServer();

      const answer = await fetch(`${server.url}/poll?wait=${encodeURIComponent(wait)}`);

      const { code, detail } = await toProblem(answer);
      expect([answer.status, code]).toEqual([400, "invalid_parameter"]);
      expect(detail).toContain("wait");
      expect(detail).toContain("whole seconds from 0 to 120");
    },
  );

  test.each(["", "&wait=1", "&wait=120"])("may be left out, short or long: %j", async (wait) => {
    await using server = await startServer();
    const answer = poll(server, { query: `userid=1${wait}` });
    await untilSessions(server, 1);

    await push(server, "userid=1", "hello");

    expect(textsOf(await answer)).toEqual(["hello"]);
  });

  test("outlasts --http-timeout, which is for connections without a request", async () => {
    await using server = await startServer({ "http-timeout": "5s" });

    const answer = await poll(server, { query: "userid=1&wait=9" });

    expect(answer.messages).toEqual([]);
  }, 20_000);
});

test("HEAD is refused with 405, and opens no session", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/poll`, { method: "HEAD" });

  expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, OPTIONS"]);
  expect((await readMetrics(server)).get("server_push_sessions_opened_total")).toBe(0);
});

test("a poll beyond --max-sessions is refused with 503 and Retry-After", async () => {
  await using server = await startServer({ "max-sessions": "1" });
  const only = poll(server, { query: "userid=1&wait=60" });
  await untilSessions(server, 1);

  const answer = await fetch(`${server.url}/poll`);

  expect([answer.status, answer.headers.has("retry-after")]).toEqual([503, true]);
  await push(server, "userid=1", "hello");
  await only;
  await eventually("room again", async () => (await fetch(`${server.url}/poll?wait=0`)).ok);
});
