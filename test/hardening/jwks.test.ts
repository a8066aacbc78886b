/**
 * Attacks by way of the issuer of tokens, or in its name: it changes its keys, it sends without end, and who has no key of it makes the
 * server ask for it.
 */
import { describe, expect, test } from "bun:test";
import { makeKey } from "../auth/vectors.ts";
import { untilLogged } from "../support/calls.ts";
import { toHandshake } from "../support/frames.ts";
import { endless, type Issuer, keysOf, openIssuer } from "../support/issuer.ts";
import type { ServerProcess } from "../support/process.ts";
import { exchange } from "../support/raw.ts";
import { openSiege, rejections } from "../support/siege.ts";
import { apiKey } from "../support/tokens.ts";

const first = makeKey("ES256", "first");
const second = makeKey("ES256", "second");
const toClaims = () => ({ sub: "7", exp: Math.floor(Date.now() / 1000) + 600 });

const openLocked = ({ url }: Issuer) => openSiege({ "api-key": apiKey, "public-metrics": "true", jwks: url });

/** What so many handshakes at once with each of these tokens are answered with. */
async function ask(server: ServerProcess, tokens: readonly string[]): Promise<number[]> {
  const answers = await Promise.all(
    tokens.map((token) => exchange(server, toHandshake(`userid=7&token=${token}`))),
  );
  return [...new Set(answers.map(({ status }) => status))];
}

/** Has the keys read again, and waits until the log has a line that says what became of it. */
async function reload(server: ServerProcess, outcome: string): Promise<void> {
  const seen = server.log.length;
  server.signal("SIGHUP");
  await untilLogged(server, (line) => line.msg === outcome && server.log.indexOf(line) >= seen);
}

describe("an issuer", () => {
  // A key that the issuer has taken out was perhaps stolen: it must not open anything any more.
  test("that changes its keys is followed, and what it has taken out is refused", async () => {
    await using issuer = openIssuer(keysOf(first.jwk));
    await using siege = await openLocked(issuer);
    const before = Array.from({ length: 300 }, () => first.sign({}, toClaims()));
    const after = Array.from({ length: 300 }, () => second.sign({}, toClaims()));

    await siege.withstand(
      async (server) => {
        // Also when it is tried again.
        issuer.answer = keysOf(first.jwk);
        await reload(server, "reloaded");
        expect(await ask(server, before)).toEqual([101]);
        expect(await ask(server, after)).toEqual([401]);
        issuer.answer = keysOf(second.jwk);
        await reload(server, "reloaded");
        expect(await ask(server, before)).toEqual([401]);
        expect(await ask(server, after)).toEqual([101]);
      },
      { [rejections("unauthorized")]: 600, server_push_sessions_opened_total: 600 },
    );
  });

  // Whoever invents names of keys must not make the server knock at its issuer for each of them.
  test("is not asked by a flood of tokens that name keys which it has not", async () => {
    await using issuer = openIssuer(keysOf(first.jwk));
    await using siege = await openLocked(issuer);
    const invented = Array.from({ length: 1000 }, (_, index) =>
      second.sign({ kid: `no ${index}` }, toClaims()),
    );

    await siege.withstand(
      async (server) => {
        for (let begin = 0; begin < invented.length; begin += 100)
          expect(await ask(server, invented.slice(begin, begin + 100))).toEqual([401]);
      },
      { [rejections("unauthorized")]: 1000 },
    );
    expect(issuer.asked).toBe(1);
  });

  const megabyte = new Uint8Array(2 ** 20).fill(0x20);
  const packed = Bun.gzipSync(JSON.stringify({ keys: [first.jwk] }).padEnd(100 * 2 ** 20));
  const large = endless(megabyte);

  // An issuer that somebody has taken over, or that is none, sends until the memory is full.
  test.each([
    ["100 MB and more", large.answer],
    ["100 MB in a packet of 100 KB", () => new Response(packed, { headers: { "Content-Encoding": "gzip" } })],
    ["100 MB with its length", () => new Response(new Uint8Array(100 * 2 ** 20))],
  ])("that sends %s is cut off, and its keys from before stay", async (_, answer) => {
    await using issuer = openIssuer(keysOf(first.jwk));
    await using siege = await openLocked(issuer);
    const tokens = Array.from({ length: 100 }, () => first.sign({}, toClaims()));

    const { peakBytes } = await siege.withstand(
      async (server) => {
        expect(await ask(server, tokens)).toEqual([101]);
        issuer.answer = answer;
        for (let turn = 0; turn < 3; turn++) {
          await reload(server, "the public keys of tokens stay as they were");
          expect(await ask(server, tokens)).toEqual([101]);
        }
      },
      { server_push_sessions_opened_total: 400 },
    );
    expect(peakBytes).toBeLessThan(64 * 2 ** 20);
    expect(large.sent).toBeLessThan(100 * 2 ** 20);
  });
});
