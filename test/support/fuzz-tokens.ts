/**
 * Tokens at random: right ones, and what somebody makes of one who would like to be somebody else. Each is a recipe, which is what is
 * printed of one that shows a defect: the keys are new in every process.
 */
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { deriveSecret } from "../../src/auth/client.ts";
import { makeKey, toPart } from "../auth/vectors.ts";
import { apiKey } from "./tokens.ts";

/** The issuer's keys, whose public halves the server has. */
export const issuerKeys = (["ES256", "RS256", "EdDSA"] as const).map((alg) => makeKey(alg));
/** A key of the same name that the server does not have. */
const foreignAlg = "ES256";
const foreignKey = makeKey(foreignAlg);

const secret = Buffer.from(deriveSecret(apiKey));

/** What it is signed with: only the first of these are any good, and only where the header says the same. */
const signers = [
  "secret",
  "ES256",
  "RS256",
  "EdDSA",
  "foreign key",
  "another secret",
  "public key",
  "nothing",
] as const;

export interface TokenRecipe {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: unknown;
  /** When it expires, in seconds from now; without it, what the claims say. */
  readonly lifetime: number | null;
  readonly signer: (typeof signers)[number];
  /** What is done to it at the end. */
  readonly damage: Damage;
}

type Damage =
  | { readonly kind: "none" }
  | { readonly kind: "edit"; readonly at: number; readonly remove: number; readonly insert: string }
  | { readonly kind: "parts"; readonly order: readonly number[] }
  | { readonly kind: "append"; readonly text: string };

const anything = fc.jsonValue({ maxDepth: 2 });
const mostly = (...examples: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...examples) }, { weight: 1, arbitrary: anything });

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ kind: "none" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("edit" as const),
      at: fc.nat(1000),
      remove: fc.nat(4),
      insert: fc.oneof(
        fc.constantFrom("", "=", ".", "A", "-", "+", "/", "%", " ", ",", "\xe9", "x".repeat(9000)),
        fc.string({ maxLength: 3 }).map((text) => text.replaceAll(/[^ -~]/g, "")),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("parts" as const),
      order: fc.array(fc.nat(2), { maxLength: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      text: fc.constantFrom("=", "==", "A", ".", ".A", " ", "%00", "&userid=2", ", push.v1"),
    }),
  },
);

/** Some of these members, each with a value that it may have, or with any. */
const oddities = (
  values: Readonly<Record<string, readonly unknown[]>>,
): fc.Arbitrary<Record<string, unknown>> =>
  fc
    .array(
      fc
        .constantFrom(...Object.keys(values))
        .chain((name) => fc.tuple(fc.constant(name), mostly(...(values[name] ?? [])))),
      { maxLength: 2 },
    )
    .map((members) => Object.fromEntries(members));

/** What the header says where it says what its signer would; who has no key here says what the server would like to read. */
const usualAlg = (signer: TokenRecipe["signer"]): string => {
  if (signer === "foreign key") return foreignAlg;
  if (signer === "nothing") return "none";
  return signer === "secret" || signer === "another secret" || signer === "public key" ? "HS256" : signer;
};

export const tokenRecipe: fc.Arbitrary<TokenRecipe> = fc
  .record({
    signer: fc.constantFrom(...signers, "secret", "ES256"),
    // Often nothing but what goes with the signature, or nobody would ever be let in.
    alg: fc.option(mostly("HS256", "ES256", "RS256", "EdDSA", "none", "None", "HS512", "hs256", "", null), {
      freq: 2,
    }),
    header: oddities({
      kid: ["ES256", "RS256", "EdDSA", "x", "../../dev/null", ""],
      crit: [["exp"], []],
      typ: ["JWT", "at+jwt"],
      b64: [false],
      zip: ["DEF"],
      jwk: [foreignKey.jwk],
      jku: ["http://127.0.0.1:1/keys"],
      x5u: ["http://127.0.0.1:1/keys"],
    }),
    claims: fc.oneof(
      {
        weight: 9,
        arbitrary: fc
          .tuple(
            fc.constantFrom("1", "2", "witness"),
            oddities({
              sub: ["", "x".repeat(129), "\ud800", "\0"],
              compid: ["inbox", ""],
              nbf: [0, 1e12, -1, "0"],
              iat: [0, 1e12],
              iss: ["issuer", ""],
              aud: ["audience", ["audience"], []],
              exp: [0, 1e12, 1e308, -1, "9999999999", null],
            }),
          )
          .map(([sub, more]) => Object.assign({ sub }, more)),
      },
      { weight: 1, arbitrary: anything },
    ),
    lifetime: fc.option(fc.constantFrom(600, 600, 600, 0, -1, 3, 86_400 * 364, 86_400 * 400), { freq: 6 }),
    damage,
  })
  .map(({ alg, ...recipe }) => {
    const header = Object.assign({ alg: alg ?? usualAlg(recipe.signer) }, recipe.header);
    return Object.assign(recipe, { header });
  });

export interface FuzzedToken {
  readonly text: string;
  /** The token before anything was done to it, where somebody may be let in with that: signed by whom the server trusts, for somebody. */
  readonly good: string | undefined;
}

/** Makes the token of a recipe. */
export function toToken({ header, claims, lifetime, signer, damage: done }: TokenRecipe): FuzzedToken {
  const exp = lifetime === null ? {} : { exp: Math.floor(Date.now() / 1000) + lifetime };
  const isObject = typeof claims === "object" && claims !== null && !Array.isArray(claims);
  const all = isObject ? { ...claims, ...exp } : claims;
  const signed = sign(header, all, signer);
  const isTrusted =
    header["alg"] === (signer === "secret" ? "HS256" : issuerKeys.find(({ alg }) => alg === signer)?.alg);
  const isGood = isTrusted && isObject && areGood(all as Readonly<Record<string, unknown>>);
  return { text: toDamaged(signed, done), good: isGood ? signed : undefined };
}

/** What the server must ask of the claims at the least. */
function areGood({ sub, exp, aud }: Readonly<Record<string, unknown>>): boolean {
  return (
    typeof sub === "string" &&
    sub !== "" &&
    typeof exp === "number" &&
    exp * 1000 > Date.now() &&
    aud === undefined
  );
}

function sign(
  header: Readonly<Record<string, unknown>>,
  claims: unknown,
  signer: TokenRecipe["signer"],
): string {
  const parts = `${toPart(JSON.stringify(header))}.${toPart(JSON.stringify(claims))}`;
  const mac = (key: Uint8Array) => `${parts}.${createHmac("sha256", key).update(parts).digest("base64url")}`;
  switch (signer) {
    case "secret":
      return mac(secret);
    case "another secret":
      return mac(Buffer.from("x".repeat(32)));
    // Whoever takes a public key for a secret lets in everybody who has it.
    case "public key":
      return mac(Buffer.from(issuerKeys[1]?.publicKey.export({ format: "pem", type: "spki" }) ?? ""));
    case "nothing":
      return `${parts}.`;
    case "foreign key":
      return foreignKey.sign(header, claims as object);
  }
  return issuerKeys.find(({ alg }) => alg === signer)?.sign(header, claims as object) ?? "";
}

function toDamaged(token: string, done: Damage): string {
  switch (done.kind) {
    case "none":
      return token;
    case "edit": {
      const at = done.at % (token.length + 1);
      return token.slice(0, at) + done.insert + token.slice(at + done.remove);
    }
    case "parts": {
      const parts = token.split(".");
      return done.order.map((index) => parts[index]).join(".");
    }
    case "append":
      return token + done.text;
  }
}
