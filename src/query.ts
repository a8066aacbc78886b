/**
 * The query of a request, read strictly. Pure.
 *
 * The usual parsers say nothing about what they do not understand: an unknown name is dropped, the last of two values
 * wins, `%zz` stays as it is. Here each of these could widen an address (`comp` for `compid` reaches all of a user's
 * components) or change a message, so each is refused, by name. `_` alone is ignored: jQuery adds it against caches.
 */
import { maxIdBytes } from "./address.ts";
import { PushError, quote } from "./errors.ts";
import { maxEventBytes, maxKeyBytes } from "./message.ts";

/** The longest value of each parameter that is a name, in bytes of UTF-8. Such values have no control characters. */
const namesWithLimits: Readonly<Record<string, number>> = {
  userid: maxIdBytes,
  compid: maxIdBytes,
  event: maxEventBytes,
  key: maxKeyBytes,
};

/**
 * The parameters in the query of `url`.
 *
 * @param url   the request's URL, or its path and query, as it came: still percent-encoded
 * @param names the parameters that this request takes
 * @throws PushError `unknown_parameter`, `repeated_parameter`, `empty_parameter` or `invalid_parameter`
 */
export function readQuery<Name extends string>(
  url: string,
  names: readonly Name[],
): { readonly [name in Name]?: string } {
  const values: { [name in Name]?: string } = {};
  let start = url.indexOf("?") + 1;
  if (start === 0) return values;
  const plain = !notPlain.test(url);
  while (start <= url.length) {
    let end = url.indexOf("&", start);
    if (end === -1) end = url.length;
    if (end > start && !(plain && takePlainPair(url, start, end, names, values)))
      readPair(url.slice(start, end), names, values);
    start = end + 1;
  }
  return values;
}

/**
 * The path of `url`, without a slash at its end, which makes no difference to the routes. Does not parse: a request without
 * a Host, or with one that cannot be one, comes with a URL that is none.
 */
export function readPath(url: string): string {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("://") + 3);
  const [path = ""] = url.slice(start).split("?", 1);
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** Bun answers HEAD by running the handler of GET, which would push a message, or open a session that nobody reads. */
export function refuseHead({ method }: Request): void {
  if (method === "HEAD")
    throw new PushError("method_not_allowed", "HEAD is not allowed here, as it does what GET does");
}

/** Anything but printable ASCII that stands for itself: where there is none, nothing is to be decoded, and a unit is a byte. */
const notPlain = /[^!-$&-*,-~]/;

const equalsSign = 0x3d;

/**
 * Takes a pair in which nothing is to be decoded, as nearly all are, at half the cost; leaves to `readPair` whatever is to be refused.
 * Its parameters are many because an object would be made for every parameter of every push.
 */
function takePlainPair<Name extends string>(
  url: string,
  start: number,
  end: number,
  names: readonly Name[],
  values: { [name in Name]?: string },
): boolean {
  for (const name of names) {
    const equals = start + name.length;
    if (url.charCodeAt(equals) !== equalsSign || !url.startsWith(name, start)) continue;
    const length = end - equals - 1;
    if (length < 1 || length > (namesWithLimits[name] ?? length) || values[name] !== undefined) return false;
    values[name] = url.slice(equals + 1, end);
    return true;
  }
  return false;
}

function readPair<Name extends string>(
  pair: string,
  names: readonly Name[],
  values: { [name in Name]?: string },
): void {
  const equals = pair.indexOf("=");
  const written = decode(equals === -1 ? pair : pair.slice(0, equals), "the name of a parameter");
  if (written === "_") return;
  const name = names.find((known) => known === written);
  if (name === undefined)
    throw new PushError(
      "unknown_parameter",
      `parameter ${quote(written)} is unknown here, expected ${names.length === 0 ? "none" : names.join(", ")}`,
    );
  if (values[name] !== undefined)
    throw new PushError("repeated_parameter", `parameter ${name} is given more than once, expected it once`);
  const value = equals === -1 ? "" : decode(pair.slice(equals + 1), `parameter ${name}`);
  if (value === "")
    throw new PushError("empty_parameter", `parameter ${name} is empty, expected at least 1 byte`);
  const limit = namesWithLimits[name];
  if (limit !== undefined) checkName(`parameter ${name}`, value, limit);
  values[name] = value;
}

function decode(encoded: string, what: string): string {
  if (!encoded.includes("%")) return encoded.includes("+") ? encoded.replaceAll("+", " ") : encoded;
  try {
    return decodeURIComponent(encoded.replaceAll("+", " "));
  } catch {
    throw new PushError(
      "invalid_parameter",
      `${what} has a percent sign that is not followed by the hexadecimal digits of UTF-8`,
    );
  }
}

/** Control characters; and U+FFFD, which Bun makes of raw bytes that are not UTF-8, so that different names would become one. */
const forbidden = /[\p{Cc}\ufffd]/u;

/**
 * Refuses what may not be an id, an event or a key.
 *
 * @param what  as it begins the sentence
 * @param limit in bytes of UTF-8
 * @throws PushError `invalid_parameter`
 */
export function checkName(what: string, value: string, limit: number): void {
  if (forbidden.test(value))
    throw new PushError(
      "invalid_parameter",
      `${what} has ${value.includes("\ufffd") ? "bytes that are not UTF-8, or U+FFFD" : "a control character"}, expected none`,
    );
  if (value.length * 3 <= limit) return;
  const size = Buffer.byteLength(value);
  if (size > limit)
    throw new PushError("invalid_parameter", `${what} is ${size} bytes, the limit is ${limit}`);
}
