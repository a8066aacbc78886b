import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventTypes } from "../../src/event-types.ts";
import { push, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { startIntoPipe } from "../support/pipe.ts";
import { run, startProcess } from "../support/process.ts";
import { program, type RunningProgram, start } from "../support/program.ts";
import { openRelay } from "../support/relay.ts";
import { readMetrics, startServer } from "../support/server.ts";
import { startInTerminal } from "../support/terminal.ts";
import { apiKey } from "../support/tokens.ts";

setDefaultTimeout(60_000);

interface Target {
  readonly url: string;
}

const gap =
  /^server-push: events may be missing: the server cannot resume after [0-9a-z]{8}-\d+, .+ from now$/;

const events = (url: string, ...argv: string[]) => [...program, "events", "--url", url, ...argv];

async function untilReaders(server: Target, count: number): Promise<void> {
  await eventually(
    `${count} readers`,
    async () => (await readMetrics(server)).get("server_push_event_readers") === count,
  );
}

/** Starts it as the only reader of the server, maybe by way of a relay, and waits until it is connected. */
async function startReader(
  server: Target,
  { via = server, argv = [] }: { readonly via?: Target; readonly argv?: readonly string[] } = {},
): Promise<RunningProgram> {
  const reader = start(events(via.url, ...argv));
  await untilReaders(server, 1);
  return reader;
}

/** Makes an event of its own: a push for a user who is not there. */
async function note(server: Target, name: string): Promise<void> {
  await push(server, `userid=nobody&event=${name}`, "x");
}

/** The name in the next line. */
async function nextName(reader: RunningProgram): Promise<unknown> {
  return JSON.parse(await reader.line()).data.event;
}

/** The first line on standard error like this, after others. */
async function untilComplaint(reader: RunningProgram, wanted: RegExp): Promise<string> {
  for (;;) {
    const complaint = await reader.complaint();
    if (wanted.test(complaint)) return complaint;
  }
}

describe("prints", () => {
  test("into a pipe, each event as a line of JSON, with its id", async () => {
    await using server = await startServer();
    await using reader = await startReader(server);
    await using client = await connect(server, "userid=123");
    client.send('two\nlines \u009b2J \u202e "quoted"');

    const lines = [await reader.line(), await reader.line(), await reader.line()];

    const [opened, online, received] = lines.map((line) => JSON.parse(line));
    expect(Object.keys(opened)).toEqual(["id", "type", "timestamp", "data"]);
    expect([opened.type, online.type, received.type]).toEqual([
      "session.opened",
      "user.online",
      "message.received",
    ]);
    expect(online.data).toEqual({ userid: "123" });
    expect(received.data.message).toBe('two\nlines \u009b2J \u202e "quoted"');
    expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("in a terminal, each event as a readable line, with nothing that acts on it", async () => {
    await using server = await startServer();
    await using terminal = startInTerminal(events(server.url));
    await untilReaders(server, 1);
    await using client = await connect(server, `userid=123&compid=${encodeURIComponent("a b\u202e")}`);
    client.send("\u001b[2J\n\u009b");

    expect(await terminal.shown("session.opened")).toMatch(
      /^\d\d:\d\d:\d\d session\.opened {5}session=\S{22} {2}userid=123 {2}compid="a b\\u202e" {2}transport=websocket/,
    );
    expect(await terminal.shown("user.online")).toMatch(/^\d\d:\d\d:\d\d user\.online {8}userid=123$/);
    expect(await terminal.shown("message.received")).toEndWith(String.raw`message="\u001b[2J\n\u009b"`);
  });

  test("in a terminal with --json, JSON with nothing that acts on it", async () => {
    await using server = await startServer();
    await using terminal = startInTerminal(events(server.url, "--json", "--types=message.received"));
    await untilReaders(server, 1);
    await using client = await connect(server);
    client.send("\u009b");

    const line = await terminal.shown("message.received");

    expect(line).toContain(String.raw`"message":"\u009b"}`);
    expect(JSON.parse(line).data.message).toBe("\u009b");
  });

  test("only the types that it is asked for, from where it is asked to begin", async () => {
    await using server = await startServer();
    {
      await using _ = await connect(server, "userid=1");
    }
    await untilSessions(server, 0);
    await note(server, "late");

    const types = "session.closed,message.unclaimed";
    const { status, stdout, stderr } = await run(
      events(server.url, "--types", types, "--since=all", "--count=2"),
    );

    const printed = stdout.trimEnd().split("\n");
    expect(printed.map((line) => JSON.parse(line).type)).toEqual(types.split(","));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const { id } = JSON.parse(printed[0] ?? "");
    const after = await run(events(server.url, "--since", id, "--count=1"));
    expect(after.stdout).toBe(`${printed[1]}\n`);
  });
});

test("--help names every type", async () => {
  const { stdout } = await run([...program, "events", "--help"]);

  expect(eventTypes.filter((type) => !stdout.includes(type))).toEqual([]);
});

describe("after the connection was cut", () => {
  test("it gets what happened meanwhile, once and in order", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using reader = await startReader(server, { via: relay });
    await note(server, "before");
    expect(await nextName(reader)).toBe("before");

    for (const round of ["1", "2"]) {
      relay.cut();
      await untilReaders(server, 0);
      await note(server, `away-${round}`);
      relay.mend();
      await untilReaders(server, 1);
      await note(server, `back-${round}`);

      expect(await nextName(reader)).toBe(`away-${round}`);
      expect(await nextName(reader)).toBe(`back-${round}`);
    }
  });

  test("it goes on from the position that it was told, when nothing older is kept", async () => {
    await using server = await startServer({ "retain-events": "2", ping: "100ms" });
    await using relay = await openRelay(server);
    await using reader = await startReader(server, { via: relay, argv: ["--types=session.opened"] });
    for (const name of ["1", "2", "3"]) await note(server, name);
    // It is told again and again: what was told two seconds ago it has read.
    const told = () => relay.passed.match(/"events.position","id":"\w+-3"/g)?.length ?? 0;
    await eventually("its position", () => told() > 20);

    relay.cut();
    await untilReaders(server, 0);
    await using _ = await connect(server, "compid=away");
    relay.mend();

    expect(JSON.parse(await reader.line()).data.compid).toBe("away");
  });

  test("it says so when the log has moved on too far, and goes on from now", async () => {
    await using server = await startServer({ "retain-events": "2" });
    await using relay = await openRelay(server);
    await using reader = await startReader(server, { via: relay });
    // Else there would be nothing that it could go on from.
    await eventually("its begin", () => relay.passed.includes("events.welcome"));
    const passedAt = performance.now();
    await eventually("time enough to read that", () => performance.now() - passedAt > 2000);

    relay.cut();
    await untilReaders(server, 0);
    for (const name of ["1", "2", "3"]) await note(server, name);
    relay.mend();
    await untilReaders(server, 1);
    await note(server, "back");

    expect(await nextName(reader)).toBe("back");
    expect(await untilComplaint(reader, gap)).toBeDefined();
  });

  test("of which nothing is heard any more, it leaves that, and misses nothing", async () => {
    await using server = await startServer({ ping: "100ms" });
    await using relay = await openRelay(server);
    await using reader = await startReader(server, { via: relay });
    await note(server, "before");
    expect(await nextName(reader)).toBe("before");

    relay.silence();
    await note(server, "unheard");

    expect(await nextName(reader)).toBe("unheard");
    expect(await reader.complaint()).toMatch(
      /^server-push: connection lost \(nothing heard for 2\.2 s\), back in \d+ ms$/,
    );
  });
});

test.each(["SIGTERM", "SIGKILL"] as const)(
  "after a restart with --data by %s, it misses nothing, and says nothing of the kind",
  async (ending) => {
    await using folder = await makeFolder();
    const argv = ["--log-format=json", `--data=${folder.file("messages.db")}`];
    await using first = await startProcess([...program, "--port=0", ...argv]);
    await using reader = await startReader(first);
    await note(first, "before");
    expect(await nextName(reader)).toBe("before");
    first.signal(ending);
    await first.exited;

    await using second = await startProcess([...program, `--port=${first.port}`, ...argv]);
    await note(second, "after");

    expect(await nextName(reader)).toBe("after");
    expect(await reader.complaint()).toMatch(/^server-push: connection lost \(.+\), back in \d+ ms$/);
    reader.signal("SIGTERM");
    await reader.exited;
    const rest: string[] = [];
    for (;;) {
      const line = await reader.complaint().catch(() => undefined);
      if (line === undefined) break;
      rest.push(line);
    }
    expect(rest.filter((line) => gap.test(line))).toEqual([]);
  },
);

test("while its output is not read it leaves the server, and prints everything afterwards", async () => {
  await using server = await startServer({ "max-message": "1MiB", "max-receive-rate": "1000" });
  const texts = Array.from({ length: 12 }, (_, number) => `${number} ${"x".repeat(1_000_000)}`);
  const argv = ["--types=message.received", "--count", String(texts.length)];
  await using reader = await startIntoPipe(events(server.url, ...argv));
  await untilReaders(server, 1);
  await using client = await connect(server);

  for (const text of texts) client.send(text);
  await untilReaders(server, 0);
  await eventually("its end", () => {
    reader.read();
    return reader.status !== undefined;
  });

  const printed = reader.read().trimEnd().split("\n");
  expect(printed.map((line) => JSON.parse(line).data.message)).toEqual(texts);
  expect(reader.status).toBe(0);
});

test("it ends when nobody reads its output any more, and says nothing", async () => {
  await using server = await startServer();
  await using reader = await startReader(server);
  await note(server, "hello");
  expect(await nextName(reader)).toBe("hello");

  await reader.stopReading();
  await eventually("its end", async () => {
    await note(server, "anybody");
    return (await readMetrics(server)).get("server_push_event_readers") === 0;
  });

  expect(await reader.exited).toBe(0);
  await expect(reader.complaint()).rejects.toThrow("the output ended");
});

test("it ends as soon as a signal says so", async () => {
  await using server = await startServer();
  await using reader = await startReader(server);

  reader.signal("SIGINT");

  expect(await reader.exited).toBe(130);
});

describe("exit status 1, with the reason:", () => {
  test("no API key, or another one", async () => {
    await using server = await startServer({ "api-key": apiKey });

    for (const argv of [[], ["--api-key=fedcba9876543210"]]) {
      const { status, stdout, stderr } = await run(events(server.url, ...argv));
      expect(stderr).toMatch(/^server-push: unauthorized: .+\n$/);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    }
    const environment = { SERVER_PUSH_API_KEY: apiKey };
    const headers = { Authorization: `Bearer ${apiKey}` };
    await (await fetch(`${server.url}/push?userid=nobody&message=x`, { headers })).text();
    const { status } = await run(events(server.url, "--since=all", "--count=1"), { environment });
    expect(status).toBe(0);
  });

  test.each([
    ["a type that there is not", "--types=user.gone", 'invalid_parameter: parameter types has "user.gone"'],
    ["a begin that is none", "--since=yesterday", "invalid_parameter: parameter since is "],
  ])("%s", async (_, argument, said) => {
    await using server = await startServer();

    const { status, stdout, stderr } = await run(events(server.url, argument));

    expect(stderr).toStartWith(`server-push: ${said}`);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  });

  test.each([400, 401, 403])("a %d, also when it was let in before", async (refusal) => {
    const welcome = '{"type":"events.welcome","id":"abcdefgh-0","idle":25}\n';
    let isFirst = true;
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch() {
        if (!isFirst) return Response.json({ code: "some_code", detail: "some detail" }, { status: refusal });
        isFirst = false;
        return new Response(welcome, { headers: { "Content-Type": "application/x-ndjson" } });
      },
    });

    const { status, stderr } = await run(events(server.url.href));

    const [lost, refused] = stderr.trimEnd().split("\n");
    expect(lost).toMatch(/^server-push: connection lost \(the server ended it\), back in \d+ ms$/);
    expect(refused).toBe("server-push: some_code: some detail");
    expect(status).toBe(1);
  });

  test("a server that is not there", async () => {
    using gone = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    await gone.stop(true);

    const { status, stderr } = await run(events(gone.url.origin));

    expect(stderr).toMatch(new RegExp(`^server-push: cannot reach ${gone.url.origin}: .+\n$`));
    expect(status).toBe(1);
  });

  test("a server that is another one", async () => {
    using other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });

    const { status, stderr } = await run(events(other.url.origin));

    expect(stderr).toBe(`server-push: ${other.url.origin} did not answer with events\n`);
    expect(status).toBe(1);
  });
});

describe("exit status 2, and one line that says what was expected:", () => {
  test.each([
    ["an argument that is no option", ["all"], '"all"'],
    ["an unknown option", ["--userid=1"], "--userid"],
    ["no count", ["--count=0"], "--count"],
    ["a key that can be none", ["--api-key", "short"], "--api-key"],
    ["a URL that is none", ["--url", "localhost:8888"], "--url"],
  ])("%s", async (_, argv, said) => {
    const { status, stdout, stderr } = await run([...program, "events", ...argv]);

    expect(stderr).toMatch(/^server-push: .+\n$/);
    expect(stderr).toContain(said);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });
});
