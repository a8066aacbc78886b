/**
 * Attacks with tokens, through every door that takes one: nobody gets to be another user, and trying costs nobody else anything.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hs256, makeKey, signHs256, toPart, toPublicTexts } from "../auth/vectors.ts";
import { connect } from "../support/client.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { toHandshake } from "../support/frames.ts";
import type { ServerProcess } from "../support/process.ts";
import { exchange } from "../support/raw.ts";
import { endings, openSiege, rejections, type Siege } from "../support/siege.ts";
import { apiKey, mint } from "../support/tokens.ts";

const parties = { iss: "https://issuer.example", aud: "push" };
const issuer = makeKey("RS256");
const stranger = makeKey("RS256");
/** How often somebody tries, at least. */
const attempts = 400;
const toTurns = (requests: readonly string[]) => Math.ceil(attempts / requests.length);

let folder: Folder;
let siege: Siege;

beforeAll(async () => {
  folder = await makeFolder({ "keys.json": JSON.stringify({ keys: [issuer.jwk] }) });
  siege = await openSiege({
    "api-key": apiKey,
    "public-metrics": "true",
    jwks: folder.file("keys.json"),
    "jwt-issuer": parties.iss,
    "jwt-audience": parties.aud,
  });
});

afterAll(async () => {
  await siege[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const secondsFromNow = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const claims = (more: object = {}) => ({ sub: "victim", exp: secondsFromNow(600), ...parties, ...more });

/** @param header a line of the head, if any */
function toGet(target: string, header = ""): string {
  return `GET ${target} HTTP/1.1\r\nHost: x\r\n${header && `${header}\r\n`}\r\n`;
}

/** The frame that renews a token, with one of this length. */
function toRenewal(length: number): string {
  return JSON.stringify({ type: "token", token: "A".repeat(length) });
}

/** The ways to bring a token: each transport, and each place in a request. */
function toRequests(token: string, query = ""): string[] {
  const bearer = `Authorization: Bearer ${token}`;
  const more = query && `&${query}`;
  return [
    toHandshake(`token=${token}${more}`),
    toHandshake(query, [bearer]),
    toHandshake(query, [`Sec-WebSocket-Protocol: push.v1, bearer.${token}`]),
    toGet(`/sse?token=${token}${more}`),
    toGet(`/sse?${query}`, bearer),
    toGet(`/poll?wait=0&token=${token}${more}`),
    toGet(`/poll?wait=0${more}`, bearer),
  ];
}

/** Tries every way in with each of the tokens, again and again, and gives the answers that there were. */
async function tryAll(server: ServerProcess, requests: readonly string[]): Promise<Set<string>> {
  const answers = new Set<string>();
  for (let turn = 0; turn < toTurns(requests); turn++)
    for (const { status, body } of await Promise.all(requests.map((request) => exchange(server, request))))
      answers.add(`${status} ${body === "" ? "" : JSON.parse(body).code}`.trim());
  return answers;
}

/** What somebody would try who wants to be another user, and cannot sign as the issuer does. */
const forgeries: Readonly<Record<string, () => readonly string[]>> = {
  // A token that was good once is found in logs and histories.
  "that has expired": () => [issuer.sign({}, claims({ exp: secondsFromNow(-60) }))],
  // A token for later must not be good already.
  "that is not valid yet": () => [issuer.sign({}, claims({ nbf: secondsFromNow(300) }))],
  // A token without an end would be good for ever.
  "without an end": () => [issuer.sign({}, claims({ exp: undefined }))],
  // What an issuer signs for another service is in that service's hands.
  "for another audience": () =>
    [undefined, "other", ["other"], { push: true }].map((aud) => issuer.sign({}, claims({ aud }))),
  // Two issuers may know the same user ids.
  "of another issuer": () =>
    [undefined, "https://evil.example"].map((iss) => issuer.sign({}, claims({ iss }))),
  // The oldest hole of JWT: a token that says itself that it needs no signature. (CVE-2015-9235)
  "of the algorithm none": () =>
    ["none", "None", "NONE", "nOnE", ""].flatMap((alg) => {
      const unsigned = `${toPart({ alg, typ: "JWT" })}.${toPart(claims())}.`;
      return [unsigned, unsigned + toPart("signature")];
    }),
  // What is public must not be what somebody signs with: a public key as the secret of HS256. (CVE-2016-5431)
  "signed with the public key as a secret": () =>
    toPublicTexts(issuer).flatMap((text) => [
      signHs256({ ...hs256, kid: issuer.jwk.kid }, claims(), text),
      signHs256({ alg: "RS256", kid: issuer.jwk.kid }, claims(), text),
    ]),
  // A key that comes with the token is the attacker's own.
  "that brings its own key": () => {
    const { jwk } = stranger;
    return [
      stranger.sign({ jwk }, claims()),
      stranger.sign({ jku: "http://127.0.0.1:1/", x5c: [] }, claims()),
    ];
  },
  // Claims that were changed after they were signed.
  "with the signature of another": () => {
    const [header, , signature] = issuer.sign({}, claims({ sub: "attacker" })).split(".");
    return [`${header}.${toPart(claims())}.${signature}`];
  },
  // The key of a publisher is another secret than the one that is derived from it.
  "signed with the API key": () => [signHs256(hs256, claims(), Buffer.from(apiKey))],
};

describe("a token", () => {
  for (const [what, toTokens] of Object.entries(forgeries))
    test(`${what} is refused with 401, whatever way it comes in`, async () => {
      const requests = toTokens().flatMap((token) => toRequests(token));

      await siege.withstand(
        async (server) => expect(await tryAll(server, requests)).toEqual(new Set(["401 unauthorized"])),
        {
          [rejections("unauthorized")]: requests.length * toTurns(requests),
          server_push_sessions_opened_total: 0,
        },
      );
    });

  // Who has a token of their own is one step from everybody else's messages.
  test("of one user is refused with 403 for another, whatever way it comes in", async () => {
    const own = [await mint(siege.server, "userid=attacker"), issuer.sign({}, claims({ sub: "attacker" }))];
    const requests = own.flatMap((token) => toRequests(token, "userid=victim"));

    await siege.withstand(
      async (server) => expect(await tryAll(server, requests)).toEqual(new Set(["403 forbidden"])),
      {
        [rejections("forbidden")]: requests.length * toTurns(requests),
        server_push_sessions_opened_total: 0,
      },
    );
  });
});

describe("a token that is too long", () => {
  // It would be decoded, parsed and hashed before its signature is known to be wrong.
  test("of 100 KB is refused before anything of it is read", async () => {
    const [header, payload] = issuer.sign({}, claims()).split(".");
    const requests = toRequests(`${header}.${payload}.${"A".repeat(100_000)}`);

    await siege.withstand(
      async (server) => expect(await tryAll(server, requests)).toEqual(new Set(["401 unauthorized"])),
      { [rejections("unauthorized")]: requests.length * toTurns(requests) },
    );
  });

  // The same of a size that no head may have: it does not even become a request.
  test("of 1 MB is refused with 431", async () => {
    const requests = toRequests("A".repeat(1_000_000));

    const { peakBytes } = await siege.withstand(
      async (server) => expect(await tryAll(server, requests)).toEqual(new Set(["431"])),
      {},
    );
    expect(peakBytes).toBeLessThan(32 * 2 ** 20);
  });

  // A session that is open may send a token as well: 1 MB is more than any message may have, and 60 KB is no token.
  test("ends a session that sends it as a new one, or is no new one", async () => {
    const token = await mint(siege.server, "userid=attacker");
    const times = 50;

    await siege.withstand(
      async (server) => {
        for (let turn = 0; turn < times; turn++) {
          await using client = await connect(server, `token=${token}`, ["push.v1"]);
          await client.next();
          client.send(toRenewal(60_000));
          expect(JSON.parse(String(await client.next()))).toMatchObject({ code: "unauthorized" });
          client.send(toRenewal(1_000_000));
          await client.closed;
        }
      },
      { [rejections("unauthorized")]: times, [endings("violation")]: times },
    );
  });
});
