/**
 * What `WWW-Authenticate` says to who is refused with 401 (RFC 6750, section 3): a program can tell nothing from something unreadable, and
 * that from something that is not valid, or no longer.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { Unauthorized } from "../../src/errors.ts";
import { toResponse } from "../../src/http/errors.ts";
import { startServer, type TestServer } from "../support/server.ts";

const secret = "x".repeat(32);
const scheme = 'Bearer realm="server-push"';

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "api-key": "0123456789abcdef", "jwt-secret": secret });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function challengeOf(target: string, authorization?: string): Promise<string | null> {
  const { status, headers } = await fetch(server.url + target, {
    headers: authorization === undefined ? {} : { Authorization: authorization },
  });
  expect(status).toBe(401);
  return headers.get("www-authenticate");
}

const toChallenge = (error: string, description: string) =>
  `${scheme}, error="${error}", error_description="${description}"`;

function sign(claims: object, header: object = { alg: "HS256" }): string {
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const mac = createHmac("sha256", secret).update(signed.join(".")).digest("base64url");
  return [...signed, mac].join(".");
}

describe.each(["/push?userid=1&message=m", "/metrics", "/swagger/json"])("%s", (target) => {
  test("without a key is told the scheme alone", async () => {
    expect(await challengeOf(target)).toBe(scheme);
  });

  test("with a key in another scheme is told the scheme alone, as if it had none", async () => {
    const authorization = "Basic MDEyMzQ1Njc4OWFiY2RlZg==";
    const answer = await fetch(server.url + target, { headers: { Authorization: authorization } });

    expect(await challengeOf(target, authorization)).toBe(scheme);
    expect(JSON.parse(await answer.text()).detail).toBe(
      'no Bearer in the header Authorization, expected "Authorization: Bearer KEY"',
    );
  });

  test.each(["Bearer", "0123456789abcdef", "Bearer 0123456789abcdef x"])(
    "with what cannot be read is told so: %s",
    async (authorization) => {
      expect(await challengeOf(target, authorization)).toBe(
        toChallenge(
          "invalid_request",
          "the header Authorization is malformed, expected 'Authorization: Bearer KEY'",
        ),
      );
    },
  );

  test("with what is not one of the keys is told so", async () => {
    expect(await challengeOf(target, "Bearer fedcba9876543210")).toBe(
      toChallenge("invalid_token", "the key in Authorization is not one of the API keys"),
    );
  });
});

describe.each(["/ws", "/sse", "/poll?wait=0"])("%s", (target) => {
  test("without a token is told the scheme alone", async () => {
    expect(await challengeOf(target)).toBe(scheme);
  });

  test("with what cannot be read is told so", async () => {
    expect(await challengeOf(target, "Bearer")).toStartWith(`${scheme}, error="invalid_request", `);
  });

  test("with a token that has expired is told so", async () => {
    const token = sign({ sub: "1", exp: Math.floor(Date.now() / 1000) - 60 });

    expect(await challengeOf(target, `Bearer ${token}`)).toMatch(
      /, error="invalid_token", error_description="token expired 6\d s ago"$/,
    );
  });

  test("with a token that is not valid is told why, and nothing that could end the sentence", async () => {
    const token = sign({ sub: "1" }, { alg: 'none"\\\u00e9\r\n, error="' });

    expect(await challengeOf(target, `Bearer ${token}`)).toMatch(
      /^Bearer realm="server-push", error="invalid_token", error_description="token is signed with '[^"\\]+'"?, expected HS256"$/,
    );
  });

  test("with a token that is not valid is told nothing of the token itself", async () => {
    const token = sign({ sub: "1", exp: 4_000_000_000 }).replace(/.{10}$/, "AAAAAAAAAA");

    const challenge = await challengeOf(target, `Bearer ${token}`);

    expect(challenge).toStartWith(`${scheme}, error="invalid_token", `);
    for (const part of token.split(".")) expect(challenge).not.toContain(part.slice(0, 8));
  });
});

test("a description has only what RFC 6750 lets it have, whatever the sentence is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (detail) => {
      const { headers } = toResponse(new Unauthorized("invalid", detail));

      expect(headers.get("www-authenticate")).toMatch(
        /^Bearer realm="server-push", error="invalid_token", error_description="[\x20\x21\x23-\x5b\x5d-\x7e]*"$/,
      );
    }),
  );
});
