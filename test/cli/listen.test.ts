import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { startIntoPipe } from "../support/pipe.ts";
import { run, startProcess } from "../support/process.ts";
import { program, type RunningProgram, start } from "../support/program.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

setDefaultTimeout(60_000);

const listen = (url: string, ...argv: string[]) => [...program, "listen", "--url", url, ...argv];

/** Starts it as the only session of the server, and waits until it is connected. */
async function startListener(server: TestServer, ...argv: string[]): Promise<RunningProgram> {
  const listener = start(listen(server.url, ...argv));
  await untilSessions(server, 1);
  return listener;
}

describe("prints", () => {
  test("every message as a line", async () => {
    await using server = await startServer();
    await using listener = await startListener(server, "--userid=123", "--compid=inbox");

    await push(server, "userid=123&compid=inbox", "to the component");
    await push(server, "userid=123", "to the user \u{1f600}");
    await pushToAll(server, "to all");

    expect(await listener.line()).toBe("to the component");
    expect(await listener.line()).toBe("to the user \u{1f600}");
    expect(await listener.line()).toBe("to all");
  });

  test("a text of several lines as one line, with nothing that acts on a terminal", async () => {
    await using server = await startServer();
    await using listener = await startListener(server);

    await pushToAll(server, "one\ntwo\r\nthree\tfour\u001b[2J\u0000\u0085\u2028end");
    await pushToAll(server, "next");

    expect(await listener.line()).toBe(
      String.raw`one\ntwo\r\nthree` + "\tfour" + String.raw`\u001b[2J\u0000\u0085\u2028end`,
    );
    expect(await listener.line()).toBe("next");
  });

  test("a binary message in base64", async () => {
    await using server = await startServer();
    await using listener = await startListener(server);

    await pushBytes(server, Uint8Array.of(0, 10, 255));

    expect(await listener.line()).toBe("AAr/");
  });

  test("with --json, exactly the text", async () => {
    await using server = await startServer();
    await using listener = await startListener(server, "--json");
    const text = 'one\ntwo "three" \\n \u001b \u{1f600}';

    await pushToAll(server, text);

    expect(JSON.parse(await listener.line())).toEqual({ data: text });
  });

  test("with --json, exactly the bytes", async () => {
    await using server = await startServer();
    await using listener = await startListener(server, "--json");

    await pushBytes(server, Uint8Array.of(0, 10, 255));

    expect(JSON.parse(await listener.line())).toEqual({ base64: "AAr/" });
  });
});

test("--count ends it after so many messages", async () => {
  await using server = await startServer();
  await using listener = await startListener(server, "--count", "2");

  for (const message of ["one", "two", "three"]) await pushToAll(server, message);

  expect(await listener.line()).toBe("one");
  expect(await listener.line()).toBe("two");
  await expect(listener.line()).rejects.toThrow("the output ended");
  expect(await listener.exited).toBe(0);
});

test("a reader of its output that is late gets every line", async () => {
  await using server = await startServer();
  const messages = Array.from({ length: 3000 }, (_, number) => `${number} ${"x".repeat(200)}`);
  await using listener = await startIntoPipe(listen(server.url, "--count", String(messages.length)));
  await untilSessions(server, 1);

  await Promise.all(messages.map((message) => pushToAll(server, message)));

  await eventually("every line", () => listener.read().split("\n").length > messages.length);
  expect(listener.read().trimEnd().split("\n").toSorted()).toEqual(messages.toSorted());
  await eventually("its end", () => listener.status !== undefined);
  expect(listener.status).toBe(0);
});

test("it ends when nobody reads its output any more", async () => {
  await using server = await startServer();
  await using listener = await startListener(server);
  await pushToAll(server, "hello");
  expect(await listener.line()).toBe("hello");

  await listener.stopReading();
  await eventually("the end of the session", async () => {
    await pushToAll(server, "anybody?");
    return (await readMetrics(server)).get("server_push_sessions") === 0;
  });

  expect(await listener.exited).toBe(0);
  await expect(listener.complaint()).rejects.toThrow("the output ended");
});

test("it ends as soon as a signal says so", async () => {
  await using server = await startServer();
  await using listener = await startListener(server);

  listener.signal("SIGINT");

  expect(await listener.exited).toBe(130);
});

test("it comes back after the server was restarted on the same port, and says so", async () => {
  await using first = await startProcess([...program, "--port=0", "--log-format=json"]);
  await using listener = await startListener(first);
  await first.drain();

  await using second = await startProcess([...program, `--port=${first.port}`, "--log-format=json"]);
  await untilSessions(second, 1);
  await pushToAll(second, "hello again");

  expect(await listener.line()).toBe("hello again");
  expect(await listener.complaint()).toMatch(
    /^server-push: connection lost \(1012 the server restarts\), back in \d+ ms$/,
  );
});

test("it comes back after the server was killed", async () => {
  await using first = await startProcess([...program, "--port=0", "--log-format=json"]);
  await using listener = await startListener(first);
  first.signal("SIGKILL");
  await first.exited;

  await using second = await startProcess([...program, `--port=${first.port}`, "--log-format=json"]);
  await untilSessions(second, 1);
  await pushToAll(second, "hello again");

  expect(await listener.line()).toBe("hello again");
});

describe("exit status 1, with the reason:", () => {
  test("what the server does not accept", async () => {
    await using server = await startServer();

    const { status, stdout, stderr } = await run(listen(server.url, "--userid", "x".repeat(129)));

    expect(stderr).toBe("server-push: invalid_parameter: parameter userid is 129 bytes, the limit is 128\n");
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });

  test("a server that is full", async () => {
    await using server = await startServer({ "max-sessions": "1" });
    await using _ = await connect(server);

    const { status, stderr } = await run(listen(server.url));

    expect(stderr).toBe("server-push: too_many_sessions: the server has 1 sessions, the limit is 1\n");
    expect(status).toBe(1);
  });

  test("a server that is not there", async () => {
    const { url } = await startAndStop();

    const { status, stderr } = await run(listen(url));

    expect(stderr).toMatch(new RegExp(`^server-push: cannot reach ${url}: .+\n$`));
    expect(status).toBe(1);
  });
});

describe("exit status 2, and one line that says what was expected:", () => {
  test.each([
    ["an argument that is no option", ["inbox"], '"inbox"'],
    ["an unknown option", ["--user=1"], "--user"],
    ["no count", ["--count=0"], "--count"],
    ["a URL that is none", ["--url", "localhost:8888"], "--url"],
  ])("%s", async (_, argv, said) => {
    const { status, stdout, stderr } = await run([...program, "listen", ...argv]);

    expect(stderr).toMatch(/^server-push: .+\n$/);
    expect(stderr).toContain(said);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});

async function pushBytes(server: TestServer, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const headers = { "Content-Type": "application/octet-stream" };
  await fetch(`${server.url}/pushtoall`, { method: "POST", body, headers });
}

/** A server that was there, so that nobody else is at its port. */
async function startAndStop(): Promise<{ url: string }> {
  await using server = await startServer();
  return { url: server.url };
}
