/**
 * A batch in its items, each as the JSON that it came as: so that they can be read one by one, with a turn for everybody else in between.
 * JSON that is made to be hard to read takes a server 50 times as long as what is pushed, for as many bytes.
 */
import { maxIdBytes } from "../address.ts";
import { PushError } from "../errors.ts";
import { maxEventBytes, maxKeyBytes } from "../message.ts";

/**
 * The items of a JSON array; whether each of them is JSON is for whoever reads it to find out. With that, what it takes is what
 * `JSON.parse` does.
 *
 * @param maxMessage in bytes; an item that is too long for any such message is refused
 * @throws PushError `malformed_body`, `too_large`
 */
export function* splitArray(text: string, maxMessage: number): Generator<string, void> {
  const first = skipSpace(text, 0);
  if (text.charCodeAt(first) !== bracketOpen)
    throw new PushError(
      "malformed_body",
      "the body is not an array, expected a JSON array of items; for an item a line, send Content-Type: application/x-ndjson",
    );
  const start = skipSpace(text, first + 1);
  const end = text.charCodeAt(start) === bracketClose ? start : yield* splitItems(text, start, maxMessage);
  if (skipSpace(text, end + 1) < text.length)
    throw new PushError("malformed_body", "the body goes on after its array, expected its end");
}

/** @returns where the bracket is that closes the array */
function* splitItems(text: string, begin: number, maxMessage: number): Generator<string, number> {
  let start = begin;
  for (let index = 0; ; index++) {
    const end = findEnd(text, start, maxMessage, index);
    yield text.slice(start, end);
    if (text.charCodeAt(end) === bracketClose) return end;
    start = end + 1;
  }
}

/** Where the comma or the bracket is that ends an item. */
function findEnd(text: string, start: number, maxMessage: number, item: number): number {
  let depth = 0;
  let inString = false;
  const last = Math.min(text.length, start + toLongest(maxMessage) + 1);
  for (let at = start; at < last; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === backslash) at++;
      else if (code === quotationMark) inString = false;
    } else if (code === quotationMark) inString = true;
    else if (depth === 0 && (code === comma || code === bracketClose)) return at;
    else if (code === bracketOpen || code === braceOpen) depth++;
    else if (code === bracketClose || code === braceClose) depth--;
  }
  if (last < text.length) refuseLonger(item, maxMessage);
  throw new PushError("malformed_body", `the body ends within item ${item}, expected the end of its array`);
}

/** The lines of NDJSON that have something on them. */
export function* splitLines(text: string, maxMessage: number): Generator<string, void> {
  const something = /\S/g;
  const longest = toLongest(maxMessage);
  for (let index = 0; something.test(text); index++) {
    const start = something.lastIndex - 1;
    const found = text.indexOf("\n", start);
    const end = found === -1 ? text.length : found;
    if (end - start > longest) refuseLonger(index, maxMessage);
    yield text.slice(start, end);
    something.lastIndex = end;
  }
}

/** The longest item, in characters: of each byte, JSON makes six at most (\u0007). */
function toLongest(maxMessage: number): number {
  return 6 * (maxMessage + 2 * maxIdBytes + maxEventBytes + maxKeyBytes) + ofNamesAndSpace;
}

const ofNamesAndSpace = 8 * 1024;

function refuseLonger(item: number, maxMessage: number): never {
  throw new PushError(
    "too_large",
    `item ${item}: its JSON is longer than ${toLongest(maxMessage)} characters, the limit where a message has up to ${maxMessage} bytes`,
    item,
  );
}

/** Where the next is that is no space, of those that JSON has (RFC 8259, section 2); the end, where there is none. */
function skipSpace(text: string, start: number): number {
  const other = /[^ \t\n\r]/g;
  other.lastIndex = start;
  return other.test(text) ? other.lastIndex - 1 : text.length;
}

const [quotationMark, backslash, comma] = [0x22, 0x5c, 0x2c];
const [bracketOpen, bracketClose, braceOpen, braceClose] = [0x5b, 0x5d, 0x7b, 0x7d];
