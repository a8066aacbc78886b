/**
 * The items of a batch, read a part at a time: so that everybody else can have a turn in between, and that who sends JSON which is made to
 * be hard to read, 50 times as hard as what is pushed, takes no more than a part's time.
 */
import { maxIdBytes } from "../address.ts";
import { PushError } from "../errors.ts";
import { maxEventBytes, maxKeyBytes } from "../message.ts";

/**
 * The items of a JSON array, some at a time. What it takes, and what comes out of all, is what `JSON.parse` makes of the whole.
 *
 * @param maxMessage in bytes; an item that is too long for any such message is refused
 * @throws PushError `malformed_body`, `too_large`
 */
export function* readArray(text: string, maxMessage: number): Generator<readonly unknown[], void> {
  const first = skipSpace(text, 0);
  if (text.charCodeAt(first) !== bracketOpen)
    throw new PushError(
      "malformed_body",
      "the body is not an array, expected a JSON array of items; for an item a line, send Content-Type: application/x-ndjson",
    );
  const start = skipSpace(text, first + 1);
  const end = text.charCodeAt(start) === bracketClose ? start : yield* readItems(text, start, maxMessage);
  if (skipSpace(text, end + 1) < text.length)
    throw new PushError("malformed_body", "the body goes on after its array, expected its end");
}

/** @returns where the bracket is that closes the array */
function* readItems(text: string, begin: number, maxMessage: number): Generator<readonly unknown[], number> {
  let [start, first] = [begin, 0];
  for (let [at, index] = [begin, 0]; ; index++) {
    const end = findEnd(text, at, maxMessage, index);
    at = end + 1;
    const isLast = text.charCodeAt(end) === bracketClose;
    if (isLast || end - start >= partLength) {
      // Each by itself would leave twice the garbage, between what is kept.
      yield parseAll(text.slice(start, end), first, maxMessage);
      [start, first] = [at, index + 1];
    }
    if (isLast) return end;
  }
}

/** @param first the number of the first item; a failure names its own */
function parseAll(items: string, first: number, maxMessage: number): readonly unknown[] {
  // Without an item, the brackets around it would be an array by themselves.
  if (skipSpace(items, 0) === items.length) parseItem(items, first);
  const array = `[${items}]`;
  try {
    return JSON.parse(array);
  } catch {
    for (let [at, index] = [1, first]; at < array.length; index++) {
      const end = findEnd(array, at, maxMessage, index);
      parseItem(array.slice(at, end), index);
      at = end + 1;
    }
    throw new PushError("malformed_body", "the body is not JSON");
  }
}

function parseItem(json: string, item: number): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new PushError("malformed_body", `item ${item}: it is not JSON`, item);
  }
}

/** Where the comma or the bracket is that ends an item. */
function findEnd(text: string, start: number, maxMessage: number, item: number): number {
  let depth = 0;
  const last = Math.min(text.length, start + toLongest(maxMessage) + 1);
  for (let at = start; at < last; at++) {
    const code = text.charCodeAt(at);
    if (code === quotationMark) at = findStringEnd(text, at);
    else if (depth === 0 && (code === comma || code === bracketClose)) return at;
    else if (code === bracketOpen || code === braceOpen) depth++;
    else if (code === bracketClose || code === braceClose) depth--;
  }
  if (last < text.length) refuseLonger(item, maxMessage);
  throw new PushError("malformed_body", `the body ends within item ${item}, expected the end of its array`);
}

/** Where the quotation mark is that ends a string: the next before which there are no backslashes, or an even number of them. */
function findStringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === backslash) before--;
    if ((end - before) % 2 === 0) return end;
  }
  return text.length;
}

/** The items of NDJSON, some at a time: a line each, but for those with nothing on them. */
export function* readLines(text: string, maxMessage: number): Generator<readonly unknown[], void> {
  const something = /\S/g;
  const longest = toLongest(maxMessage);
  let [part, length]: [unknown[], number] = [[], 0];
  for (let index = 0; something.test(text); index++) {
    const start = something.lastIndex - 1;
    const found = text.indexOf("\n", start);
    const end = found === -1 ? text.length : found;
    if (end - start > longest) refuseLonger(index, maxMessage);
    part.push(parseItem(text.slice(start, end).trimEnd(), index));
    length += end - start;
    if (length >= partLength) {
      yield part;
      [part, length] = [[], 0];
    }
    something.lastIndex = end;
  }
  yield part;
}

/** The longest item, in characters: of each byte, JSON makes six at most (\u0007). */
function toLongest(maxMessage: number): number {
  return 6 * (maxMessage + 2 * maxIdBytes + maxEventBytes + maxKeyBytes) + ofNamesAndSpace;
}

const ofNamesAndSpace = 8 * 1024;

/** How much is read at a time, in characters; and no more than one item on top. */
const partLength = 16 * 1024;

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
