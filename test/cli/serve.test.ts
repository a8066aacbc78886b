import { expect, test } from "bun:test";
import { pushToAll } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { run, startProcess } from "../support/process.ts";
import { program } from "../support/program.ts";

const quiet = ["--port=0", "--log-format=json"];

test("a port that is in use is one clear line, and exit status 1", async () => {
  await using first = await startProcess([...program, ...quiet]);

  const { status, stdout, stderr } = await run([...program, "--port", String(first.port)]);

  expect(stderr).toBe(
    `server-push: 127.0.0.1:${first.port} is in use; stop what listens there, or take another --port\n`,
  );
  expect(stdout).toBe("");
  expect(status).toBe(1);
});

test("a host that this machine does not have is one clear line, and exit status 1", async () => {
  const { status, stdout, stderr } = await run([...program, "--host=192.0.2.1", "--port=0", "--insecure"]);

  expect(stderr).toMatch(/^server-push: cannot listen on 192\.0\.2\.1:0: .+\n$/);
  expect(stdout).toBe("");
  expect(status).toBe(1);
});

test("serve is the command that is meant where none is given", async () => {
  await using server = await startProcess([...program, "serve", ...quiet]);

  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});

test("at start it says where it listens, which build it is, and who can reach it", async () => {
  await using server = await startProcess([...program, ...quiet]);

  await eventually("both lines", () => server.log.length >= 2);
  const [listening, reach] = server.log;
  expect(listening).toMatchObject({ level: "info", msg: "listening", url: server.url });
  expect(listening?.["version"]).toMatch(/^\d+\.\d+\.\d+/);
  expect(reach?.msg).toContain("only programs on this machine");
  expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
});

test("at start it says where the journal is, and how many messages it found there", async () => {
  await using folder = await makeFolder();
  const path = folder.file("messages.db");
  await using inMemory = await startProcess([...program, ...quiet]);
  await using first = await startProcess([...program, ...quiet, `--data=${path}`]);
  for (const message of ["a", "b", "c"]) await pushToAll(first, message);
  await first.drain();

  await using second = await startProcess([...program, ...quiet, `--data=${path}`]);

  const told = [inMemory, first, second].map(({ log: [line] }) => [line?.["journal"], line?.["messages"]]);
  expect(told).toEqual([
    ["memory", 0],
    [path, 0],
    [path, 3],
  ]);
});

test("an open server says outright that anyone may push", async () => {
  await using server = await startProcess([...program, ...quiet, "--host=0.0.0.0", "--insecure"]);

  await eventually("both lines", () => server.log.length >= 2);
  expect(server.log[1]?.msg).toContain("ANYONE");
});

test("where few files may be open, sessions are refused before there are none left, and pushes still go through", async () => {
  const command = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", ...program, "--port=0", "--log-format=json"];
  await using server = await startProcess(command);
  const limit = Number(server.log[0]?.["maxSessions"]);

  const attempts = await Promise.allSettled(Array.from({ length: limit + 5 }, () => connect(server)));
  const { sessions } = await pushToAll(server, "hello");

  expect(limit).toBe(74);
  expect(attempts.filter(({ status }) => status === "fulfilled").length).toBe(limit);
  expect(sessions).toBe(limit);
});
