/**
 * A disk that fails once, at the worst moment, and a folder that this user may not write to.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, chownSync, copyFileSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { toReceipt, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, textsOf } from "../support/poll.ts";
import { compiledFile, run, type ServerProcess, startProcess } from "../support/process.ts";
import { readMetrics } from "../support/server.ts";
import { injectFault } from "../support/strace.ts";
import { mustSkip } from "../support/system.ts";

setDefaultTimeout(60_000);

async function start(file: string): Promise<ServerProcess> {
  return await startProcess([compiledFile, "--port=0", "--log-format=json", `--data=${file}`]);
}

function push({ url }: ServerProcess, message: string): Promise<Response> {
  return fetch(`${url}/push?userid=1&message=${message}`);
}

async function kill(server: ServerProcess): Promise<void> {
  server.signal("SIGKILL");
  await server.exited;
}

async function readAll(server: ServerProcess) {
  return textsOf(await poll(server, { query: "userid=1&wait=0&since=all" }));
}

describe.skipIf(mustSkip("strace"))("a disk that fails once", () => {
  test("when the guard is written, after the commit: the push was taken, and so are the next ones", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    await using before = await start(file);
    const { id: first } = await toReceipt(await push(before, "before"));
    await using _ = await injectFault(before.pid, {
      calls: "pwrite64",
      error: "ENOSPC",
      path: `${file}-guard`,
    });

    const answers = [await push(before, "a"), await push(before, "b")];

    expect(answers.map(({ status }) => status)).toEqual([202, 202]);
    await kill(before);
    await using after = await start(file);
    expect(await readAll(after)).toEqual(["before", "a", "b"]);
    const { resumed, messages } = await poll(after, { query: `userid=1&wait=0&since=${first}` });
    expect([resumed, messages.length]).toEqual([true, 2]);
  });

  test("when the commit is synced: the push is refused, and does not come back after SIGKILL", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    await using before = await start(file);
    await push(before, "before");
    await using _ = await injectFault(before.pid, { calls: "fsync,fdatasync", error: "EIO" });

    const { status } = await push(before, "refused");

    await kill(before);
    await using after = await start(file);
    expect([status, await readAll(after)]).toEqual([503, ["before"]]);
  });
});

/** What a server says that may write these files, and no others, as root may write any; with the folder as it is. */
async function runAsNobody(file: string, owned: readonly string[]): Promise<readonly [number, string]> {
  const nobody = 65534;
  const isRoot = process.getuid?.() === 0;
  await using folder = await makeFolder();
  chmodSync(folder.path, 0o755);
  const binary = folder.file("server-push");
  copyFileSync(compiledFile, binary);
  if (isRoot) for (const name of owned) chownSync(name, nobody, nobody);
  const asNobody = ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];
  const { status, stderr } = await run([...(isRoot ? asNobody : []), binary, "--port=0", `--data=${file}`]);
  return [status, stderr];
}

test("a file in a folder that this user may not write to is refused in a sentence that names the folder", async () => {
  await using folder = await makeFolder();
  const file = folder.file("journal.db");
  await using before = await start(file);
  await before.drain();
  using stack = new DisposableStack();
  chmodSync(folder.path, 0o555);
  stack.defer(() => chmodSync(folder.path, 0o755));

  expect(await runAsNobody(file, [file, `${file}-guard`])).toEqual([
    1,
    `server-push: --data: "${file}": its folder "${dirname(file)}" must be writable for this user\n`,
  ]);
});

test.each(["-wal", "-shm"])(
  "a file whose %s this user may not write to is refused by that name, by whatever name it is called",
  async (more) => {
    await using folder = await makeFolder();
    const [file, link] = [folder.file("journal.db"), folder.file("link.db")];
    await using before = await start(file);
    await push(before, "before");
    await kill(before);
    symlinkSync(file, link);
    chmodSync(folder.path, 0o777);
    chmodSync(`${file}${more}`, 0o444);

    const own = ["", "-wal", "-shm", "-guard"].map((name) => `${file}${name}`);
    expect(await runAsNobody(link, own)).toEqual([
      1,
      `server-push: --data: "${file}${more}": this user may not make, read or write it\n`,
    ]);
  },
);

describe.skipIf(mustSkip("strace"))("a log of events that cannot be written", () => {
  test("takes no message of a client, says so to each, and takes them again afterwards", async () => {
    await using folder = await makeFolder();
    const file = folder.file("journal.db");
    await using server = await start(file);
    await using client = await connect(server, "userid=1", ["push.v1"]);
    await client.next();
    const send = async (ref: string): Promise<unknown> => {
      client.send(JSON.stringify({ type: "message", data: "hello", ref }));
      return JSON.parse(String(await client.next()));
    };
    expect(await send("1")).toEqual({ type: "receipt", ref: "1" });
    {
      await using _ = await injectFault(server.pid, {
        calls: "fsync,fdatasync,pwrite64",
        error: "ENOSPC",
        path: `${file}-events-wal`,
      });
      for (const ref of ["2", "3"])
        expect(await send(ref)).toMatchObject({ type: "error", code: "unavailable", ref });
      expect((await readMetrics(server)).get("server_push_events_writable")).toBe(0);
      expect((await push(server, "pushes-go-on")).status).toBe(200);
      await client.next();
    }

    await eventually("that it can be written again", async () => {
      return (await readMetrics(server)).get("server_push_events_writable") === 1;
    });
    expect(await send("4")).toEqual({ type: "receipt", ref: "4" });
    const { msg } = await untilLogged(server, (line) => /log of events cannot/.test(line.msg));
    expect(msg).toBe("the log of events cannot be written; messages of clients are refused until it can");
  });
});
