/**
 * What `server-push listen` does when the server does not let it in again: for good it ends, for now it comes back when it may.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ServerFrame } from "../../src/protocol.ts";
import { run } from "../support/process.ts";
import { program, start } from "../support/program.ts";
import { startServer } from "../support/server.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";

setDefaultTimeout(60_000);

const listen = (url: string, ...argv: string[]) => [...program, "listen", "--url", url, ...argv];
const settings = { "api-key": apiKey, "public-metrics": "true" };

describe("it ends with 1 and says why", () => {
  test("when its token has expired, after what came before", async () => {
    await using server = await startServer(settings);
    const token = await mint(server, "userid=1&expires=2");
    await pushWithKey(server, "userid=1", "hello");

    const { status, stdout, stderr } = await run(listen(server.url, "--since=all"), {
      environment: { SERVER_PUSH_TOKEN: token },
    });

    expect(stdout).toBe("hello\n");
    expect(stderr).toMatch(
      /^server-push: connection lost \(4001 the token has expired\), back in \d+ ms\nserver-push: unauthorized: token expired \d s ago\n$/,
    );
    expect(status).toBe(1);
  });

  test("when its token was never one", async () => {
    await using server = await startServer(settings);

    const { status, stderr } = await run(listen(server.url, "--token=x"));

    expect(stderr).toStartWith("server-push: unauthorized: token is malformed");
    expect(status).toBe(1);
  });

  test.each([400, 401, 403])("when it was let in once, and is then refused with %d", async (refusal) => {
    using server = serveTurns(accept, refuse(refusal));

    const { status, stderr } = await run(listen(server.url.href));

    expect(stderr.trimEnd().split("\n").at(-1)).toBe("server-push: some_code: some detail");
    expect(status).toBe(1);
  });
});

describe("it comes back", () => {
  test.each([429, 503])("as soon as the Retry-After of a %d is over", async (refusal) => {
    using server = serveTurns(accept, refuse(refusal, { "Retry-After": "1" }), accept);
    await using listener = start(listen(server.url.href));
    await listener.complaint();

    const complaint = await listener.complaint();
    const told = performance.now();
    await listener.complaint();

    const [, waitMs] = /^server-push: some_code: some detail, back in (\d+) ms$/.exec(complaint) ?? [];
    expect(Number(waitMs)).toBeWithin(1000, 2001);
    expect(performance.now() - told).toBeGreaterThan(900);
  });

  test.each([404, 500, 502, 503])("after a %d, which passes", async (refusal) => {
    using server = serveTurns(accept, refuse(refusal), accept);
    await using listener = start(listen(server.url.href));

    const complaints = [
      await listener.complaint(),
      await listener.complaint(),
      await listener.complaint(),
    ].map((line) => line.replace(/, back in \d+ ms$/, ""));

    expect(complaints).toEqual([
      "server-push: connection lost (1012 go)",
      "server-push: some_code: some detail",
      "server-push: connection lost (1012 go)",
    ]);
  });
});

type Turn = (request: Request, server: Bun.Server<undefined>) => Response | undefined;

const welcome: ServerFrame = { type: "welcome", session: "x", id: "abcdefgh-0", idle: 25 };
const accept: Turn = (request, server) => void server.upgrade(request);

function refuse(status: number, headers: Readonly<Record<string, string>> = {}): Turn {
  return () => Response.json({ code: "some_code", detail: "some detail" }, { status, headers });
}

/** A server that ends every session at once, and treats one attempt to connect after the other as these say, the last for ever. */
function serveTurns(...turns: readonly Turn[]) {
  let turn = 0;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, server) {
      const act = turns[Math.min(turn, turns.length - 1)];
      // Who was refused asks once more, to hear why.
      if (act === accept || !request.headers.has("upgrade")) turn++;
      return act?.(request, server);
    },
    websocket: {
      open(socket) {
        socket.send(JSON.stringify(welcome));
        socket.close(1012, "go");
      },
      message: () => {},
    },
  });
}
