/**
 * The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517), by URL or in a file.
 *
 *   by URL    fetched at open, when it is older than ten minutes, and when a token names a key that is not in it
 *   a file    read at open
 *   either    read again on `reload`
 *
 * Whoever sends a token with an invented `kid` makes us ask the issuer, so there is half a minute between two fetches, or five
 * seconds after one that failed. While the issuer does not answer, the keys known so far go on being used. jose's own remote set
 * would not do here: it knows no pause after a failure, and with its server it loses its keys.
 *
 * What the issuer sends is no more trusted than it has to be: there are bounds on its size and on the time that it takes, it is not
 * followed elsewhere, and of its keys only those are taken that a token may be signed with.
 */
import { createPublicKey } from "node:crypto";
import { type CryptoKey, createLocalJWKSet, errors, type JWK, type LocalJWKSet } from "jose";
import { PushError, quote, Unauthorized } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** What a token that is verified with a public key may be signed with. (RFC 7518, RFC 8037) */
export const publicKeyAlgorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"] as const;

export type PublicKeyAlgorithm = (typeof publicKeyAlgorithms)[number];

/** What of a token's header tells which key it is signed with. */
export interface KeyName {
  readonly alg: PublicKeyAlgorithm;
  readonly kid?: string;
}

/** For how long keys from a URL are used without asking whether they are still valid, in milliseconds. */
export const maxAgeMs = 10 * 60_000;

/** How long after a fetch another is made for the sake of an unknown key, in milliseconds. */
export const cooldownMs = 30_000;

/** How long after a fetch that failed the next is made, in milliseconds. */
export const retryMs = 5000;

export const maxKeySetBytes = 256 * 1024;
export const maxKeys = 100;

const minRsaBits = 2048;

export interface KeySetOptions {
  /** An http(s) URL, or else the path of a file. */
  readonly place: string;
  readonly logger: Pick<Logger, "warn">;
  /** How long a fetch may take, in milliseconds. */
  readonly timeoutMs?: number;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

/**
 * Opens the key set. Of a URL only the syntax has to be right: a server whose issuer is down starts all the same.
 *
 * @throws Error when the URL is none, or the file cannot be used
 */
export async function openKeySet(options: KeySetOptions): Promise<KeySet> {
  const { place, timeoutMs = 5000 } = options;
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(place)) {
    const keySet = new KeySet(options, () => readFile(place), false);
    await keySet.reload();
    return keySet;
  }
  const url = URL.canParse(place) ? new URL(place) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new Error(`the place of the keys is ${quote(place)}, expected an http or https URL, or a path`);
  // It stands in the log, and would be sent to whoever answers.
  if (url.username !== "" || url.password !== "")
    throw new Error("the URL of the keys has a user or a password, expected neither");
  const keySet = new KeySet(options, () => fetchBytes(url, timeoutMs), true);
  void keySet.refresh();
  return keySet;
}

export class KeySet {
  readonly #options: KeySetOptions;
  readonly #read: () => Promise<Uint8Array>;
  readonly #isRemote: boolean;
  readonly #now: () => number;
  #keys: LocalJWKSet | undefined;
  #hasFailed = false;
  /** When the keys are too old, and from when on one may fetch for the sake of an unknown key. */
  #staleAt = -Infinity;
  #restsUntil = -Infinity;
  /** Settles when what is being read is in use, or has failed. */
  #reading: Promise<void> | undefined;

  constructor(options: KeySetOptions, read: () => Promise<Uint8Array>, isRemote: boolean) {
    this.#options = options;
    this.#read = read;
    this.#isRemote = isRemote;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * The key that a token with this header has to be signed with.
   *
   * @throws PushError `unauthorized` when there is none, or `unavailable` when it cannot be known whether there is
   */
  async find(name: KeyName): Promise<CryptoKey> {
    if (this.#keys === undefined) await this.refresh();
    else if (this.#isRemote && this.#now() >= this.#staleAt) {
      const refreshed = this.refresh();
      // A server that failed the last time may take all of its time again: whoever has a key to go on with does not wait.
      if (!this.#hasFailed) await refreshed;
    }
    const known = await this.#choose(name);
    if (known !== undefined) return known;
    await this.refresh();
    const found = await this.#choose(name);
    if (found !== undefined) return found;
    if (this.#hasFailed || this.#keys === undefined)
      throw new PushError("unavailable", "the keys that tokens are verified with cannot be fetched now");
    throw new Unauthorized("invalid", "token is signed with a key that is not known here");
  }

  /** Fetches the keys, unless that was done lately. Resolves in any case: what went wrong is logged. */
  async refresh(): Promise<void> {
    if (this.#reading !== undefined) return this.#reading;
    if (!this.#isRemote || this.#now() < this.#restsUntil) return undefined;
    return this.#start().catch((error: unknown) =>
      this.#options.logger.warn("the keys of tokens cannot be fetched; those known so far go on being used", {
        place: withoutQuery(this.#options.place),
        reason: toReason(error),
        known: this.#keys?.jwks().keys.length ?? 0,
      }),
    );
  }

  /**
   * Reads the keys now.
   *
   * @throws Error when they cannot be used; those known so far go on being used
   */
  async reload(): Promise<void> {
    // What is being read may be from before the change that this is called for.
    while (this.#reading !== undefined) await this.#reading;
    await this.#start().catch((error: unknown) => {
      throw new Error(
        `the keys in ${quote(withoutQuery(this.#options.place))} cannot be used: ${toReason(error)}`,
        {
          cause: error,
        },
      );
    });
  }

  #start(): Promise<void> {
    const started = this.#load();
    this.#reading = started
      .catch(() => {})
      .finally(() => {
        this.#reading = undefined;
      });
    return started;
  }

  async #load(): Promise<void> {
    try {
      this.#keys = createLocalJWKSet({ keys: toKeys(await this.#read()) });
      this.#hasFailed = false;
      this.#staleAt = this.#now() + maxAgeMs;
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    } finally {
      this.#restsUntil = this.#now() + (this.#hasFailed ? retryMs : cooldownMs);
    }
  }

  async #choose(name: KeyName): Promise<CryptoKey | undefined> {
    try {
      return await this.#keys?.({ ...name });
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return undefined;
      // Trying them all would let one token cost as many verifications as there are keys.
      if (error instanceof errors.JWKSMultipleMatchingKeys)
        throw new Unauthorized(
          "invalid",
          "token fits several keys, expected a kid that only one of them has",
        );
      throw error;
    }
  }
}

/** The keys in the text of a key set that a token may be signed with. */
function toKeys(bytes: Uint8Array): JWK[] {
  const { keys } = parseObject(bytes) ?? {};
  if (!Array.isArray(keys)) throw new Error("it is not a JSON Web Key Set, expected an object with keys");
  if (keys.length > maxKeys) throw new Error(`it has ${keys.length} keys, the limit is ${maxKeys}`);
  const usable = keys.map(toKey).filter((key) => key !== undefined);
  if (usable.length === 0)
    throw new Error(
      `it has no key to use among ${keys.length}, expected public ones of RSA with at least ${minRsaBits} bits, P-256, P-384 or Ed25519`,
    );
  return usable;
}

/**
 * A key with what is needed of it, if it is of use. Issuers publish keys for encryption in the same set. A private key that stands
 * there is not used, as anyone may have it; nor is a secret, with which anyone who reads the set could sign.
 */
function toKey(value: unknown): JWK | undefined {
  if (!isObject(value) || "d" in value) return undefined;
  const { kty, kid, use, alg, key_ops: operations } = value;
  if (typeof kty !== "string" || (kid !== undefined && typeof kid !== "string")) return undefined;
  if (use !== undefined && use !== "sig") return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify")))
    return undefined;
  const algorithm = publicKeyAlgorithms.find((known) => known === alg);
  if (alg !== undefined && algorithm === undefined) return undefined;
  const numbers = toNumbers(value);
  if (numbers === undefined || !isStrong({ kty, ...numbers })) return undefined;
  return {
    kty,
    ...numbers,
    ...(kid !== undefined && { kid }),
    ...(algorithm !== undefined && { alg: algorithm }),
  };
}

function toNumbers({ n, e, crv, x, y }: Readonly<Record<string, unknown>>): Partial<JWK> | undefined {
  const given = Object.entries({ n, e, crv, x, y }).filter(([, part]) => part !== undefined);
  return given.every(([, part]) => typeof part === "string") ? Object.fromEntries(given) : undefined;
}

/** Whether it is a key in truth (a point on its curve, say), and of one of our kinds. A secret is no public key. */
function isStrong(jwk: JWK): boolean {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPublicKey({
      key: jwk,
      format: "jwk",
    });
    if (type === "rsa") return (details?.modulusLength ?? 0) >= minRsaBits;
    if (type === "ec") return jwk.crv === "P-256" || jwk.crv === "P-384";
    return type === "ed25519";
  } catch {
    return false;
  }
}

async function readFile(path: string): Promise<Uint8Array> {
  const bytes = await Bun.file(path)
    .slice(0, maxKeySetBytes + 1)
    .bytes();
  if (bytes.length > maxKeySetBytes) throw new Error(`it is larger than ${maxKeySetBytes} bytes`);
  return bytes;
}

async function fetchBytes(url: URL, timeoutMs: number): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      signal,
      // Not followed, and told by its status. With "error" the whole URL would be in the log.
      redirect: "manual",
      // A body that unpacks to a thousand times its size would be unpacked before it is measured.
      decompress: false,
      headers: { Accept: "application/jwk-set+json, application/json", "Accept-Encoding": "identity" },
    });
    const chunks: Uint8Array[] = [];
    let size = 0;
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`it was answered with ${response.status}, expected 200`);
    }
    // Leaving the loop closes the connection, so that of an endless body only as much is read.
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > maxKeySetBytes) throw new Error(`it is larger than ${maxKeySetBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (signal.aborted) throw new Error(`it took longer than ${timeoutMs} ms`, { cause: error });
    throw error;
  }
}

/** What stands after a question mark in a URL may be a secret. */
function withoutQuery(place: string): string {
  return place.split("?", 1).join();
}

function toReason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The JSON object that these bytes are in UTF-8, if they are one. */
export function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(strictUtf8.decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
