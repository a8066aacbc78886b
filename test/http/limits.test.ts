/**
 * The largest message: the limit itself passes, one byte more is refused, in whatever way the message comes. And the longest time
 * that it may take to come.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { toProblem } from "../support/calls.ts";
import { inChunks } from "../support/chunks.ts";
import { connect, type TestClient } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

type Send = (server: TestServer, message: string) => Promise<Response>;

const ways: readonly [string, Send][] = [
  [
    "in the query",
    ({ url }, message) => fetch(`${url}/push?userid=1&message=${encodeURIComponent(message)}`),
  ],
  [
    "as a body of known length",
    ({ url }, message) => fetch(`${url}/push?userid=1`, { method: "POST", body: message }),
  ],
  [
    "as a body in chunks",
    ({ url }, message) =>
      fetch(`${url}/push?userid=1`, { method: "POST", body: inChunks(message, 100), duplex: "half" }),
  ],
  [
    "to all, as a body in chunks",
    ({ url }, message) =>
      fetch(`${url}/pushtoall`, { method: "POST", body: inChunks(message, 100), duplex: "half" }),
  ],
];

describe("with --max-message 1KiB", () => {
  let server: TestServer;
  let inbox: TestClient;

  beforeAll(async () => {
    server = await startServer({ "max-message": "1KiB" });
    inbox = await connect(server, "userid=1");
  });

  afterAll(async () => {
    await inbox[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  test.each(ways)("a message of 1024 bytes %s passes", async (_, send) => {
    const message = "x".repeat(1024);

    const answer = await send(server, message);

    expect(answer.status).toBe(200);
    expect(await inbox.next()).toBe(message);
  });

  test.each(ways)("a message of 1025 bytes %s is refused with 413", async (_, send) => {
    const answer = await send(server, "x".repeat(1025));

    expect(answer.status).toBe(413);
    const { code, detail } = await toProblem(answer);
    expect(code).toBe("too_large");
    expect(detail).toMatch(/^message is (1025 bytes, the limit is 1024|larger than the limit, 1024 bytes)$/);
  });

  test.each(ways)("what counts of a message %s is its bytes, not its characters", async (_, send) => {
    const fits = await send(server, "é".repeat(512));
    const tooLarge = await send(server, "é".repeat(513));

    expect(await inbox.next()).toBe("é".repeat(512));
    expect([fits.status, tooLarge.status]).toEqual([200, 413]);
  });

  test.each(ways)(
    "a message far too large %s is refused with 413, and the next one passes",
    async (_, send) => {
      const tooLarge = await send(server, "x".repeat(50_000));
      const fits = await send(server, "hello");

      expect(await inbox.next()).toBe("hello");
      expect([tooLarge.status, fits.status]).toEqual([413, 200]);
    },
  );
});

test("the largest message of the default limit passes in a query, with each of its bytes percent-encoded", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=1");
  const message = "\n".repeat(65_536);

  const answer = await fetch(`${server.url}/push?userid=1&message=${encodeURIComponent(message)}`);

  expect(answer.status).toBe(200);
  expect(await inbox.next()).toBe(message);
});

test("the default limit is 64 KiB, and its refusal names both sizes", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/push?userid=1`, { method: "POST", body: "x".repeat(65_537) });

  expect(answer.status).toBe(413);
  expect((await toProblem(answer)).detail).toBe("message is 65537 bytes, the limit is 65536");
});
