/**
 * What the verification of tokens is tried with: examples of the RFCs, tokens of any content with a right signature, and every
 * way that we know of to write a token wrongly, with the sentence that it is refused with.
 */
import { createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import type { JWK } from "jose";
import { type ClientTokenOptions, openClientTokens } from "../../src/auth/client.ts";
import type { PublicKeyAlgorithm } from "../../src/auth/jwks.ts";
import { PushError } from "../../src/errors.ts";
import { Clock } from "../contracts/clock.ts";
import { makeFolder } from "../support/folder.ts";

export const secret = Buffer.from("a secret of 32 bytes for testing");

/** Milliseconds since 1970, on a clock that stands still. */
export const { now } = new Clock();

/** The longest life of a token, in milliseconds. */
export const day = 86_400_000;

/** Opens with the secret, and with half a minute of leeway. */
export function openTokens(more: Partial<ClientTokenOptions> = {}) {
  const logger = { warn: () => {} };
  return openClientTokens({ secrets: [secret], leewayMs: 30_000, maxLifetimeMs: day, now, logger, ...more });
}

/** Opens with these public keys, in a file, and no secret unless one is given. */
export async function openTokensOfKeys(keys: readonly object[], more: Partial<ClientTokenOptions> = {}) {
  await using folder = await makeFolder({ "keys.json": JSON.stringify({ keys }) });
  // The folder is gone with this function.
  return await openTokens({ secrets: [], jwks: folder.file("keys.json"), ...more });
}

/** A text or bytes as they are, anything else as JSON. */
export function toPart(content: unknown): string {
  if (content instanceof Uint8Array) return Buffer.from(content).toString("base64url");
  return Buffer.from(typeof content === "string" ? content : JSON.stringify(content)).toString("base64url");
}

/** A token of any header and payload, with the signature that HS256 has for it. */
export function signHs256(header: unknown, payload: unknown, key: Uint8Array = secret): string {
  return signParts(`${toPart(header)}.${toPart(payload)}`, key);
}

/** A token whose first two parts are as they are given, with the signature that HS256 has for them. */
export function signParts(parts: string, key: Uint8Array = secret): string {
  return `${parts}.${createHmac("sha256", key).update(parts).digest("base64url")}`;
}

/** Now, as claims have it: in seconds since 1970. */
export const at = now() / 1000;

export const hs256 = { alg: "HS256" };

/** Claims that are right. */
export const good = { sub: "7", exp: at + 600 };

/** The code and the sentence that this is refused with. */
export async function refusalOf(attempt: () => unknown, otherwise = "nothing was refused"): Promise<string> {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof PushError) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return otherwise;
}

export interface TestKey {
  readonly alg: PublicKeyAlgorithm;
  readonly publicKey: KeyObject;
  /** The public key as it stands in a key set. Its `kid` is the name of the algorithm. */
  readonly jwk: JWK;
  sign(header: object, claims: object): string;
}

/** A new key for this algorithm. It signs with node:crypto, so that what verifies is not what signed. */
export function makeKey(alg: PublicKeyAlgorithm, kid: string = alg): TestKey {
  const { publicKey, privateKey } = generate(alg);
  return {
    alg,
    publicKey,
    jwk: { ...publicKey.export({ format: "jwk" }), kid },
    sign(header, claims) {
      const signed = `${toPart({ alg, kid, ...header })}.${toPart(claims)}`;
      // RFC 7518: PSS with a salt as long as the hash, its number in node:crypto being 6; ECDSA with r and s side by side.
      const options = {
        key: privateKey,
        ...(alg.startsWith("ES") && { dsaEncoding: "ieee-p1363" as const }),
        ...(alg === "PS256" && { padding: 6, saltLength: 32 }),
      };
      const hash = alg === "EdDSA" ? null : `sha${alg.slice(-3)}`;
      return `${signed}.${signBytes(hash, Buffer.from(signed), options).toString("base64url")}`;
    },
  };
}

function generate(alg: PublicKeyAlgorithm): {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
} {
  if (alg === "EdDSA") return generateKeyPairSync("ed25519");
  if (alg === "ES256") return generateKeyPairSync("ec", { namedCurve: "P-256" });
  if (alg === "ES384") return generateKeyPairSync("ec", { namedCurve: "P-384" });
  return generateKeyPairSync("rsa", { modulusLength: 2048 });
}

const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/** When the tokens of RFC 7515 expire, in milliseconds since 1970. They have the issuer "joe", and no sub. */
export const joeExpiresAt = 1_300_819_380_000;

/** RFC 7515, A.1 */
export const rfcHs256 = {
  key: Buffer.from(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "base64url",
  ),
  token: `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${joe}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
};

/** RFC 7515, A.3 */
export const rfcEs256 = {
  jwk: {
    kty: "EC",
    crv: "P-256",
    x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
  },
  token: `eyJhbGciOiJFUzI1NiJ9.${joe}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`,
};

/** RFC 8037, A.4: its payload is a sentence, not claims. */
export const rfcEdDsa = {
  jwk: { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
  token:
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
};

/** What is not three parts of base64url, although much of it has a right signature. */
export function toMisshapen(token: string): Readonly<Record<string, string>> {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return {
    nothing: "",
    "dots alone": "..",
    "one part": header,
    "two parts": `${header}.${payload}`,
    "two parts and a dot before": `.${payload}.${signature}`,
    "no payload": `${header}..${signature}`,
    "a right signature of no payload": signParts(`${header}.`),
    "a right signature of no header": signParts(`.${payload}`),
    "a dot at the end": `${token}.`,
    "a dot at the start": `.${token}`,
    "a fourth part": `${token}.${signature}`,
    "the five parts of an encrypted token": `${header}.${payload}.${payload}.${payload}.${signature}`,
    "four dots and no key, as an encrypted token has with dir": `${header}..${payload}.${payload}.${signature}`,
    "a space before": ` ${token}`,
    "a space after": `${token} `,
    "a line break after": `${token}\n`,
    "a line break within, rightly signed": signParts(`${header}.${payload.slice(0, 8)}\n${payload.slice(8)}`),
    "a space within the signature": `${header}.${payload}.${signature.slice(0, 8)} ${signature.slice(8)}`,
    "a NUL after": `${token}\0`,
    "padding after the signature": `${token}=`,
    "padding after the header, rightly signed": signParts(`${header}==.${payload}`),
    "padding that is percent-encoded": `${token}%3D`,
    "the other base64, rightly signed": signParts(`++//${header}.${payload}`),
    "a plus sign in the signature": `${header}.${payload}.+${signature.slice(1)}`,
    "a slash in the signature": `${header}.${payload}./${signature.slice(1)}`,
    "a letter too many": `${header}.${payload}.${signature}AA`,
    "bits after the last byte of the signature": `${token.slice(0, -1)}${nextLetter(token.slice(-1))}`,
    "bits after the last byte of the header, rightly signed": signParts(
      `${toPart('{"alg":"HS256"} ').slice(0, -1)}B.${payload}`,
    ),
    "a letter that looks like another": `${header}.${payload}.${signature.slice(1)}\u0430`,
    "letters that are folded to ASCII": `${header}.${payload}.${signature.slice(1)}\u017f`,
    "JSON serialization": JSON.stringify({ payload, signatures: [{ protected: header, signature }] }),
    "the scheme before it": `Bearer ${token}`,
  };
}

/** Tokens of the right shape for this one, but with a wrong signature. */
export function toForged(token: string): Readonly<Record<string, string>> {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return {
    "no signature": `${header}.${payload}.`,
    "half of it": `${header}.${payload}.${signature.slice(0, 20)}`,
    "another first letter": `${header}.${payload}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
    "more after it": `${token}A`,
    "that of other claims": `${header}.${toPart({ ...good, sub: "1" })}.${signature}`,
    "that of another header": `${toPart({ ...hs256, kid: "" })}.${payload}.${signature}`,
    "that of another secret": signHs256(hs256, good, Buffer.alloc(32)),
    "that of an empty secret": signHs256(hs256, good, Buffer.alloc(0)),
    "itself in hexadecimal": `${header}.${payload}.${Buffer.from(signature, "base64url").toString("hex")}`,
    "a longer hash": `${header}.${payload}.${createHmac("sha512", secret).update(`${header}.${payload}`).digest("base64url")}`,
  };
}

/** What an attacker may know of a public key, as a key for HS256. */
export function toPublicTexts({ publicKey, jwk }: TestKey): Buffer[] {
  return [
    publicKey.export({ type: "spki", format: "pem" }),
    publicKey.export({ type: "pkcs1", format: "pem" }),
    publicKey.export({ type: "spki", format: "der" }),
    JSON.stringify(jwk),
    JSON.stringify({ keys: [jwk] }),
    Buffer.from(jwk.n ?? "", "base64url"),
    "",
  ].flatMap((text) => [Buffer.from(text), Buffer.from(text.toString().trim())]);
}

/** The letter of base64url whose value is one more. */
function nextLetter(letter: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return letters[letters.indexOf(letter) + 1] ?? "A";
}

const name = (what: string) => `claim ${what} of the token`;

/** Claims that a token is refused for, and how that is said; the others are right. */
export const refusedClaims: Readonly<Record<string, readonly [claims: object, detail: string]>> = {
  "no exp": [{ exp: undefined }, "token has no exp, expected when it expires"],
  "exp in the past": [{ exp: at - 31 }, "token expired 31 s ago"],
  "exp at the very end of the leeway": [{ exp: at - 30 }, "token expired 30 s ago"],
  "exp in 1970": [{ exp: 0 }, "token expired 1700000000 s ago"],
  "exp in milliseconds": [{ exp: 1.8e12 }, "token expires in 1798300000000 s, the limit is 86400 s"],
  "exp a second too far away": [{ exp: at + 86_431 }, "token expires in 86431 s, the limit is 86400 s"],
  "exp that is a text": [{ exp: `${at + 600}` }, `${name("exp")} is malformed, expected seconds since 1970`],
  "exp that is null": [{ exp: null }, `${name("exp")} is malformed, expected seconds since 1970`],
  "exp below 0": [{ exp: -1 }, `${name("exp")} is malformed, expected seconds since 1970`],
  "nbf in the future": [{ nbf: at + 31 }, "token is not valid yet, but in 31 s"],
  "nbf that is a text": [{ nbf: "0" }, `${name("nbf")} is malformed, expected seconds since 1970`],
  "iat that is a text": [{ iat: "0" }, `${name("iat")} is malformed, expected seconds since 1970`],
  "no sub": [{ sub: undefined }, "token has no sub, expected the userid"],
  "sub that is a number": [{ sub: 7 }, `${name("sub")} is malformed, expected a string`],
  "sub that is a list": [{ sub: ["7"] }, `${name("sub")} is malformed, expected a string`],
  "sub that is null": [{ sub: null }, `${name("sub")} is malformed, expected a string`],
  "sub of nothing": [{ sub: "" }, `${name("sub")} is empty, expected at least 1 byte`],
  "sub of 129 bytes": [{ sub: "x".repeat(129) }, `${name("sub")} is 129 bytes, the limit is 128`],
  "sub of 130 bytes in UTF-8": [{ sub: "é".repeat(65) }, `${name("sub")} is 130 bytes, the limit is 128`],
  "sub with a line break": [{ sub: "a\nb" }, `${name("sub")} has a control character, expected none`],
  "sub with a C1": [{ sub: "a\x9bb" }, `${name("sub")} has a control character, expected none`],
  "sub with U+FFFD": [
    { sub: "\ufffd" },
    `${name("sub")} has bytes that are not UTF-8, or U+FFFD, expected none`,
  ],
  "sub with half a pair": [{ sub: "\ud83d" }, `${name("sub")} has half of a surrogate pair, expected none`],
  "compid that is a number": [{ compid: 7 }, `${name("compid")} is malformed, expected a string`],
  "compid of nothing": [{ compid: "" }, `${name("compid")} is empty, expected at least 1 byte`],
  "compid of 129 bytes": [{ compid: "x".repeat(129) }, `${name("compid")} is 129 bytes, the limit is 128`],
  "iss that is a list": [{ iss: ["joe"] }, `${name("iss")} is malformed, expected a string`],
  "aud where none is set": [{ aud: "push" }, "token is for an audience, expected none as none is set here"],
  "aud that is an object": [{ aud: {} }, `${name("aud")} is malformed, expected a string or several`],
  "aud of which one is a number": [
    { aud: ["a", 1] },
    `${name("aud")} is malformed, expected a string or several`,
  ],
};

/** Whom and whose tokens have to be for these. */
export const parties = { issuer: "https://issuer.example", audience: "push" };

export const refusedParties: Readonly<Record<string, readonly [claims: object, detail: string]>> = {
  "no iss": [{ iss: undefined }, 'token has no iss, expected "https://issuer.example"'],
  "another iss": [
    { iss: "\x1b[31m" },
    'token has the issuer "\\u001b[31m", expected "https://issuer.example"',
  ],
  "iss with a slash more": [
    { iss: "https://issuer.example/" },
    'token has the issuer "https://issuer.example/", expected "https://issuer.example"',
  ],
  "no aud": [{ aud: undefined }, 'token has no aud, expected "push"'],
  "another aud": [{ aud: "pushing" }, 'token is for another audience, expected "push"'],
  "others in aud": [{ aud: ["a", "pus", "PUSH"] }, 'token is for another audience, expected "push"'],
  "nobody in aud": [{ aud: [] }, 'token is for another audience, expected "push"'],
  "aud that is an object with the name": [
    { aud: { push: true } },
    `${name("aud")} is malformed, expected a string or several`,
  ],
};

const noObject = "claims of the token are malformed, expected a JSON object in UTF-8";

/** Payloads that a token is refused for, and how that is said. */
export const refusedPayloads: Readonly<Record<string, readonly [payload: string | Buffer, detail: string]>> =
  {
    ...Object.fromEntries(
      ["7", "null", '"7"', "[]", "[{}]", "{", "{}{}", '{"sub":"7",}', '\ufeff{"sub":"7"}', "\0"].map(
        (payload) => [JSON.stringify(payload), [payload, noObject] as const],
      ),
    ),
    "not UTF-8": [Buffer.from('{"sub":"\xff"}', "latin1"), noObject],
    "good for a prototype": [
      `{"__proto__":{"sub":"7"},"exp":${at + 600}}`,
      "token has no sub, expected the userid",
    ],
    "later than all numbers": [
      '{"sub":"7","exp":1e999}',
      "claim exp of the token is malformed, expected seconds since 1970",
    ],
  };

/** Headers that a token with a right signature is refused for, and how that is said. */
export const refusedHeaders: Readonly<Record<string, readonly [header: unknown, detail: string]>> = {
  "that is no JSON": ["alg", "header of the token is malformed, expected a JSON object in UTF-8"],
  "that is a list": [[hs256], "header of the token is malformed, expected a JSON object in UTF-8"],
  "without alg": [{ typ: "JWT" }, "header of the token has no alg, expected a string"],
  "with an alg that is a list": [{ alg: ["HS256"] }, "header of the token has no alg, expected a string"],
  "with a kid that is a path in a list": [
    { alg: "HS256", kid: ["/dev/null"] },
    "kid in the header of the token is malformed, expected a string",
  ],
  "with a crit": [
    { ...hs256, crit: ["exp"], exp: 0 },
    "header of the token has crit, expected no extensions",
  ],
  "with a crit that jose knows": [
    { ...hs256, crit: ["b64"], b64: true },
    "header of the token has crit, expected no extensions",
  ],
  "with a crit of nothing": [{ ...hs256, crit: [] }, "header of the token has crit, expected no extensions"],
  "with a crit that is null": [
    { ...hs256, crit: null },
    "header of the token has crit, expected no extensions",
  ],
};
