/**
 * The commands of the README's section on security run as written, in one shell after the other, and do what it says.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { basename, dirname } from "node:path";
import { makeCertificate } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { compiledFile, root, startProcess } from "../support/process.ts";
import { mustSkip } from "../support/system.ts";

setDefaultTimeout(60_000);

const readme = await Bun.file(`${root}/README.md`).text();
const [, section = ""] = /^## Security$([^]*?)^## /m.exec(readme) ?? [];
const blocks = Array.from(section.matchAll(/^```sh\n([^]*?)^```/gm), ([, text = ""]) => text);

/** The one command in the section that has this text in it. */
function commandWith(text: string): string {
  const commands = blocks
    .flatMap((block) => block.replaceAll("\\\n", " ").split("\n"))
    .filter((line) => line.includes(text));
  expect(commands).toHaveLength(1);
  return commands[0] ?? "";
}

/** What the commands print, in a shell that finds the executable. */
async function shell(commands: string, environment: Readonly<Record<string, string>> = {}): Promise<string> {
  const PATH = `${dirname(compiledFile)}:${process.env["PATH"]}`;
  const child = Bun.spawn(["sh", "-c", commands], {
    env: { PATH, ...environment },
    stdout: "pipe",
    stderr: "ignore",
  });
  return await child.stdout.text();
}

async function push(url: string, key: string): Promise<number> {
  const headers = { Authorization: `Bearer ${key}` };
  return (await fetch(`${url}/pushtoall?message=hello`, { headers })).status;
}

describe.skipIf(mustSkip("openssl") || mustSkip("curl"))("the commands on security:", () => {
  let folder: Folder;
  let key: string;
  beforeAll(async () => {
    key = (await shell(`${commandWith("openssl rand")}\nprintenv SERVER_PUSH_API_KEY`)).trim();
    const { cert, key: own } = await makeCertificate("push.example.com");
    folder = await makeFolder({ keys: `${key}\n`, "fullchain.pem": cert, "privkey.pem": own });
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  /** The server that the command starts, on any free port in the place of its own. */
  async function start(command: string) {
    const [, ...words] = command.replace(/ &$/, "").split(/ +/);
    const argv = words.map((word, at) => {
      if (/^--(api-)?port$/.test(words[at - 1] ?? "")) return "0";
      return /^keys$|^\/etc\//.test(word) ? folder.file(basename(word)) : word;
    });
    const port = words.includes("--port") ? [] : ["--port=0"];
    return await startProcess([compiledFile, ...argv, ...port], { SERVER_PUSH_API_KEY: key });
  }

  test("the key is random, of 256 bits", () => {
    expect(key).toMatch(/^[0-9a-f]{64}$/);
  });

  test("a push with it is taken, and without it is not", async () => {
    await using server = await start(commandWith("--host 0.0.0.0 &"));
    const command = commandWith("pushtoall").replaceAll(":8888", `:${server.port}`);

    expect(JSON.parse(await shell(command, { SERVER_PUSH_API_KEY: key }))).toMatchObject({ sessions: 0 });
    expect(JSON.parse(await shell(command.replace(/-H "[^"]*"/, "")))).toMatchObject({
      code: "unauthorized",
    });
  });

  test("a token is given out", async () => {
    await using server = await start(commandWith("--host 0.0.0.0 &"));
    const command = commandWith("/tokens?").replaceAll(":8888", `:${server.port}`);

    const { token, expires } = JSON.parse(await shell(command, { SERVER_PUSH_API_KEY: key }));

    expect(expires).toBe(3600);
    const url = `http://127.0.0.1:${server.port}/poll?wait=0&userid=123`;
    expect((await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(200);
  });

  test("the server with a certificate serves https", async () => {
    await using server = await start(commandWith("--tls-cert"));

    const answer = await fetch(`https://127.0.0.1:${server.port}/healthz`, {
      tls: { ca: await Bun.file(folder.file("fullchain.pem")).text() },
    });

    expect(answer.status).toBe(200);
  });

  test("the port for publishers takes pushes, and the other one does not", async () => {
    await using server = await start(commandWith("--api-port"));

    expect(await push(server.apiUrl, key)).toBe(202);
    expect(await push(`http://127.0.0.1:${server.port}`, key)).toBe(404);
  });

  test("a key is replaced without a gap by SIGHUP", async () => {
    await using server = await start(commandWith("--api-port"));
    const next = "0123456789abcdef0123456789abcdef";

    await Bun.write(folder.file("keys"), `${key}\n${next}\n`);
    server.signal("SIGHUP");
    await eventually("the new key", async () => (await push(server.apiUrl, next)) === 202);

    expect(await push(server.apiUrl, key)).toBe(202);
  });
});
