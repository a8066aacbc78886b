import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ServerFrame } from "../../src/protocol.ts";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { startIntoPipe } from "../support/pipe.ts";
import { run, startProcess } from "../support/process.ts";
import { program, type RunningProgram, start } from "../support/program.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { openRelay } from "../support/relay.ts";

setDefaultTimeout(60_000);

const gap =
  /^server-push: messages may be missing: the server cannot resume after [0-9a-z]{8}-\d+, .+ from now$/;

const listen = (url: string, ...argv: string[]) => [...program, "listen", "--url", url, ...argv];

/** Starts it as the only session of the server, maybe by way of a relay, and waits until it is connected. */
async function startListener(
  server: TestServer,
  { via = server, argv = [] }: { via?: { readonly url: string }; argv?: readonly string[] } = {},
): Promise<RunningProgram> {
  const listener = start(listen(via.url, ...argv));
  await untilSessions(server, 1);
  return listener;
}

describe("--since", () => {
  test("with an id begins after it", async () => {
    await using server = await startServer();
    const receipts = [];
    for (const message of ["one", "two", "three"]) receipts.push(await pushToAll(server, message));

    const { status, stdout, stderr } = await run(
      listen(server.url, "--since", receipts[0]?.id ?? "", "--count=2"),
    );

    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "two\nthree\n", stderr: "" });
  });

  test.each(["all", "10m"])("%s begins with what was pushed before", async (since) => {
    await using server = await startServer();
    for (const message of ["one", "two"]) await push(server, "userid=1", message);

    const { stdout } = await run(listen(server.url, "--userid=1", "--since", since, "--count=2"));

    expect(stdout).toBe("one\ntwo\n");
  });

  test("with an id that the server does not know goes on from now, and says so", async () => {
    await using server = await startServer();
    await pushToAll(server, "before");
    await using listener = await startListener(server, { argv: ["--since=abcdefgh-7"] });

    await pushToAll(server, "after");

    expect(await listener.line()).toBe("after");
    const complaint = await listener.complaint();
    expect(complaint).toMatch(gap);
    expect(complaint).toContain("abcdefgh-7");
  });

  test.each([
    ["yesterday", "invalid_parameter: parameter since is "],
    ["", "empty_parameter: parameter since is "],
  ])("of %j is refused, with what was expected", async (since, said) => {
    await using server = await startServer();

    const { status, stdout, stderr } = await run(listen(server.url, `--since=${since}`));

    expect(stderr).toStartWith(`server-push: ${said}`);
    expect(stderr).toMatch(/^.+\n$/);
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });
});

describe("after the connection was cut", () => {
  test("it gets what was pushed meanwhile, once and in order", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using listener = await startListener(server, { via: relay });
    await pushToAll(server, "before");
    expect(await listener.line()).toBe("before");

    for (const message of ["1", "2", "3"]) {
      relay.cut();
      await untilSessions(server, 0);
      await pushToAll(server, `away ${message}`);
      await pushToAll(server, `still away ${message}`);
      relay.mend();
      await untilSessions(server, 1);
      await pushToAll(server, `back ${message}`);

      expect(await listener.line()).toBe(`away ${message}`);
      expect(await listener.line()).toBe(`still away ${message}`);
      expect(await listener.line()).toBe(`back ${message}`);
    }
  });

  test("it gets what was pushed meanwhile also when nothing had come before", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using listener = await startListener(server, { via: relay });

    relay.cut();
    await untilSessions(server, 0);
    await pushToAll(server, "away");
    relay.mend();

    expect(await listener.line()).toBe("away");
  });

  test("it goes on from the position it was told, when the journal keeps nothing older", async () => {
    await using server = await startServer({ "retain-count": "2", ping: "100ms" });
    await using relay = await openRelay(server);
    await using listener = await startListener(server, { via: relay, argv: ["--userid=1"] });
    for (const message of ["1", "2"]) await push(server, "userid=2", message);
    const { id } = await push(server, "userid=2", "3");
    await eventually("its position", () => relay.passed.includes(`{"type":"position","id":"${id}"}`));

    relay.cut();
    await untilSessions(server, 0);
    await push(server, "userid=1", "away");
    relay.mend();

    expect(await listener.line()).toBe("away");
  });

  test("it says so when the journal has moved on too far, and goes on from now", async () => {
    await using server = await startServer({ "retain-count": "2" });
    await using relay = await openRelay(server);
    await using listener = await startListener(server, { via: relay });

    relay.cut();
    await untilSessions(server, 0);
    for (const message of ["1", "2", "3", "4"]) await pushToAll(server, message);
    relay.mend();
    // A handshake that was cut at its begin is given up after ten seconds.
    await untilSessions(server, 1, 15_000);
    await pushToAll(server, "back");

    expect(await listener.line()).toBe("back");
    expect(await untilComplaint(listener, gap)).toBeDefined();
  });

  test("--count counts what came before, too", async () => {
    await using server = await startServer();
    await using relay = await openRelay(server);
    await using listener = await startListener(server, { via: relay, argv: ["--count=2"] });
    await pushToAll(server, "before");
    expect(await listener.line()).toBe("before");

    relay.cut();
    await untilSessions(server, 0);
    for (const message of ["away", "too many"]) await pushToAll(server, message);
    relay.mend();

    expect(await listener.line()).toBe("away");
    await expect(listener.line()).rejects.toThrow("the output ended");
    expect(await listener.exited).toBe(0);
  });
});

test("it leaves a connection on which nothing is heard any more, and misses nothing", async () => {
  await using server = await startServer({ ping: "100ms" });
  await using relay = await openRelay(server);
  await using listener = await startListener(server, { via: relay });
  await pushToAll(server, "before");
  expect(await listener.line()).toBe("before");

  relay.silence();
  await pushToAll(server, "unheard");

  expect(await listener.line()).toBe("unheard");
  expect(await listener.complaint()).toMatch(
    /^server-push: connection lost \(1006 nothing heard for 2\.2 s\), back in \d+ ms$/,
  );
});

test("it stays on a connection on which nothing comes but positions", async () => {
  await using server = await startServer({ ping: "1s" });
  await using relay = await openRelay(server);
  await using listener = await startListener(server, { via: relay });
  const countPositions = () => relay.passed.split('"type":"position"').length - 1;

  // Longer than without any of them it would stay.
  await eventually("positions", () => countPositions() >= 5);
  await pushToAll(server, "still here");

  expect(await listener.line()).toBe("still here");
  expect(relay.passed.split('"type":"welcome"').length - 1).toBe(1);
});

describe("after the server was killed and started again", () => {
  const argv = ["--log-format=json", "--ping=1s"];

  test("without a journal on disk, it says that messages may be missing", async () => {
    await using first = await startProcess([...program, "--port=0", ...argv]);
    await using listener = await startListener(first);
    await pushToAll(first, "before");
    expect(await listener.line()).toBe("before");
    first.signal("SIGKILL");
    await first.exited;

    await using second = await startProcess([...program, `--port=${first.port}`, ...argv]);
    await untilSessions(second, 1);
    await pushToAll(second, "after");

    expect(await listener.line()).toBe("after");
    expect(await untilComplaint(listener, gap)).toBeDefined();
  });

  test("with a journal on disk, it misses nothing, and says nothing of the kind", async () => {
    await using folder = await makeFolder();
    const data = `--data=${folder.file("messages.db")}`;
    await using first = await startProcess([...program, "--port=0", data, ...argv]);
    await using relay = await openRelay(first);
    await using listener = await startListener(first, { via: relay });
    await pushToAll(first, "before");
    expect(await listener.line()).toBe("before");
    relay.cut();
    await untilSessions(first, 0);
    await pushToAll(first, "away");
    first.signal("SIGKILL");
    await first.exited;

    await using second = await startProcess([...program, `--port=${first.port}`, data, ...argv]);
    await pushToAll(second, "after");
    relay.mend();

    expect(await listener.line()).toBe("away");
    expect(await listener.line()).toBe("after");
    expect(relay.passed).toContain('"resumed":true');
    expect(relay.passed).not.toContain('"resumed":false');
  });
});

test("while its output is not read it leaves the server, and prints everything afterwards", async () => {
  await using server = await startServer({ "max-message": "1MiB" });
  const messages = Array.from({ length: 12 }, (_, number) => `${number} ${"x".repeat(1_000_000)}`);
  await using listener = await startIntoPipe(listen(server.url, "--count", String(messages.length + 1)));
  await untilSessions(server, 1);

  for (const message of messages) await pushToAll(server, message);
  await untilSessions(server, 0);
  await pushToAll(server, "away");
  await eventually("its end", () => {
    listener.read();
    return listener.status !== undefined;
  });

  expect(listener.read().trimEnd().split("\n")).toEqual([...messages, "away"]);
  expect(listener.status).toBe(0);
});

test("it comes back also when the server is away at the moment when its output is read again", async () => {
  await using server = await startServer({ "max-message": "1MiB" });
  await using relay = await openRelay(server);
  const messages = Array.from({ length: 12 }, (_, number) => `${number} ${"x".repeat(1_000_000)}`);
  await using listener = await startIntoPipe(listen(relay.url, "--count", String(messages.length)));
  await untilSessions(server, 1);
  for (const message of messages) await pushToAll(server, message);
  await untilSessions(server, 0);

  relay.cut();
  await eventually("an attempt to come back", () => {
    listener.read();
    return relay.refused > 0 || listener.status !== undefined;
  });
  relay.mend();
  await eventually("its end", () => {
    listener.read();
    return listener.status !== undefined;
  });

  expect(listener.read().trimEnd().split("\n")).toEqual(messages);
  expect(listener.status).toBe(0);
});

test("told to stay away, it prints what came before, and ends with 1", async () => {
  const data = "x".repeat(1_000_000);
  using server = serveFrames([welcome, { type: "message", id: "abcdefgh-1", data }], 4501);
  await using listener = await startIntoPipe(listen(server.url.href));

  await eventually("its end", () => {
    listener.read();
    return listener.status !== undefined;
  });

  expect(listener.read()).toBe(`${data}\n`);
  expect(listener.status).toBe(1);
});

test("a frame that it does not know is no reason to end", async () => {
  const unknown = { type: "weather", id: "nonsense" };
  using server = serveFrames([welcome, unknown, { type: "message", id: "abcdefgh-1", data: "hello" }], 4501);

  const { stdout, stderr } = await run(listen(server.url.href));

  expect(stdout).toBe("hello\n");
  expect(stderr).toBe("server-push: closed by the server: 4501 go\n");
});

test("a server that does not speak the subprotocol is not accepted", async () => {
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, self) =>
      self.upgrade(request, { headers: { "Sec-WebSocket-Protocol": "" } })
        ? undefined
        : new Response("", { status: 426 }),
    websocket: { open: (socket) => void socket.send("a plain message"), message: () => {} },
  });

  const { status, stdout, stderr } = await run(listen(server.url.href));

  expect(stderr).toBe(
    `server-push: ${server.url.origin} did not accept a WebSocket with the subprotocol push.v1\n`,
  );
  expect(stdout).toBe("");
  expect(status).toBe(1);
});

test.skipIf(process.platform !== "linux")("output that cannot be written is a failure", async () => {
  await using server = await startServer();
  await pushToAll(server, "hello");

  const { status, stderr } = await run([
    "sh",
    "-c",
    '"$@" > /dev/full',
    "sh",
    ...listen(server.url, "--since=all"),
  ]);

  expect(stderr).toMatch(/^server-push: cannot write the output: .+\n$/);
  expect(status).toBe(1);
});

const welcome: ServerFrame = { type: "welcome", session: "x", id: "abcdefgh-0", idle: 25 };

/** A server that sends these frames to whoever comes, and closes with this code. */
function serveFrames(frames: readonly object[], code: number) {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, self) => void self.upgrade(request),
    websocket: {
      open(socket) {
        for (const frame of frames) socket.send(JSON.stringify(frame));
        socket.close(code, "go");
      },
      message: () => {},
    },
  });
}

/** The first line on standard error like this, after others. */
async function untilComplaint(listener: RunningProgram, wanted: RegExp): Promise<string> {
  for (;;) {
    const complaint = await listener.complaint();
    if (wanted.test(complaint)) return complaint;
  }
}
