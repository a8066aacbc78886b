/**
 * The keys of publishers and operators: `Authorization: Bearer KEY`. Without any, everybody may.
 *
 * Several may be valid at once, so that one can be replaced by another without a moment in which neither is. Only digests are kept,
 * and digests are compared: all of the same length, each with every key, in a time that says nothing about any of them.
 */
import { timingSafeEqual } from "node:crypto";
import { Unauthorized } from "../errors.ts";
import { apiKeyRule, isApiKey } from "../kinds.ts";

/** A publisher by its key, as a word that does not reveal it; without keys, everybody is the same one. */
export type Publisher = string | undefined;

interface Known {
  readonly digest: Uint8Array;
  readonly name: string;
}

/** What is accepted as `Authorization`: the scheme of RFC 6750, in any case, and one token. */
const bearer = /^bearer +([^\s]+) *$/i;
/** Another scheme, of which RFC 6750 (section 3.1) says that it counts as nothing at all. */
const otherScheme = /^(?!bearer )[\w-]+ +\S/i;

export class PublisherKeys {
  #known: readonly Known[] = [];
  /** The digest of the key that is looked at: one buffer for all. */
  readonly #own = new Uint8Array(Bun.SHA256.byteLength);

  constructor(keys: readonly string[]) {
    this.replace(keys);
  }

  /** Whether anything is locked. */
  get areRequired(): boolean {
    return this.#known.length > 0;
  }

  /** From now on only these are valid. */
  replace(keys: readonly string[]): void {
    this.#known = keys.map(digest).map((own) => ({ digest: own, name: own.toHex() }));
  }

  /**
   * Whose key the request has.
   *
   * @throws PushError `unauthorized` when there are keys and it has none of them
   */
  check(headers: Headers): Publisher {
    if (this.#known.length === 0) return undefined;
    const key = readBearer(headers, "KEY");
    if (key === undefined)
      throw new Unauthorized(
        "missing",
        `${headers.has("authorization") ? "no Bearer in the header Authorization" : "the header Authorization is missing"}, expected "Authorization: Bearer KEY"`,
      );
    const own = this.#own;
    Bun.SHA256.hash(key, own);
    let found: string | undefined;
    // All of them, whichever it is.
    for (const known of this.#known) found = timingSafeEqual(own, known.digest) ? known.name : found;
    if (found !== undefined) return found;
    throw new Unauthorized("invalid", "the key in Authorization is not one of the API keys");
  }
}

/**
 * What stands behind `Bearer` in the header Authorization: nothing where there is none, or another scheme, which browsers send by
 * themselves to what stands behind a proxy that asked for a password.
 *
 * @param what what is expected there
 * @throws PushError `unauthorized` when it is malformed
 */
export function readBearer(headers: Headers, what: string): string | undefined {
  const authorization = headers.get("authorization");
  if (authorization === null) return undefined;
  const found = bearer.exec(authorization)?.[1];
  if (found !== undefined || otherScheme.test(authorization)) return found;
  throw new Unauthorized(
    "malformed",
    `the header Authorization is malformed, expected "Authorization: Bearer ${what}"`,
  );
}

/** The keys in a file: one a line, beside empty lines and those that begin with `#`; or what is wrong with it. */
export function parseKeyFile(text: string): readonly string[] | string {
  const keys: string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const key = line.trim();
    if (key === "" || key.startsWith("#")) continue;
    if (!isApiKey(key)) return `line ${index + 1} is not a key, expected each ${apiKeyRule}`;
    keys.push(key);
  }
  return keys.length > 0 ? keys : "it has no key, expected at least one, a line each";
}

function digest(key: string): Uint8Array {
  const bytes = new Uint8Array(Bun.SHA256.byteLength);
  Bun.SHA256.hash(key, bytes);
  return bytes;
}
