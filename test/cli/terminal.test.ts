import { expect, test } from "bun:test";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { program } from "../support/program.ts";
import { startServer } from "../support/server.ts";
import { startInTerminal, type TerminalSession } from "../support/terminal.ts";

async function readUrl(terminal: TerminalSession): Promise<{ url: string }> {
  const line = await terminal.shown("listening");
  return { url: /url=(\S+)/.exec(line)?.[1] ?? "" };
}

test("a terminal shows readable lines in place of JSON", async () => {
  await using terminal = startInTerminal([...program, "--port=0"]);

  const line = await terminal.shown("listening");

  expect(line).toMatch(/^\d\d:\d\d:\d\d info {2}listening {2}url=http:\/\/127\.0\.0\.1:\d+ {2}version=/);
});

test("a terminal shows sessions that come and go", async () => {
  await using terminal = startInTerminal([...program, "--port=0"]);
  const server = await readUrl(terminal);

  {
    await using _ = await connect(server, "userid=123&compid=inbox");
  }

  expect(await terminal.shown("session closed")).toMatch(
    /info {2}session closed {2}id=\S+ {2}userid=123 {2}compid=inbox {2}transport=websocket {2}reason=closed/,
  );
  expect(await terminal.shown("session opened")).toMatch(
    /info {2}session opened {2}id=\S+ {2}userid=123 {2}compid=inbox/,
  );
});

test("a terminal shows every push, and how many sessions it went to", async () => {
  await using terminal = startInTerminal([...program, "--port=0"]);
  const server = await readUrl(terminal);
  await using _ = await connect(server, "userid=123");

  const { id } = await push(server, "userid=123", "hello");

  expect(await terminal.shown(" push  ")).toEndWith(`userid=123  id=${id}  bytes=5  sessions=1`);
});

test("what somebody sends cannot act on the terminal", async () => {
  await using terminal = startInTerminal([...program, "--port=0", "--log-level=debug"]);
  const server = await readUrl(terminal);
  await using client = await connect(server, `userid=${encodeURIComponent('a" b\u202e\u2028')}`);

  client.send("\x1b[2J\x07");

  expect(await terminal.shown("message content")).toContain(String.raw`content="\u001b[2J\u0007"`);
  expect(await terminal.shown("session opened")).toContain(String.raw`userid="a\" b\u202e\u2028"`);
});

test("Ctrl-C stops the server in good order", async () => {
  await using terminal = startInTerminal([...program, "--port=0"]);
  const server = await readUrl(terminal);
  await using client = await connect(server);

  terminal.press("\x03");

  expect(await client.closed).toEqual({ code: 1012, reason: "the server restarts" });
  expect(await terminal.exited).toBe(0);
  expect(await terminal.shown("stopped")).toMatch(/info {2}stopped$/);
});

test("push without a message does not wait for somebody to type one", async () => {
  await using terminal = startInTerminal([...program, "push", "--all"]);

  expect(await terminal.exited).toBe(2);
  expect(terminal.screen).toBe("server-push: expected a MESSAGE, as an argument or on standard input\n");
});

test("listen shows a message in a terminal as it comes", async () => {
  await using server = await startServer();
  await using terminal = startInTerminal([...program, "listen", "--url", server.url]);
  await untilSessions(server, 1);

  await pushToAll(server, "good morning");

  expect(await terminal.shown("good morning")).toBe("good morning");
});
