/**
 * Attacks on the server's patience: connections on which nothing, or not enough, is sent, and an issuer of tokens that does not answer.
 * What waits holds a place, and must hold nothing else, and not for long.
 *
 * The tests wait for that patience to end, so they wait at once.
 */
import { describe, expect, test } from "bun:test";
import { makeKey } from "../auth/vectors.ts";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { toHandshake } from "../support/frames.ts";
import { openIssuer } from "../support/issuer.ts";
import type { ServerProcess } from "../support/process.ts";
import { openRaw, type RawConnection } from "../support/raw.ts";
import { openSiege, rejections } from "../support/siege.ts";
import { apiKey } from "../support/tokens.ts";

const host = "Host: 127.0.0.1\r\n";
const beginOfBody = `POST /push?userid=1 HTTP/1.1\r\n${host}Content-Length: 60000\r\n\r\n`;
const beginOfChunks = `POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`;
/** With four seconds or less, which is as fine as Bun's timer is, connections that are in use would be cut, too. */
const impatient = { "http-timeout": "5s" };
/** The server's patience with a head is Bun's own, of about 12 seconds, whatever --http-timeout is. */
const timeoutMs = 90_000;

/**
 * One after the other: what it takes of the machine to start a server, or to open thousands of connections to it, must not be taken for
 * what another server does.
 */
let last: Promise<unknown> = Promise.resolve();
async function inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
  const own = last.then(act);
  last = own.catch(() => {});
  return await own;
}

/** As many connections at once as the server's queue of new ones takes. */
const atOnce = 50;

async function openMany(
  server: ServerProcess,
  count: number,
  beginnings: readonly string[],
): Promise<RawConnection[]> {
  return await inTurn(() => openAll(server, count, beginnings));
}

async function openAll(
  server: ServerProcess,
  count: number,
  beginnings: readonly string[],
): Promise<RawConnection[]> {
  const connections: RawConnection[] = [];
  const open = async (index: number) => {
    const raw = await openRaw(server);
    await raw.write(beginnings[index % beginnings.length] ?? "");
    connections.push(raw);
  };
  for (let begun = 0; begun < count; begun += atOnce)
    await Promise.all(
      Array.from({ length: Math.min(atOnce, count - begun) }, (_, index) => open(begun + index)),
    );
  return connections;
}

async function untilCut(connections: readonly RawConnection[]): Promise<void> {
  await Promise.all(connections.map((raw) => raw.ended));
  await Promise.all(connections.map((raw) => raw[Symbol.asyncDispose]()));
}

/** Sends so little, so often, that the connection is never silent for long. */
async function drip(raw: RawConnection, drop: string): Promise<void> {
  const timer = setInterval(() => void raw.write(drop), 300);
  await raw.ended;
  clearInterval(timer);
  await raw[Symbol.asyncDispose]();
}

describe.concurrent("nobody else waits for", () => {
  // Slowloris: a header now and then, so that the head is always about to be whole, and the connection never silent.
  test(
    "heads that come a line, or a byte, at a time, and they are cut",
    async () => {
      await using siege = await inTurn(() => openSiege(impatient));
      const begin = `GET /push?userid=1&message=m HTTP/1.1\r\n${host}`;

      await siege.withstand(async (server) => {
        const lines = await openMany(server, 100, [begin]);
        const bytes = await openMany(server, 100, ["GET /push?userid=1&message=m", `${begin}X-Filler: `]);
        await Promise.all([
          ...lines.map((raw) => drip(raw, "X-Filler: x\r\n")),
          ...bytes.map((raw) => drip(raw, "x")),
        ]);
      }, {});
    },
    timeoutMs,
  );

  // The same with bodies, for which the server itself keeps what has come.
  test(
    "bodies that come a byte, or a chunk, at a time, and they are cut",
    async () => {
      await using siege = await inTurn(() => openSiege(impatient));

      await siege.withstand(
        async (server) => {
          const bytes = await openMany(server, 100, [beginOfBody, `${beginOfChunks}4;`]);
          const chunks = await openMany(server, 100, [beginOfChunks]);
          await Promise.all([
            ...bytes.map((raw) => drip(raw, "x")),
            ...chunks.map((raw) => drip(raw, "1\r\nx\r\n")),
          ]);
        },
        { [rejections("malformed_body")]: 200 },
      );
    },
    timeoutMs,
  );

  // A session is not a request: the time for requests must not end it, or every page would be cut that is sent nothing.
  test(
    "a session that is silent, and it stays",
    async () => {
      await using siege = await inTurn(() => openSiege(impatient));
      await using session = await connect(siege.server, "userid=silent");

      await siege.withstand(async (server) => untilCut(await openMany(server, 100, [beginOfBody])), {
        [rejections("malformed_body")]: 100,
      });

      await push(siege.server, "userid=silent", "hello");
      expect(await session.next()).toBe("hello");
    },
    timeoutMs,
  );

  // While the issuer is silent, every client with a token of it waits for its keys.
  test(
    "clients whose issuer hangs, and they are told to come back",
    async () => {
      const key = makeKey("ES256");
      await using issuer = openIssuer(() => new Promise(() => {}));
      const settings = { "api-key": apiKey, "public-metrics": "true", jwks: issuer.url };
      await using siege = await inTurn(() => openSiege(settings));
      const token = key.sign({}, { sub: "7", exp: Math.floor(Date.now() / 1000) + 600 });
      const handshake = toHandshake("userid=7", [`Authorization: Bearer ${token}`]);

      await siege.withstand(
        async (server) => {
          const waiting = await openMany(server, 300, [handshake]);
          const answers = await Promise.all(waiting.map((raw) => raw.answer()));
          for (const { status, headers } of answers)
            expect([status, headers.has("retry-after")]).toEqual([503, true]);
          for (const raw of waiting) raw.reset();
        },
        { [rejections("unavailable")]: 300, server_push_sessions_opened_total: 0 },
      );
      expect(issuer.asked).toBe(1);
    },
    timeoutMs,
  );

  // A connection costs the attacker nothing: who only opens them must not be able to use up what the server has.
  test(
    "10,000 connections with no request or half of one, and they are cut",
    async () => {
      await using siege = await inTurn(() => openSiege(impatient));
      const heads = ["", "G", "GET /ws?userid=1", `GET /push?userid=1&message=m HTTP/1.1\r\n${host}`];

      await siege.withstand(
        async (server) => untilCut(await openMany(server, 10_000, [...heads, beginOfBody])),
        {
          [rejections("malformed_body")]: 2000,
        },
      );
    },
    timeoutMs,
  );
});
