import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type ClientTokenOptions, maxTokenBytes } from "../../src/auth/client.ts";
import { publicKeyAlgorithms } from "../../src/auth/jwks.ts";
import {
  at,
  day,
  good,
  hs256,
  joeExpiresAt,
  makeKey,
  now,
  openTokens,
  openTokensOfKeys,
  parties,
  refusalOf,
  refusedClaims,
  refusedHeaders,
  refusedParties,
  refusedPayloads,
  rfcEdDsa,
  rfcEs256,
  rfcHs256,
  secret,
  signHs256,
  toForged,
  toMisshapen,
  toPart,
  toPublicTexts,
} from "./vectors.ts";

const tokens = await openTokens();
const refusalOfClaims = (claims: unknown, more?: Partial<ClientTokenOptions>) =>
  refusalOf(async () => (await openTokens(more)).verify(signHs256(hs256, claims)));

describe("a token with a secret", () => {
  test("says who its bearer is, and until when, at once", () => {
    expect(tokens.verify(signHs256(hs256, { ...good, compid: "inbox" }))).toEqual({
      userid: "7",
      compid: "inbox",
      expiresAt: now() + 600_000,
    });
  });

  test("has no component unless it names one", () => {
    expect(tokens.verify(signHs256(hs256, good))).toEqual({ userid: "7", expiresAt: now() + 600_000 });
  });

  test("may have other claims and other members of its header", () => {
    const header = { ...hs256, typ: "at+jwt", kid: "any", jku: "https://evil.example/", b64: false };

    expect(tokens.verify(signHs256(header, { ...good, iat: at, jti: 7, roles: [] }))).toMatchObject({
      userid: "7",
    });
  });

  test("may end within a second", () => {
    expect(tokens.verify(signHs256(hs256, { ...good, exp: at + 0.5 }))).toMatchObject({
      expiresAt: now() + 500,
    });
  });

  test("is good for an issuer and an audience that are those of the settings", async () => {
    const strict = await openTokens(parties);
    const claims = { ...good, iss: "https://issuer.example" };

    for (const aud of ["push", ["other", "push"]])
      expect(strict.verify(signHs256(hs256, { ...claims, aud }))).toMatchObject({ userid: "7" });
  });

  test("counts with the last of two members of the same name, as JSON.parse does for everybody", () => {
    expect(
      tokens.verify(signHs256('{"alg":"none","alg":"HS256"}', `{"sub":"1","sub":"7","exp":${at + 1}}`)),
    ).toMatchObject({ userid: "7" });
  });

  test("is verified as RFC 7515 has it", async () => {
    const then = await openTokens({ secrets: [rfcHs256.key], now: () => joeExpiresAt - 1000, issuer: "joe" });

    expect(await refusalOf(() => then.verify(rfcHs256.token))).toBe(
      "unauthorized: token has no sub, expected the userid",
    );
  });
});

describe("the claims of a token are refused, and it is said why:", () => {
  for (const [what, [more, detail]] of Object.entries(refusedClaims))
    test(what, async () => {
      expect(await refusalOfClaims({ ...good, ...more })).toBe(`unauthorized: ${detail}`);
    });

  for (const [what, [more, detail]] of Object.entries(refusedParties))
    test(`${what}, where it is set`, async () => {
      expect(
        await refusalOfClaims({ ...good, iss: parties.issuer, aud: parties.audience, ...more }, parties),
      ).toBe(`unauthorized: ${detail}`);
    });

  for (const [what, [payload, detail]] of Object.entries(refusedPayloads))
    test(`a payload that is ${what}`, async () => {
      expect(await refusalOfClaims(payload)).toBe(`unauthorized: ${detail}`);
    });

  test("but not what the leeway covers", () => {
    for (const more of [{ exp: at + 1 }, { exp: at + 86_430 }, { nbf: at + 30 }])
      expect(tokens.verify(signHs256(hs256, { ...good, ...more }))).toMatchObject({ userid: "7" });
  });
});

describe("a token is refused", () => {
  const token = signHs256(hs256, good);

  test("when it is too long, before anything of it is read", async () => {
    const long = `${token}${"A".repeat(maxTokenBytes - token.length)}`;

    expect(await refusalOf(() => tokens.verify(long))).toBe("unauthorized: token has a wrong signature");
    for (const longer of [`${long}A`, "\0".repeat(maxTokenBytes + 1), ".".repeat(100_000_000)])
      expect(await refusalOf(() => tokens.verify(longer))).toBe(
        "unauthorized: token is longer than 8192 bytes, which is the limit",
      );
  });

  for (const [what, misshapen] of Object.entries(toMisshapen(token)))
    test(`that has the shape of ${what}`, async () => {
      expect(await refusalOf(() => tokens.verify(misshapen))).toBe(
        "unauthorized: token is malformed, expected three parts of base64url with dots between them",
      );
    });

  for (const [what, [header, detail]] of Object.entries(refusedHeaders))
    test(`with a header ${what}`, async () => {
      expect(await refusalOf(() => tokens.verify(signHs256(header, good)))).toBe(`unauthorized: ${detail}`);
    });

  for (const alg of [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    "",
    "hs256",
    "HS256 ",
    "HS384",
    "RS256",
    "dir",
    "\x1b",
  ])
    test(`with the algorithm ${JSON.stringify(alg)}, signed or not`, async () => {
      const signed = signHs256({ alg }, good);
      const unsigned = signed.slice(0, signed.lastIndexOf(".") + 1);

      for (const written of [signed, unsigned])
        expect(await refusalOf(() => tokens.verify(written))).toBe(
          `unauthorized: token is signed with ${alg === "\x1b" ? '"\\u001b"' : JSON.stringify(alg)}, expected HS256`,
        );
    });

  for (const [what, forged] of Object.entries(toForged(token)))
    test(`with ${what} for a signature`, async () => {
      expect(await refusalOf(() => tokens.verify(forged))).toBe("unauthorized: token has a wrong signature");
    });

  test("when any letter of it is another", () => {
    const changed = fc.tuple(fc.nat(token.length - 1), fc.constantFrom(..."AQgw-_.z9=+ "));
    fc.assert(
      fc.asyncProperty(changed, async ([index, letter]) => {
        fc.pre(token[index] !== letter);
        const forged = token.slice(0, index) + letter + token.slice(index + 1);

        expect(await refusalOf(() => tokens.verify(forged))).toStartWith("unauthorized: ");
      }),
      { numRuns: 2000 },
    );
  });

  test("whatever text it is", () => {
    const text = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: fc.constantFrom(..."eyJA.-_=") }));
    fc.assert(
      fc.asyncProperty(text, async (any) =>
        expect(await refusalOf(() => tokens.verify(any))).toStartWith("unauthorized: "),
      ),
      { numRuns: 2000 },
    );
  });
});

describe("a token with a public key", () => {
  const keys = publicKeyAlgorithms.map((alg) => makeKey(alg));
  const jwks = keys.map(({ jwk }) => jwk);

  for (const { alg, sign } of keys) {
    test(`of ${alg} says who its bearer is, later`, async () => {
      const verified = (await openTokensOfKeys(jwks)).verify(sign({}, good));

      expect(verified).toBeInstanceOf(Promise);
      expect(await verified).toEqual({ userid: "7", expiresAt: now() + 600_000 });
    });

    test(`of ${alg} is refused with another signature`, async () => {
      const [header, , signature = ""] = sign({}, good).split(".");
      const both = await openTokensOfKeys(jwks);

      for (const forged of [
        `${header}.${toPart({ ...good, sub: "1" })}.${signature}`,
        `${header}.${toPart(good)}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
        `${header}.${toPart(good)}.${signature.slice(0, 40)}`,
        `${header}.${toPart(good)}.`,
        `${header}.${toPart(good)}.${toPart(Buffer.alloc(64).toString("latin1"))}`,
      ])
        expect(await refusalOf(() => both.verify(forged))).toBe("unauthorized: token has a wrong signature");
    });

    test(`of ${alg} is held to the same claims`, async () => {
      const token = sign({}, { ...good, exp: at - 31 });

      expect(await refusalOf(async () => (await openTokensOfKeys(jwks)).verify(token))).toBe(
        "unauthorized: token expired 31 s ago",
      );
    });
  }

  test("is verified as RFC 7515 has it", async () => {
    const then = await openTokensOfKeys([rfcEs256.jwk], { now: () => joeExpiresAt - 1000 });

    expect(await refusalOf(() => then.verify(rfcEs256.token))).toBe(
      "unauthorized: token has no sub, expected the userid",
    );
  });

  test("is verified as RFC 8037 has it", async () => {
    const then = await openTokensOfKeys([rfcEdDsa.jwk]);

    expect(await refusalOf(() => then.verify(rfcEdDsa.token))).toBe(
      "unauthorized: claims of the token are malformed, expected a JSON object in UTF-8",
    );
  });

  test("and one with a secret are good side by side, each with its own algorithm", async () => {
    const both = await openTokensOfKeys(jwks, { secrets: [secret] });

    expect(both.verify(signHs256(hs256, good))).toMatchObject({ userid: "7" });
    expect(await both.verify(keys[2]?.sign({}, good) ?? "")).toMatchObject({ userid: "7" });
  });

  test("is refused when it is signed with what is public", async () => {
    const [key = makeKey("RS256")] = keys;
    const [alone, both] = [await openTokensOfKeys(jwks), await openTokensOfKeys(jwks, { secrets: [secret] })];

    for (const text of toPublicTexts(key)) {
      const token = signHs256({ ...hs256, kid: key.jwk.kid }, good, text);
      expect(await refusalOf(() => alone.verify(token))).toBe(
        'unauthorized: token is signed with "HS256", expected RS256, PS256, ES256, ES384, EdDSA',
      );
      expect(await refusalOf(() => both.verify(token))).toBe("unauthorized: token has a wrong signature");
      const disguised = signHs256({ alg: "RS256", kid: key.jwk.kid }, good, text);
      expect(await refusalOf(() => both.verify(disguised))).toBe("unauthorized: token has a wrong signature");
    }
  });

  test("is refused when its algorithm is not that of its key", async () => {
    const tokensOfKeys = await openTokensOfKeys(jwks);

    for (const { alg, sign } of keys)
      for (const { alg: other, jwk } of keys) {
        const refusal = await refusalOf(() => tokensOfKeys.verify(sign({ alg: other, kid: alg }, good)));
        // An RSA key that says no algorithm is good for two, but what one signed is not what the other verifies.
        const isRsa = jwk.kty === "RSA" && alg.endsWith("S256") && !alg.startsWith("E");
        if (alg !== other)
          expect(refusal).toBe(
            `unauthorized: ${isRsa ? "token has a wrong signature" : "token is signed with a key that is not known here"}`,
          );
      }
  });

  test("is refused when it brings its own key", async () => {
    const { jwk, sign } = makeKey("ES256");
    const token = sign({ jwk, jku: "http://127.0.0.1:1/", x5u: "http://127.0.0.1:1/", x5c: [] }, good);

    expect(await refusalOf(async () => (await openTokensOfKeys(jwks)).verify(token))).toBe(
      "unauthorized: token has a wrong signature",
    );
  });

  test("is refused where there is only a secret", async () => {
    expect(await refusalOf(() => tokens.verify(keys[0]?.sign({}, good) ?? ""))).toBe(
      'unauthorized: token is signed with "RS256", expected HS256',
    );
  });
});

describe("a token that is minted", () => {
  test("is what a verification with the same secret takes, for all ids", async () => {
    const id = fc
      .string({ unit: "grapheme", minLength: 1 })
      .filter((text) => Buffer.byteLength(text) <= 128 && !/[\p{Cc}\ufffd]/u.test(text));
    const mintage = fc.record(
      { userid: id, compid: id, lifetimeMs: fc.integer({ min: 1000, max: day }) },
      { requiredKeys: ["userid", "lifetimeMs"] },
    );
    const strict = await openTokens({ ...parties, leewayMs: 0 });

    await fc.assert(
      fc.asyncProperty(mintage, async ({ lifetimeMs, ...ids }) => {
        for (const each of [tokens, strict]) {
          const { expiresAt, ...given } = await each.verify(await each.mint({ ...ids, lifetimeMs }));

          expect(given).toEqual(ids);
          expect(expiresAt).toBeGreaterThan(now() + lifetimeMs - 1000);
          expect(expiresAt).toBeLessThanOrEqual(now() + lifetimeMs);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("says when it was made, when it ends, for whom and by whom", async () => {
    const strict = await openTokens(parties);

    const [header, claims] = (await strict.mint({ userid: "7", compid: "inbox", lifetimeMs: 60_000 }))
      .split(".", 2)
      .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()));

    expect(header).toEqual({ alg: "HS256", typ: "JWT" });
    expect(claims).toEqual({
      sub: "7",
      compid: "inbox",
      iat: at,
      exp: at + 60,
      iss: "https://issuer.example",
      aud: "push",
    });
  });

  for (const lifetimeMs of [day + 1, 999, 0, -1, Number.NaN, Infinity])
    test(`may not live for ${lifetimeMs} ms`, async () => {
      expect(await refusalOf(() => tokens.mint({ userid: "7", lifetimeMs }))).toBe(
        `invalid_parameter: lifetime is ${lifetimeMs} ms, expected 1000 to 86400000 ms`,
      );
    });

  for (const [id, detail] of [
    ["", "is empty, expected at least 1 byte"],
    ["\n", "has a control character, expected none"],
    ["\udc00", "has half of a surrogate pair, expected none"],
    ["x".repeat(129), "is 129 bytes, the limit is 128"],
  ] as const)
    test(`may not be for an id that ${detail}`, async () => {
      const [asUserid, asCompid] = [{ userid: id }, { userid: "7", compid: id }];

      expect(await refusalOf(() => tokens.mint({ ...asUserid, lifetimeMs: 1000 }))).toBe(
        `invalid_parameter: userid ${detail}`,
      );
      expect(await refusalOf(() => tokens.mint({ ...asCompid, lifetimeMs: 1000 }))).toBe(
        `invalid_parameter: compid ${detail}`,
      );
    });

  test("needs a secret", async () => {
    const tokensOfKeys = await openTokensOfKeys([rfcEs256.jwk]);

    await expect(tokensOfKeys.mint({ userid: "7", lifetimeMs: 1000 })).rejects.toThrow(
      "tokens cannot be minted without a secret",
    );
  });
});
