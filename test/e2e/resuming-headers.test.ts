/**
 * Other people's clients that say by hand where they were, in the header Last-Event-ID, to the compiled file after a restart.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { push, pushToAll } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { type RunningProgram, start } from "../support/program.ts";
import { everyKind } from "../support/rounds.ts";
import { type Service, startService } from "../support/service.ts";
import { mustSkip, python } from "../support/system.ts";

// A restart, twice, on a busy machine.
setDefaultTimeout(60_000);

const startCurl = ({ url }: Service, ...argv: string[]) =>
  start(["curl", "--silent", "--no-buffer", ...argv, `${url}/sse?${everyKind}`]);

/** The lines up to the next empty one. */
async function readBlock(stream: RunningProgram): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await stream.line(); line.trim() !== ""; line = await stream.line())
    lines.push(line.trim());
  return lines;
}

describe("curl -N", () => {
  const isMissing = mustSkip("curl");

  test.skipIf(isMissing)("shows each message at once, as lines that a script can read", async () => {
    await using service = await startService();
    await using stream = startCurl(service);
    const [retry, ...welcome] = await readBlock(stream);
    expect(retry).toMatch(/^retry: \d{4}$/);
    expect(welcome).toEqual([
      "event: push.welcome",
      expect.stringMatching(/^id: \w{8}-0$/),
      expect.stringContaining('data: {"session":"'),
    ]);

    const order = await push(service, "userid=123&event=order", '{"order":17}');
    expect(await readBlock(stream)).toEqual([`id: ${order.id}`, "event: order", 'data: {"order":17}']);

    const lines = await push(service, "compid=inbox", "two\nlines");
    expect(await readBlock(stream)).toEqual([`id: ${lines.id}`, "data: two", "data: lines"]);
  });

  test.skipIf(isMissing).each([
    ["SIGTERM", 0],
    ["SIGKILL", 18],
  ] as const)(
    "goes on after %s and a start with the header Last-Event-ID, and says before how it ended",
    async (ending, status) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      await using before = startCurl(service);
      await readBlock(before);
      const { id } = await pushToAll(service, "before");
      expect(await readBlock(before)).toEqual([`id: ${id}`, "data: before"]);

      let away = "";
      await service.restart(ending, async (elsewhere) => {
        away = (await pushToAll(elsewhere, "away")).id;
      });
      await using after = startCurl(service, "--include", "--header", `Last-Event-ID: ${id}`);

      expect(await before.exited).toBe(status);
      expect(await readBlock(after)).toEqual(
        expect.arrayContaining(["HTTP/1.1 200 OK", "Server-Push-Resumed: true", `Last-Event-ID: ${id}`]),
      );
      expect((await readBlock(after)).at(-1)).toContain('"resumed":true');
      expect(await readBlock(after)).toEqual([`id: ${away}`, "data: away"]);
      const back = await pushToAll(service, "back");
      expect(await readBlock(after)).toEqual([`id: ${back.id}`, "data: back"]);
    },
  );

  test.skipIf(isMissing)(
    "is told in a header that nothing is proven, after a start with nothing",
    async () => {
      await using service = await startService();
      const { id } = await pushToAll(service, "before");

      await service.restart("SIGTERM");
      const { id: latest } = await pushToAll(service, "missed");
      await using stream = startCurl(service, "--include", "--header", `Last-Event-ID: ${id}`);

      expect(await readBlock(stream)).toEqual(
        expect.arrayContaining(["Server-Push-Resumed: false", `Last-Event-ID: ${latest}`]),
      );
      expect((await readBlock(stream)).at(-1)).toContain('"resumed":false');
      const after = await pushToAll(service, "after");
      expect(await readBlock(stream)).toEqual([`id: ${after.id}`, "data: after"]);
    },
  );
});

/** A plain WebSocket: says in one line what the handshake's answer says of the stream, then prints each text. */
const plainWithPython = `
import asyncio, sys, websockets
async def main(url, last_id):
    is_old = int(websockets.__version__.split(".")[0]) < 14
    headers = {"extra_headers" if is_old else "additional_headers": {"Last-Event-ID": last_id}}
    async with websockets.connect(url.replace("http", "ws"), **headers) as socket:
        told = socket.response_headers if is_old else socket.response.headers
        print(told["Server-Push-Resumed"], told["Last-Event-ID"], flush=True)
        async for text in socket:
            print(text, flush=True)
asyncio.run(main(*sys.argv[1:]))
`;

const startPython = ({ url }: Service, id: string) =>
  start([python, "-c", plainWithPython, `${url}/ws?${everyKind}`, id]);

describe("a plain WebSocket of Python's websockets, with the header Last-Event-ID", () => {
  const isMissing = mustSkip("websockets");

  test.skipIf(isMissing).each(["SIGTERM", "SIGKILL"] as const)(
    "goes on after %s and a start",
    async (ending) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      await pushToAll(service, "had");
      const { id } = await pushToAll(service, "had, too");
      await pushToAll(service, "missed");

      await service.restart(ending, (elsewhere) => pushToAll(elsewhere, "away"));
      await using client = startPython(service, id);

      expect(await client.line()).toBe(`true ${id}`);
      expect([await client.line(), await client.line()]).toEqual(["missed", "away"]);
      await pushToAll(service, "back");
      expect(await client.line()).toBe("back");
    },
  );

  test.skipIf(isMissing)("is told that nothing is proven, after a start with nothing", async () => {
    await using service = await startService();
    const { id } = await pushToAll(service, "before");

    await service.restart("SIGTERM");
    const { id: latest } = await pushToAll(service, "missed");
    await using client = startPython(service, id);

    expect(await client.line()).toBe(`false ${latest}`);
    await pushToAll(service, "after");
    expect(await client.line()).toBe("after");
  });
});
