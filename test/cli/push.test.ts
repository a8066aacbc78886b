import { describe, expect, test } from "bun:test";
import { untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { poll, textsOf } from "../support/poll.ts";
import { run } from "../support/process.ts";
import { program } from "../support/program.ts";
import { startServer } from "../support/server.ts";

const push = (url: string, ...argv: string[]) => [...program, "push", "--url", url, ...argv];

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const severalLines = "\n first line\r\nsecond\tline \\n \u00fc \u4f60 \u{1f600} \u0000\u001b[2J\n\n";

test("pushes its argument, and prints the server's answer", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=123&compid=inbox");

  const { status, stdout, stderr } = await run(
    push(server.url, "--userid", "123", "--compid", "inbox", "hello \u{1f600}"),
  );

  expect(await client.next()).toBe("hello \u{1f600}");
  expect(stdout).toMatch(/^\{"id":"[0-9a-z]{8}-1","sessions":1\}\n$/);
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test("a message that nobody is there to get is taken", async () => {
  await using server = await startServer();

  const { status, stdout } = await run(push(server.url, "--userid=123", "hello"));

  expect(JSON.parse(stdout)).toMatchObject({ sessions: 0 });
  expect(status).toBe(0);
});

test("--all reaches who has neither user nor component", async () => {
  await using server = await startServer();
  await using client = await connect(server);

  await run(push(server.url, "--all", "good morning"));

  expect(await client.next()).toBe("good morning");
});

test("--compid alone reaches the component of every user", async () => {
  await using server = await startServer();
  await using one = await connect(server, "userid=1&compid=chart");
  await using two = await connect(server, "userid=2&compid=chart");

  const { stdout } = await run(push(server.url, "--compid", "chart", "redraw"));

  expect(await one.next()).toBe("redraw");
  expect(await two.next()).toBe("redraw");
  expect(JSON.parse(stdout)).toMatchObject({ sessions: 2 });
});

test("--event names the event", async () => {
  await using server = await startServer({ "log-level": "debug" });

  await run(push(server.url, "--userid=123", "--event", "order paid", "hello"));

  const line = await untilLogged(server, ({ msg }) => msg === "push");
  expect(line["event"]).toBe("order paid");
});

test("--key replaces what was pushed before with the same key", async () => {
  await using server = await startServer();

  for (const [key, message] of [
    ["progress", "10 %"],
    ["name & more", "a price"],
    ["progress", "20 %"],
  ])
    await run(push(server.url, "--userid=123", "--key", key ?? "", message ?? ""));

  expect(await readKept(server)).toEqual(["a price", "20 %"]);
});

test("--ttl 0 keeps nothing for those who come later", async () => {
  await using server = await startServer();

  await run(push(server.url, "--userid=123", "--ttl=0", "for now"));
  await run(push(server.url, "--userid=123", "--ttl=60", "for a minute"));

  expect(await readKept(server)).toEqual(["for a minute"]);
});

test("with the same --idempotency-key it pushes once, and prints the same answer", async () => {
  await using server = await startServer();
  const command = push(server.url, "--userid=123", "--idempotency-key", "job 17", "hello");

  const first = await run(command);
  const again = await run(command);

  expect(again).toEqual(first);
  expect(again.status).toBe(0);
  expect(await readKept(server)).toEqual(["hello"]);
});

test("ids with every kind of character arrive as they are", async () => {
  await using server = await startServer();
  const userid = "a b&c=d%41+#\u00fc\u{1f600}/?";
  await using client = await connect(server, new URLSearchParams({ userid }).toString());

  await run(push(server.url, "--userid", userid, "hello"));

  expect(await client.next()).toBe("hello");
});

test.each([
  ["without a message", []],
  ["with - as the message", ["-"]],
])("%s it pushes standard input byte for byte", async (_, message) => {
  await using server = await startServer();
  await using client = await connect(server);

  await run(push(server.url, "--all", ...message), { stdin: severalLines });

  expect(await client.next()).toBe(severalLines);
});

test("--binary pushes bytes as a binary frame", async () => {
  await using server = await startServer();
  await using client = await connect(server);

  await run(push(server.url, "--all", "--binary"), { stdin: everyByte });

  expect(await client.next()).toEqual(everyByte);
});

test("a message as large as the limit goes through standard input", async () => {
  await using server = await startServer({ "max-message": "1MiB" });
  await using client = await connect(server);
  const large = "0123456789abcdef".repeat(65536);

  const { status } = await run(push(server.url, "--all"), { stdin: large });

  expect(await client.next()).toBe(large);
  expect(status).toBe(0);
});

test("after -- a message may begin with a hyphen", async () => {
  await using server = await startServer();
  await using client = await connect(server);

  await run(push(server.url, "--all", "--", "--help"));

  expect(await client.next()).toBe("--help");
});

test("finds a server behind the path of a proxy", async () => {
  await using server = await startServer();
  await using client = await connect(server, "userid=1");
  await using proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => fetch(request.url.replace(/^[^/]+\/\/[^/]+\/live/, server.url), request),
  });

  const { status } = await run(push(new URL("/live/", proxy.url).href, "--userid=1", "hello"));

  expect(await client.next()).toBe("hello");
  expect(status).toBe(0);
});

describe("exit status 1, and one line that says why:", () => {
  test.each([
    ["a message over the limit", "x".repeat(1025), [], "too_large: message is 1025 bytes, the limit is 1024"],
    ["an empty message", "", [], "empty_message: message is empty, expected at least 1 byte"],
    ["bytes without --binary", everyByte, [], "malformed_body: the body is not UTF-8"],
    [
      "an event over the limit",
      "hello",
      ["--event", "x".repeat(65)],
      "invalid_parameter: parameter event is 65 bytes, the limit is 64",
    ],
    ["an empty key", "hello", ["--key="], "empty_parameter: parameter key is empty"],
    [
      "a ttl that is no number",
      "hello",
      ["--ttl", "1h"],
      'invalid_parameter: ttl is "1h", expected whole seconds from 0 to',
    ],
    [
      "an idempotency key that is empty",
      "hello",
      ["--idempotency-key="],
      'invalid_parameter: Idempotency-Key is "", expected 1 to 255 characters',
    ],
  ] as const)("%s", async (_, stdin, argv, said) => {
    await using server = await startServer({ "max-message": "1KiB" });

    const { status, stdout, stderr } = await run(push(server.url, "--all", ...argv), { stdin });

    expect(stderr).toStartWith(`server-push: ${said}`);
    expect(stderr).toMatch(/^.+\n$/);
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });

  test("a server that is not there", async () => {
    const { url } = await startAndStop();

    const { status, stdout, stderr } = await run(push(url, "--all", "hello"));

    expect(stderr).toMatch(new RegExp(`^server-push: cannot reach ${url}: .+\n$`));
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });

  test("a proxy that answers with a page of its own", async () => {
    await using proxy = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("<html>Bad Gateway</html>", { status: 502 }),
    });

    const { status, stdout, stderr } = await run(push(proxy.url.href, "--all", "hello"));

    expect(stderr).toBe("server-push: HTTP status 502\n");
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });
});

describe("exit status 2, and one line that says what was expected:", () => {
  test.each([
    ["no address", ["hello"], "--all"],
    ["both an address and --all", ["--all", "--userid=1", "hello"], "--all"],
    ["a message that is not in quotes", ["--all", "good", "morning"], "quotes"],
    ["an unknown option", ["--all", "--evnt=x", "hello"], "--evnt"],
    ["an option without its value", ["--userid"], "--userid"],
    [
      "an idempotency key that no header holds",
      ["--all", "--idempotency-key=a\nb", "hello"],
      "--idempotency-key",
    ],
    ["a URL that is none", ["--all", "--url", "localhost", "hello"], "--url"],
    ["a URL that is not of the web", ["--all", "--url", "ftp://localhost", "hello"], "--url"],
  ])("%s", async (_, argv, said) => {
    const { status, stdout, stderr } = await run([...program, "push", ...argv]);

    expect(stderr).toMatch(/^server-push: .+\n$/);
    expect(stderr).toContain(said);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});

/** The messages that somebody who comes now is still sent. */
async function readKept(server: { readonly url: string }): Promise<(string | undefined)[]> {
  return textsOf(await poll(server, { query: "userid=123&since=all&wait=0" }));
}

/** A server that was there, so that nobody else is at its port. */
async function startAndStop(): Promise<{ url: string }> {
  await using server = await startServer();
  return { url: server.url };
}

test("a proxy that the environment names is not asked for a server on this machine", async () => {
  await using server = await startServer();

  const command = [...program, "push", "--url", server.url, "--all", "hello"];
  const { status, stderr } = await run(command, { environment: { http_proxy: "http://127.0.0.1:1" } });

  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test.skipIf(process.platform !== "linux")("an answer that cannot be printed is a failure", async () => {
  await using server = await startServer();

  const command = [
    "sh",
    "-c",
    '"$@" > /dev/full',
    "sh",
    ...program,
    "push",
    "--url",
    server.url,
    "--all",
    "hello",
  ];
  const { status, stderr } = await run(command);

  expect(stderr).toMatch(/^server-push: cannot write the output: /);
  expect(status).toBe(1);
});
