/**
 * Other people's clients against the compiled file.
 */
import { describe, expect, test } from "bun:test";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { compiledFile, run, type ServerProcess, startProcess } from "../support/process.ts";
import { start } from "../support/program.ts";
import { type LogLine, readMetrics } from "../support/server.ts";
import { mustSkip, python } from "../support/system.ts";

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const unicode = "\u00fc \u4f60\u597d \u{1f600} \u0000 \r\n\t\u2028";

async function startServer(): Promise<ServerProcess> {
  return await startProcess([compiledFile, "--port=0", "--log-format=json", "--log-level=debug"]);
}

const isReceipt = ({ msg }: LogLine) => msg === "message received";
const curl = (...argv: string[]) => ["curl", "--silent", "--show-error", ...argv];

/** Prints `text` and the text in hexadecimal, or `binary` and the bytes; sends a text and some bytes at the begin. */
const withWs = `
  import { WebSocket } from "${import.meta.resolve("ws")}";
  const socket = new WebSocket(process.argv[1]);
  socket.on("open", () => { socket.send("sent \\u{1f600}"); socket.send(Buffer.from([0, 255])); });
  socket.on("message", (data, isBinary) => console.log(isBinary ? "binary" : "text", data.toString("hex")));
  socket.on("close", (code, reason) => console.log("close", code, reason.toString()));
`;

const withPython = `
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        await socket.send("sent \\U0001f600")
        await socket.send(b"\\x00\\xff")
        try:
            async for data in socket:
                kind, data = ("text", data.encode()) if isinstance(data, str) else ("binary", data)
                print(kind, data.hex(), flush=True)
        except websockets.ConnectionClosedError:
            print("close", socket.close_code, socket.close_reason, flush=True)
asyncio.run(main())
`;

const inNode = [Bun.which("node") ?? process.execPath, "--input-type=module", "-e", withWs];

describe.each([
  { name: "ws of npm", command: inNode, isMissing: false },
  {
    name: "websockets of Python",
    command: [python, "-c", withPython],
    isMissing: mustSkip("websockets"),
  },
])("$name", ({ command, isMissing }) => {
  /** Runs it as the only session, and waits until the server has what it sends. */
  async function startClient(server: ServerProcess) {
    const address = `${server.url.replace("http", "ws")}/ws?userid=123&compid=inbox`;
    const client = start([...command, address]);
    await eventually(
      "both messages",
      async () => (await readMetrics(server)).get("server_push_received_total") === 2,
    );
    return client;
  }

  test.skipIf(isMissing)("receives a text", async () => {
    await using server = await startServer();
    await using client = await startClient(server);

    await push(server, "userid=123&compid=inbox", "hello");

    expect(await client.line()).toBe(`text ${Buffer.from("hello").toString("hex")}`);
  });

  test.skipIf(isMissing)("receives every kind of character", async () => {
    await using server = await startServer();
    await using client = await startClient(server);

    await push(server, "userid=123", unicode);

    expect(await client.line()).toBe(`text ${Buffer.from(unicode).toString("hex")}`);
  });

  test.skipIf(isMissing)("receives bytes as they are", async () => {
    await using server = await startServer();
    await using client = await startClient(server);
    const headers = { "Content-Type": "application/octet-stream" };

    await fetch(`${server.url}/push?compid=inbox`, { method: "POST", body: everyByte, headers });

    expect(await client.line()).toBe(`binary ${everyByte.toHex()}`);
  });

  test.skipIf(isMissing)("receives the largest message", async () => {
    await using server = await startServer();
    await using client = await startClient(server);
    const large = "0123456789abcdef".repeat(4096);

    await pushToAll(server, large);

    expect(await client.line()).toBe(`text ${Buffer.from(large).toString("hex")}`);
  });

  test.skipIf(isMissing)("sends texts and bytes", async () => {
    await using server = await startServer();
    await using _ = await startClient(server);

    await eventually("both lines in the log", () => server.log.filter(isReceipt).length === 2);
    expect(server.log.filter(isReceipt)).toMatchObject([
      { userid: "123", compid: "inbox", bytes: 9 },
      { userid: "123", compid: "inbox", bytes: 2 },
    ]);
  });

  test.skipIf(isMissing)("is told that the server restarts", async () => {
    await using server = await startServer();
    await using client = await startClient(server);

    await server.drain();

    expect(await client.line()).toBe("close 1012 the server restarts");
    expect(await client.exited).toBe(0);
  });

  test.skipIf(isMissing)("is no session any more once it was killed", async () => {
    await using server = await startServer();
    {
      await using _ = await startClient(server);
    }

    await untilSessions(server, 0);

    expect(await push(server, "userid=123", "hello")).toMatchObject({ sessions: 0 });
  });
});

describe("curl", () => {
  const isMissing = mustSkip("curl");

  test.skipIf(isMissing)("pushes with the message in the URL", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=123&compid=inbox");

    const { stdout } = await run(curl(`${server.url}/push?userid=123&compid=inbox&message=hello`));

    expect(await client.next()).toBe("hello");
    expect(JSON.parse(stdout)).toEqual({ id: expect.any(String), sessions: 1 });
  });

  test.skipIf(isMissing)("-G --data-urlencode pushes any text", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=a%26b");
    const text = "50% & more + \u00fc \u{1f600}\nsecond line";
    const parameters = ["userid=a&b", `message=${text}`].flatMap((pair) => ["--data-urlencode", pair]);

    await run(curl("-G", `${server.url}/push`, ...parameters));

    expect(await client.next()).toBe(text);
  });

  test.skipIf(isMissing)("--json pushes JSON as it is written", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=123");
    const json = '{ "order": 17,\n  "state": "paid" }';

    await run(curl("--json", json, `${server.url}/push?userid=123`));

    expect(await client.next()).toBe(json);
  });

  test.skipIf(isMissing)("--data-binary @file pushes a file as text, line breaks and all", async () => {
    await using folder = await makeFolder({ message: `${unicode}\n` });
    await using server = await startServer();
    await using client = await connect(server, "userid=123");
    const file = ["--data-binary", `@${folder.file("message")}`, "-H", "Content-Type: text/plain"];

    await run(curl(...file, `${server.url}/push?userid=123`));

    expect(await client.next()).toBe(`${unicode}\n`);
  });

  test.skipIf(isMissing)("--data-binary @file pushes a file as bytes", async () => {
    await using folder = await makeFolder();
    await Bun.write(folder.file("message"), everyByte);
    await using server = await startServer();
    await using client = await connect(server, "userid=123");
    const type = "Content-Type: application/octet-stream";

    await run(
      curl("--data-binary", `@${folder.file("message")}`, "-H", type, `${server.url}/push?userid=123`),
    );

    expect(await client.next()).toEqual(everyByte);
  });

  test.skipIf(isMissing)(
    "-T - pushes what a program prints, of a length that nobody knows before",
    async () => {
      await using server = await startServer();
      await using client = await connect(server, "userid=123");
      const text = `${unicode}${"x".repeat(30_000)}`;

      await run(curl("-T", "-", "-X", "POST", `${server.url}/push?userid=123`), { stdin: text });

      expect(await client.next()).toBe(text);
    },
  );

  test.skipIf(isMissing)(
    "--fail ends with a status that a script can test when a push is refused",
    async () => {
      await using server = await startServer();

      const { status } = await run(curl("--fail", `${server.url}/push?message=hello`));

      expect(status).toBe(22);
    },
  );

  test.skipIf(isMissing)("-d is told what to send in place of a form", async () => {
    await using server = await startServer();

    const { stdout } = await run(curl("-d", "hello", `${server.url}/push?userid=123`));

    expect(JSON.parse(stdout)).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });
});
