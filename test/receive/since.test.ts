/**
 * Where a stream begins: what a client says of it, in which of the ways, and what it is told. On every transport.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { push, pushToAll, toOffset, toProblem } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { type Beginning, type Receiver, transports } from "../support/transports.ts";

/** For tests that open no session, and leave nothing behind. */
let shared: TestServer;

beforeAll(async () => {
  shared = await startServer();
});

afterAll(async () => {
  await shared[Symbol.asyncDispose]();
});

/** What it gets up to a message that is pushed now. */
async function textsUntilNow(receiver: Receiver, server: { readonly url: string }): Promise<string[]> {
  await pushToAll(server, "now");
  const texts: string[] = [];
  for (;;) {
    const { data } = await receiver.next();
    if (data === "now") return texts;
    texts.push(data);
  }
}

/** The ways to say an id. */
const ways: readonly { readonly way: string; readonly say: (id: string) => Beginning }[] = [
  { way: "since", say: (since) => ({ since }) },
  { way: "last_event_id", say: (lastEventIdParameter) => ({ lastEventIdParameter }) },
  { way: "the header Last-Event-ID", say: (lastEventIdHeader) => ({ lastEventIdHeader }) },
];

const epochOf = (id: string) => id.slice(0, id.indexOf("-"));

/** Ids from which nothing can be proven, made of the id of the newest message. */
const unproven: readonly { readonly what: string; readonly toId: (head: string) => string }[] = [
  { what: "of another epoch", toId: (head) => `00000000-${head.split("-")[1]}` },
  { what: "that was never given out", toId: (head) => `${epochOf(head)}-1000` },
  { what: "that retention has passed", toId: (head) => `${epochOf(head)}-1` },
  { what: "larger than any", toId: (head) => `${epochOf(head)}-999999999999999` },
];

describe.each(transports)("over $name", ({ open, path }) => {
  test("a client that says nothing starts now, and is not told whether it resumed", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "before");

    await using receiver = await open(server, { query: "userid=1" });

    expect([receiver.start, "resumed" in receiver]).toEqual([id, false]);
    expect(await textsUntilNow(receiver, server)).toEqual([]);
  });

  test("all gives everything that is kept, and does not say whether it resumed", async () => {
    await using server = await startServer();
    for (const text of ["a", "b", "c"]) await push(server, "userid=1", text);

    await using receiver = await open(server, { query: "userid=1", since: "all" });

    expect("resumed" in receiver).toBe(false);
    expect(await textsUntilNow(receiver, server)).toEqual(["a", "b", "c"]);
  });

  test("all of a journal that has forgotten gives what is left", async () => {
    await using server = await startServer({ "retain-count": "2" });
    for (const text of ["a", "b", "c"]) await push(server, "userid=1", text);

    await using receiver = await open(server, { query: "userid=1", since: "all" });

    expect("resumed" in receiver).toBe(false);
    expect([(await receiver.next()).data, (await receiver.next()).data]).toEqual(["b", "c"]);
  });

  test("a duration gives what came in that time", async () => {
    await using server = await startServer();
    for (const text of ["a", "b"]) await push(server, "userid=1", text);

    await using receiver = await open(server, { query: "userid=1", since: "10m" });

    expect("resumed" in receiver).toBe(false);
    expect(await textsUntilNow(receiver, server)).toEqual(["a", "b"]);
  });

  test("a duration leaves out what is older", async () => {
    await using server = await startServer();
    await push(server, "userid=1", "old");
    const from = performance.now();
    await eventually("some time to have passed", () => performance.now() > from + 2100);
    await push(server, "userid=1", "young");

    await using receiver = await open(server, { query: "userid=1", since: "2s" });

    expect(await textsUntilNow(receiver, server)).toEqual(["young"]);
  });

  describe.each(ways)("an id as $way", ({ say }) => {
    test("gives what came after it, and says that nothing was lost", async () => {
      await using server = await startServer();
      const [, second] = [await push(server, "userid=1", "a"), await push(server, "userid=1", "b")];
      await push(server, "userid=1", "c");

      await using receiver = await open(server, { query: "userid=1", ...say(second.id) });

      expect(receiver.resumed).toBe(true);
      expect(await textsUntilNow(receiver, server)).toEqual(["c"]);
    });

    test("that is the newest gives nothing, and says that nothing was lost", async () => {
      await using server = await startServer();
      const { id } = await push(server, "userid=1", "a");

      await using receiver = await open(server, { query: "userid=1", ...say(id) });

      expect([receiver.start, receiver.resumed]).toEqual([id, true]);
      expect(await textsUntilNow(receiver, server)).toEqual([]);
    });

    test.each(unproven)("$what starts from now, and says so", async ({ toId }) => {
      await using server = await startServer({ "retain-count": "3" });
      let head = "";
      for (const text of ["a", "b", "c", "d", "e"]) head = (await push(server, "userid=1", text)).id;

      await using receiver = await open(server, { query: "userid=1", ...say(toId(head)) });

      expect([receiver.start, receiver.resumed]).toEqual([head, false]);
      expect(await textsUntilNow(receiver, server)).toEqual([]);
    });

    test("that is the oldest from which nothing is lost still resumes", async () => {
      await using server = await startServer({ "retain-count": "4" });
      let head = "";
      for (const text of ["a", "b", "c", "d", "e"]) head = (await push(server, "userid=1", text)).id;

      await using receiver = await open(server, { query: "userid=1", ...say(`${epochOf(head)}-1`) });

      expect(receiver.resumed).toBe(true);
      expect((await receiver.next()).data).toBe("b");
    });
  });

  test.each([
    ["last_event_id", (lastEventIdParameter: string) => ({ lastEventIdParameter })],
    ["the header Last-Event-ID", (lastEventIdHeader: string) => ({ lastEventIdHeader })],
  ])("what is no id as %s is what some program remembered: nothing is proven", async (_, say) => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "before");

    for (const malformed of ["42", "k3f9a0zq", "k3f9a0zq-", "K3F9A0ZQ-1", "k3f9a0zq-1x", "é", "-1", "0"]) {
      await using receiver = await open(server, { query: "userid=1", ...say(malformed) });
      expect([malformed, receiver.start, receiver.resumed]).toEqual([malformed, id, false]);
    }
  });

  test.each([
    "42",
    "k3f9a0zq",
    "k3f9a0zq-",
    "K3F9A0ZQ-1",
    "k3f9a0zq--1",
    "k3f9a0zq-1.5",
    "k3f9a0zq-1000000000000000",
    "ALL",
    "10",
    "-10m",
    "10 m",
    "1y",
    "9ms",
    "366d",
    "yesterday",
    "é",
  ])("since=%s is refused by name, with what was expected", async (since) => {
    const answer = await fetch(`${shared.url}${path}?since=${encodeURIComponent(since)}`);

    const problem = await toProblem(answer);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([400, "application/problem+json"]);
    expect(problem.code).toBe("invalid_parameter");
    expect(problem.detail).toContain("since");
    expect(problem.detail).toEndWith(
      "expected the id of a message, a duration from 10ms to 365d (a whole number and ms, s, m, h or d, such as 10m), or all",
    );
  });

  test.each([
    ["an empty since", "since=", "empty_parameter"],
    ["an empty last_event_id", "last_event_id=", "empty_parameter"],
    ["since twice", "since=all&since=all", "repeated_parameter"],
    ["last_event_id twice", "last_event_id=a&last_event_id=b", "repeated_parameter"],
  ])("%s is refused", async (_, query, code) => {
    const answer = await fetch(`${shared.url}${path}?${query}`);

    expect([answer.status, (await toProblem(answer)).code]).toEqual([400, code]);
  });

  test("the header wins over last_event_id, and that over since", async () => {
    await using server = await startServer();
    const ids: string[] = [];
    for (const text of ["a", "b", "c", "d"]) ids.push((await push(server, "userid=1", text)).id);
    const [since = "", lastEventIdParameter = "", lastEventIdHeader = ""] = ids;

    await using byHeader = await open(server, {
      query: "userid=1",
      since,
      lastEventIdParameter,
      lastEventIdHeader,
    });
    await using byParameter = await open(server, { query: "userid=1", since, lastEventIdParameter });

    expect((await byHeader.next()).data).toBe("d");
    expect((await byParameter.next()).data).toBe("c");
  });

  test("a header that proves nothing is not made up for by a since that would", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "a");
    await push(server, "userid=1", "b");

    await using receiver = await open(server, {
      query: "userid=1",
      since: id,
      lastEventIdHeader: "00000000-1",
    });

    expect(receiver.resumed).toBe(false);
    expect(await textsUntilNow(receiver, server)).toEqual([]);
  });

  test("an empty header says nothing", async () => {
    await using server = await startServer();
    const { id } = await push(server, "userid=1", "a");
    await push(server, "userid=1", "b");

    await using receiver = await open(server, { query: "userid=1", since: id, lastEventIdHeader: "" });

    expect(receiver.resumed).toBe(true);
    expect(await textsUntilNow(receiver, server)).toEqual(["b"]);
  });

  test("the place before the first message of all can be resumed from", async () => {
    await using server = await startServer();
    await using before = await open(server, { query: "userid=1" });
    const first = await push(server, "userid=1", "first");

    await using receiver = await open(server, { query: "userid=1", since: before.start });

    expect([toOffset(first), before.start]).toEqual([1, `${epochOf(first.id)}-0`]);
    expect(receiver.resumed).toBe(true);
    expect((await receiver.next()).data).toBe("first");
  });
});
