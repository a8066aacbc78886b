/**
 * A disk that is full: pushes that cannot be kept are refused, what was taken is not lost, and when there is room again it goes on by
 * itself. And one that is read-only: the server says so, and does not start.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Problem, toProblem } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, pollAll } from "../support/poll.ts";
import { compiledFile, run, type ServerProcess, startProcess } from "../support/process.ts";
import { openReader } from "../support/reader.ts";

setDefaultTimeout(60_000);

/** Whether this user may have a disk of its own: root on Linux may. With CI=true the tests fail where it may not. */
function mayMount(): boolean {
  const probe = mkdtempSync(join(tmpdir(), "server-push-"));
  const isMounted = mount(probe);
  if (isMounted) unmount(probe);
  rmSync(probe, { recursive: true });
  return isMounted;
}

function mount(path: string): boolean {
  if (Bun.which("mount") === null) return false;
  return Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=6m", "none", path]).exitCode === 0;
}

function unmount(path: string): void {
  Bun.spawnSync(["umount", path]);
}

const mustSkip = process.env["CI"] !== "true" && !mayMount();
if (mustSkip) process.stdout.write("a full disk is not tested: this user may not mount a tmpfs\n");

interface Disk extends AsyncDisposable {
  readonly file: string;
  /** Leaves so many bytes free. */
  fill(freeBytes: number): void;
  makeRoom(): void;
  makeReadOnly(): Promise<void>;
}

async function openDisk(): Promise<Disk> {
  const folder = await makeFolder();
  if (!mount(folder.path)) throw new Error("a tmpfs could not be mounted");
  const filler = folder.file("filler");
  return {
    file: folder.file("journal.db"),
    fill(freeBytes) {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(folder.path);
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - freeBytes)));
    },
    makeRoom: () => rmSync(filler),
    // The system closes the files of a process a little after its end, and until then refuses.
    makeReadOnly: () =>
      eventually(
        "a read-only disk",
        () => Bun.spawnSync(["mount", "-o", "remount,ro", folder.path]).exitCode === 0,
      ),
    async [Symbol.asyncDispose]() {
      unmount(folder.path);
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function start({ file }: Disk, ...flags: readonly string[]): Promise<ServerProcess> {
  return await startProcess([compiledFile, "--port=0", "--log-format=json", `--data=${file}`, ...flags]);
}

interface Pushed {
  readonly taken: { readonly id: string; readonly data: string }[];
  readonly refused: { readonly response: Response; readonly problem: Problem }[];
}

/** Publishers that push at once, one of them in batches, until so many pushes were refused. */
async function pushUntilRefused({ url }: ServerProcess, pushed: Pushed, times: number): Promise<void> {
  const until = pushed.refused.length + times;
  let count = pushed.taken.length + pushed.refused.length;
  const publish = async (size: number) => {
    while (pushed.refused.length < until) {
      const messages = Array.from({ length: size }, () => `${count++}`.padEnd(3000, "-"));
      const items = messages.map((message) => ({ userid: "1", message }));
      const response = await fetch(`${url}/batch`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(items),
      });
      const answer = JSON.parse(await response.text());
      if (!response.ok) pushed.refused.push({ response, problem: answer });
      else
        for (const [index, { id }] of answer.entries())
          pushed.taken.push({ id, data: messages[index] ?? "" });
    }
  };
  await Promise.all([1, 1, 1, 1, 1, 1, 1, 5].map(publish));
}

function numberOf({ id }: { readonly id: string }): number {
  return Number(id.slice(id.indexOf("-") + 1));
}

function inOrder({ taken }: Pushed) {
  return taken.toSorted((one, other) => numberOf(one) - numberOf(other));
}

describe.skipIf(mustSkip)("a journal on a disk that is full", () => {
  test("refuses what it cannot keep, recovers by itself, and has lost nothing that it took", async () => {
    await using disk = await openDisk();
    const pushed: Pushed = { taken: [], refused: [] };
    const received: { id: string | undefined; data: string }[] = [];
    await using before = await start(disk);
    const reader = openReader("push.v1", before, {
      query: "userid=1",
      onNotice: ({ id, message }) => message && received.push({ id, data: message.data }),
    });
    const { id: begin } = await reader.begun;
    disk.fill(1_000_000);

    await pushUntilRefused(before, pushed, 40);

    for (const { response, problem } of pushed.refused) {
      expect(problem).toMatchObject({ status: 503, code: "unavailable" });
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(pushed.refused[0]?.problem.detail).toContain("the disk is full");
    const ready = await fetch(`${before.url}/readyz`);
    expect([ready.status, (await toProblem(ready)).code]).toEqual([503, "unavailable"]);
    expect((await fetch(`${before.url}/healthz`)).status).toBe(200);
    // Who is there gets what was taken, and nothing of what was not; so does who comes now.
    const full = await pollAll(before, "userid=1", begin);
    expect(full.messages.map(({ id, data = "" }) => ({ id, data }))).toEqual(inOrder(pushed));

    disk.makeRoom();
    await eventually("a server that is ready", async () => (await fetch(`${before.url}/readyz`)).ok);
    const takenWhileFull = pushed.taken.length;
    const answer = await fetch(`${before.url}/push?userid=1`, { method: "POST", body: "there is room" });
    pushed.taken.push({ id: JSON.parse(await answer.text()).id, data: "there is room" });
    expect(pushed.taken.length).toBe(takenWhileFull + 1);
    await eventually("everything with the reader", () => received.length >= pushed.taken.length);
    expect(received).toEqual(inOrder(pushed));
    before.signal("SIGKILL");
    await before.exited;

    await using after = await start(disk);
    const { messages } = await pollAll(after, "userid=1", begin);
    expect(messages.map(({ id, data = "" }) => ({ id, data }))).toEqual(inOrder(pushed));
    reader.drop();
  });

  test("stays as it is for as long as it has no room for the pushes that it refused, and says so once", async () => {
    await using disk = await openDisk();
    await using server = await start(disk);
    const push = () => fetch(`${server.url}/push?userid=1`, { method: "POST", body: "x".repeat(60_000) });
    const isReady = async () => (await fetch(`${server.url}/readyz`)).ok;
    const lines = () => server.log.map(({ msg }) => msg).filter((msg) => msg.startsWith("the journal"));
    disk.fill(500_000);
    await eventually("a push that is refused", async () => !(await push()).ok);

    // It tries every second.
    const until = performance.now() + 3500;
    while (performance.now() < until) expect([(await push()).status, await isReady()]).toEqual([503, false]);

    expect(lines()).toEqual(["the journal cannot be written; pushes are refused until it can"]);
    disk.makeRoom();
    await eventually("a server that is ready", isReady);
    expect((await push()).status).toBe(202);
    expect(lines().slice(1)).toEqual(["the journal can be written again"]);
  });

  test("is never filled by the write-ahead log of a journal that keeps little", async () => {
    await using disk = await openDisk();
    disk.fill(3_000_000);
    await using server = await start(disk, "--retain-bytes=1MiB");

    for (let count = 0; count < 400; count++) {
      const { status } = await fetch(`${server.url}/push?userid=1`, {
        method: "POST",
        body: "x".repeat(20_000),
      });
      expect(status).toBe(202);
    }

    expect(statSync(`${disk.file}-wal`).size).toBeLessThan(700_000);
  });

  test("is started again although it is full, and says so to those who push", async () => {
    await using disk = await openDisk();
    const pushed: Pushed = { taken: [], refused: [] };
    const before = await start(disk);
    const { id: begin } = await poll(before, { query: "wait=0" });
    disk.fill(500_000);
    await pushUntilRefused(before, pushed, 20);
    before.signal("SIGKILL");
    await before.exited;
    disk.fill(0);

    await using after = await start(disk);

    const { messages } = await pollAll(after, "userid=1", begin);
    expect(messages.map(({ id, data = "" }) => ({ id, data }))).toEqual(inOrder(pushed));
    await pushUntilRefused(after, pushed, 1);
    expect(pushed.refused.at(-1)?.problem).toMatchObject({ status: 503, code: "unavailable" });
    disk.makeRoom();
    await eventually("a server that is ready", async () => (await fetch(`${after.url}/readyz`)).ok);
  });
});

describe.skipIf(mustSkip)("on a disk that is read-only the server does not start, and says why", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)("with a file that was there at %s", async (signal) => {
    await using disk = await openDisk();
    const before = await start(disk);
    before.signal(signal);
    await before.exited;
    await disk.makeReadOnly();

    const { status, stderr } = await run([compiledFile, "--port=0", `--data=${disk.file}`]);

    expect([status, stderr]).toEqual([1, `server-push: --data: "${disk.file}": the disk is read-only\n`]);
  });

  test("with a file that would have to be made", async () => {
    await using disk = await openDisk();
    await disk.makeReadOnly();

    const { status, stderr } = await run([compiledFile, "--port=0", `--data=${disk.file}`]);

    expect([status, stderr]).toEqual([1, `server-push: --data: "${disk.file}": the disk is read-only\n`]);
  });
});
