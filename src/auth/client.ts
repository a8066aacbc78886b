/**
 * What a client shows to be a user: a JSON Web Token (RFC 7519), signed with our own secret or by an issuer whose public keys we know.
 *
 *   header   alg         HS256 with the secret; RS256, PS256, ES256, ES384 or EdDSA with a public key; nothing else, `none` least of all
 *   claims   sub         the userid
 *            compid      the component, where the token is good for one only
 *            push        what its bearer may push to, where clients may at all: components, and * for all of its own user
 *            exp         when it ends; required, and not too far away, as a token cannot be called back
 *            nbf         from when on it is good, if it is there
 *            iss, aud    as the settings say; a token for an audience is refused where no audience is set
 *
 * A secret verifies HS256 and a public key never does, so that nobody can sign with what is public. Keys in the header of a token are
 * not looked at. What is said of a token that is refused is never a part of it, but for the names of its algorithm and its issuer.
 *
 * HS256 is verified here and without a promise: 3 µs, where jose's way over WebCrypto takes 20 to 28 µs, as much as all the rest of a
 * handshake. The work is one HMAC; jose is left what is harder: public keys, and minting.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { compactVerify, errors, SignJWT } from "jose";
import { maxIdBytes } from "../address.ts";
import { PushError, quote, Unauthorized } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { checkName } from "../query.ts";
import { type KeyName, type KeySet, openKeySet, parseObject, publicKeyAlgorithms } from "./jwks.ts";

/** The longest token, in bytes. */
export const maxTokenBytes = 8192;

/** The shortest secret, in bytes: that of the hash, below which guessing it would be the easiest attack. (RFC 7518, 3.2) */
export const minSecretBytes = 32;

/** Who a token says that its bearer is. */
export interface Identity {
  readonly userid: string;
  readonly compid?: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly push?: readonly string[];
}

export interface ClientTokenOptions {
  /** What HS256 is verified with: any of them; the first is what tokens are minted with. */
  readonly secrets?: readonly Uint8Array[];
  /** Where the public keys are: an http(s) URL, or the path of a file. */
  readonly jwks?: string | undefined;
  /** How long a fetch of the public keys may take, in milliseconds. */
  readonly jwksTimeoutMs?: number;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  /** By how much the clocks of issuers may differ from ours, in milliseconds. */
  readonly leewayMs: number;
  /** How far away the end of a token may be, in milliseconds. */
  readonly maxLifetimeMs: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly logger: Pick<Logger, "warn">;
}

export interface Mintage {
  readonly userid: string;
  readonly compid?: string | undefined;
  readonly push?: readonly string[] | undefined;
  readonly lifetimeMs: number;
}

export interface ClientTokens {
  /**
   * Who the bearer of this token is: at once with the secret, later with a public key.
   *
   * @throws PushError `unauthorized` with what is wrong with it, or `unavailable` when the keys cannot be fetched; also as a rejection
   */
  verify(token: string): Identity | Promise<Identity>;
  /**
   * A token that `verify` takes, signed with the secret.
   *
   * @throws PushError `invalid_parameter`, as a rejection
   */
  mint(mintage: Mintage): Promise<string>;
  /** From now on these secrets count, and no others. */
  replaceSecrets(secrets: readonly Uint8Array[]): void;
  /** Reads the public keys again. Rejects with an Error when they cannot be used, and then those known so far go on being used. */
  reload(): Promise<void>;
}

/** @throws Error when a setting or the file of keys cannot be used */
export async function openClientTokens(options: ClientTokenOptions): Promise<ClientTokens> {
  const { secrets: given = [], jwks, jwksTimeoutMs, logger, now = Date.now, ...limits } = options;
  if (given.length === 0 && jwks === undefined)
    throw new Error("tokens need a secret or the place of public keys, expected at least one");
  for (const { length } of given)
    if (length < minSecretBytes)
      throw new Error(
        `the secret of tokens is ${length} bytes, expected at least ${minSecretBytes} that cannot be guessed`,
      );
  let secrets = given;
  const keys =
    jwks === undefined
      ? undefined
      : await openKeySet({
          place: jwks,
          logger,
          ...(jwksTimeoutMs !== undefined && { timeoutMs: jwksTimeoutMs }),
        });
  const rules: Rules = { ...limits, now };
  const toAllowed = () => [
    ...(secrets.length === 0 ? [] : ["HS256"]),
    ...(keys === undefined ? [] : publicKeyAlgorithms),
  ];
  return {
    verify(token) {
      const parts = split(token);
      const { alg, kid } = readHeader(parts.header);
      if (alg === "HS256" && secrets.length > 0) {
        checkMac(parts, secrets);
        return toIdentity(decode(parts.payload), rules);
      }
      const algorithm = publicKeyAlgorithms.find((known) => known === alg);
      if (algorithm === undefined || keys === undefined)
        throw refusal(`token is signed with ${quote(alg)}, expected ${toAllowed().join(", ")}`);
      const name = { alg: algorithm, ...(kid !== undefined && { kid }) };
      return checkSignature(token, name, keys).then((payload) => toIdentity(payload, rules));
    },
    mint: (mintage) => mint(mintage, secrets[0], rules),
    replaceSecrets(replacing) {
      secrets = replacing;
    },
    reload: async () => keys?.reload(),
  };
}

/** The secret that every node with this API key verifies and mints with. It does not reveal the key. (HKDF, RFC 5869) */
export function deriveSecret(apiKey: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", apiKey, "", "server-push client tokens, HS256", minSecretBytes));
}

interface Rules {
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  readonly leewayMs: number;
  readonly maxLifetimeMs: number;
  readonly now: () => number;
}

interface Parts {
  readonly header: string;
  readonly payload: string;
  readonly signature: string;
  /** What the signature is of: header, dot, payload. */
  readonly signed: string;
}

type Claims = Readonly<Record<string, unknown>>;

function refusal(detail: string): PushError {
  return new Unauthorized("invalid", detail);
}

/** Base64url in the one way to write it: no padding, and no bits after the last byte. Else one token could be written in many ways. */
const base64url = "(?:[\\w-]{4})*(?:[\\w-][AQgw]|[\\w-]{2}[AEIMQUYcgkosw048])?";
/** The signature may be empty, as it is with `none`, to be refused for that. */
const shape = new RegExp(`^(?=[^.])${base64url}\\.(?=[^.])${base64url}\\.${base64url}$`);

function split(token: string): Parts {
  if (token.length > maxTokenBytes)
    throw refusal(`token is longer than ${maxTokenBytes} bytes, which is the limit`);
  if (!shape.test(token))
    throw refusal("token is malformed, expected three parts of base64url with dots between them");
  const first = token.indexOf(".");
  const last = token.lastIndexOf(".");
  return {
    header: token.slice(0, first),
    payload: token.slice(first + 1, last),
    signature: token.slice(last + 1),
    signed: token.slice(0, last),
  };
}

function decode(part: string): Buffer {
  return Buffer.from(part, "base64url");
}

function readHeader(part: string): { readonly alg: string; readonly kid: string | undefined } {
  const header = parseObject(decode(part));
  if (header === undefined)
    throw refusal("header of the token is malformed, expected a JSON object in UTF-8");
  const { alg, kid, crit } = header;
  // What it names must be understood (RFC 7515, 4.1.11), and there is nothing that we would understand.
  if (crit !== undefined) throw refusal("header of the token has crit, expected no extensions");
  if (typeof alg !== "string") throw refusal("header of the token has no alg, expected a string");
  if (kid !== undefined && typeof kid !== "string")
    throw refusal("kid in the header of the token is malformed, expected a string");
  return { alg, kid };
}

function checkMac({ signed, signature }: Parts, secrets: readonly Uint8Array[]): void {
  const given = Buffer.from(signature, "latin1");
  const isRight = secrets.some((secret) => {
    const expected = Buffer.from(createHmac("sha256", secret).update(signed).digest("base64url"), "latin1");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  if (!isRight) throw refusal("token has a wrong signature");
}

/** The payload of a token that is signed with the key of this name. */
async function checkSignature(token: string, name: KeyName, keys: KeySet): Promise<Uint8Array> {
  const key = await keys.find(name);
  try {
    const { payload } = await compactVerify(token, key, { algorithms: [name.alg] });
    return payload;
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) throw refusal("token has a wrong signature");
    throw error;
  }
}

function toIdentity(payload: Uint8Array, rules: Rules): Identity {
  const claims = parseObject(payload);
  if (claims === undefined)
    throw refusal("claims of the token are malformed, expected a JSON object in UTF-8");
  const expiresAt = checkTimes(claims, rules);
  checkIssuer(claims, rules);
  checkAudience(claims, rules);
  const userid = readId("sub", claims);
  if (userid === undefined) throw refusal("token has no sub, expected the userid");
  const compid = readId("compid", claims);
  const push = readPush(claims);
  return {
    userid,
    ...(compid !== undefined && { compid }),
    expiresAt,
    ...(push !== undefined && { push }),
  };
}

function readPush({ push }: Claims): readonly string[] | undefined {
  if (push === undefined) return undefined;
  const isList = Array.isArray(push) && push.length <= maxPushNames;
  if (isList && push.every((name) => typeof name === "string")) return push;
  throw refusal(`claim push of the token is malformed, expected at most ${maxPushNames} strings`);
}

/** How many components a token can name that its bearer may push to. */
export const maxPushNames = 100;

/** When the token ends, in milliseconds since 1970. */
function checkTimes(claims: Claims, { leewayMs, maxLifetimeMs, now }: Rules): number {
  const at = now();
  const startsAt = readTime("nbf", claims);
  const expiresAt = readTime("exp", claims);
  readTime("iat", claims);
  if (expiresAt === undefined) throw refusal("token has no exp, expected when it expires");
  // With a leeway here, a session would begin only to end at once.
  if (expiresAt <= at) throw refusal(`token expired ${toSeconds(at - expiresAt)} ago`);
  if (expiresAt > at + maxLifetimeMs + leewayMs)
    throw refusal(`token expires in ${toSeconds(expiresAt - at)}, the limit is ${toSeconds(maxLifetimeMs)}`);
  if (startsAt !== undefined && startsAt > at + leewayMs)
    throw refusal(`token is not valid yet, but in ${toSeconds(startsAt - at)}`);
  return expiresAt;
}

function readTime(name: string, claims: Claims): number | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !(value >= 0 && value < Infinity))
    throw refusal(`claim ${name} of the token is malformed, expected seconds since 1970`);
  return Math.floor(value * 1000);
}

function toSeconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}

function checkIssuer({ iss }: Claims, { issuer }: Rules): void {
  if (iss !== undefined && typeof iss !== "string")
    throw refusal("claim iss of the token is malformed, expected a string");
  if (issuer === undefined || iss === issuer) return;
  if (iss === undefined) throw refusal(`token has no iss, expected ${quote(issuer)}`);
  throw refusal(`token has the issuer ${quote(iss)}, expected ${quote(issuer)}`);
}

/** What is meant for somebody else must be refused (RFC 7519, 4.1.3): else whom it was shown to could use it here. */
function checkAudience({ aud }: Claims, { audience }: Rules): void {
  if (aud === undefined && audience === undefined) return;
  if (aud === undefined) throw refusal(`token has no aud, expected ${quote(audience ?? "")}`);
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (!audiences.every((one) => typeof one === "string"))
    throw refusal("claim aud of the token is malformed, expected a string or several");
  if (audience === undefined) throw refusal("token is for an audience, expected none as none is set here");
  if (!audiences.includes(audience))
    throw refusal(`token is for another audience, expected ${quote(audience)}`);
}

function readId(name: string, claims: Claims): string | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw refusal(`claim ${name} of the token is malformed, expected a string`);
  checkId(`claim ${name} of the token`, value, refusal);
  return value;
}

function checkId(what: string, id: string, refuse: (detail: string) => PushError): void {
  if (id === "") throw refuse(`${what} is empty, expected at least 1 byte`);
  if (!id.isWellFormed()) throw refuse(`${what} has half of a surrogate pair, expected none`);
  try {
    checkName(what, id, maxIdBytes);
  } catch (error) {
    throw error instanceof PushError ? refuse(error.detail) : error;
  }
}

function refusalOfParameter(detail: string): PushError {
  return new PushError("invalid_parameter", detail);
}

async function mint(
  { userid, compid, push, lifetimeMs }: Mintage,
  secret: Uint8Array | undefined,
  { issuer, audience, maxLifetimeMs, now }: Rules,
): Promise<string> {
  if (secret === undefined) throw new Error("tokens cannot be minted without a secret");
  checkId("userid", userid, refusalOfParameter);
  if (compid !== undefined) checkId("compid", compid, refusalOfParameter);
  // A claim counts whole seconds: a shorter life could end before it began.
  if (!(lifetimeMs >= 1000 && lifetimeMs <= maxLifetimeMs))
    throw refusalOfParameter(`lifetime is ${lifetimeMs} ms, expected 1000 to ${maxLifetimeMs} ms`);
  const at = now();
  const token = new SignJWT({ ...(compid !== undefined && { compid }), ...(push !== undefined && { push }) })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(userid)
    .setIssuedAt(Math.floor(at / 1000))
    .setExpirationTime(Math.floor((at + lifetimeMs) / 1000));
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return token.sign(secret);
}
