/**
 * Who is calling: the client's address, also from behind proxies. Pure.
 *
 * A proxy adds the address that called it to the right end of `X-Forwarded-For`, or of `Forwarded` (RFC 7239). What stands to the left of
 * it came with the request, and may be anything. So a header is read from its right end, and only for as long as the one who
 * wrote that part is trusted. With `--trusted-proxies=10.0.0.0/8`:
 *
 *     X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2      from 10.0.0.1
 *                      ───┬───  ─────┬─────  ────┬───           └ trusted, so the header counts
 *                         │          │           └ written by 10.0.0.1; trusted too
 *                         │          └ written by 10.0.0.2; not trusted: this is the client
 *                         └ written by the client, and never looked at
 *
 * What cannot be read ends the walk at the address that came before. That may be the address of a proxy, and a client can bring that about
 * (see `toPeer`): an address limits and is logged, but that it is loopback or a proxy's proves nothing, and must grant nothing.
 */
import { BlockList, isIP } from "node:net";

/** The most that is read of a header, from its right end, in UTF-16 units and in addresses. */
const maxHeaderLength = 8192;
const maxHops = 64;

const words: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"],
};

/** A set of IP addresses. */
export class Networks {
  // Two lists, as a BlockList takes ::/0 to have all of IPv4 too.
  readonly #four = new BlockList();
  readonly #six = new BlockList();
  #isEmpty = true;

  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  /** Whether the address is among them, however it is written. What is no address is not. */
  has(address: string): boolean {
    const ip = toCanonical(address);
    if (ip === undefined) return false;
    return isSix(ip) ? this.#six.check(ip, "ipv6") : this.#four.check(ip, "ipv4");
  }

  /** Adds an address, or a network as `10.0.0.0/8`; `false` for what is neither. */
  add(entry: string): boolean {
    const [, address = "", digits] = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(entry) ?? [];
    const ip = toCanonical(address);
    if (ip === undefined) return false;
    // A network within ::ffff:0:0/96 is one of IPv4.
    const skipped = isSix(address) && !isSix(ip) ? 96 : 0;
    const bits = isSix(ip) ? 128 : 32;
    const prefix = digits === undefined ? bits : Number(digits) - skipped;
    if (prefix < 0 || prefix > bits || !isNetwork(ip, prefix)) return false;
    if (isSix(ip)) this.#six.addSubnet(ip, prefix, "ipv6");
    else this.#four.addSubnet(ip, prefix, "ipv4");
    this.#isEmpty = false;
    return true;
  }
}

export type ParsedNetworks =
  | { readonly networks: Networks; readonly wrong?: undefined }
  | { readonly networks?: undefined; readonly wrong: string };

/**
 * Reads addresses and networks with commas or blanks between them, IPv4 and IPv6; also the words `loopback` and `private`.
 *
 * A network with bits after its prefix is wrong: whether 10.0.0.1/8 is one address or 16 million cannot be known, and these are trusted.
 *
 * @returns the networks, or the first entry that is `wrong`
 */
export function parseNetworks(text: string): ParsedNetworks {
  const networks = new Networks();
  for (const entry of text.split(/[\s,]+/)) {
    if (entry === "") continue;
    const meant = Object.hasOwn(words, entry) ? words[entry] : undefined;
    if (!(meant ?? [entry]).every((one) => networks.add(one))) return { wrong: entry };
  }
  return { networks };
}

export interface Call {
  /** Of the TCP peer, as Bun's `server.requestIP` has it. */
  readonly address: string;
  /** Not touched unless the peer is trusted. */
  readonly headers: Pick<Headers, "get">;
}

/**
 * The address of the client, in canonical text: of the TCP peer, or where that is trusted, of the first from there that is not.
 * When all are trusted, the one farthest away.
 *
 * A proxy writes one of the two headers, and passes on the other as it came: which one cannot be seen. So where a request has both,
 * they count only if they say the same, since one of them is true; else it is the TCP peer. Preferring one would let everyone behind
 * a proxy that writes the other be whoever they like. The cure is a proxy that removes the header that it does not write.
 */
export function toPeer(call: Call, trusted: Networks): string {
  const nearest = fromSocket(call.address);
  if (trusted.isEmpty || !trusted.has(nearest)) return nearest;
  // An empty header says nothing, as one that is missing.
  const forwarded = call.headers.get("forwarded") || undefined;
  const forwardedFor = call.headers.get("x-forwarded-for") || undefined;
  const one = forwarded && walk(nearest, readForwarded(cut(forwarded)), trusted);
  const other = forwardedFor && walk(nearest, readForwardedFor(cut(forwardedFor)), trusted);
  if (one !== undefined && other !== undefined) return one === other ? one : nearest;
  return one ?? other ?? nearest;
}

/**
 * What a limit counts by: an IPv4 address, or the /64 of an IPv6 address (`2001:db8::/64`), as that is what one subscriber has at
 * least, and may take any address of. What is no address stays as it is.
 */
export function toAddressKey(ip: string): string {
  const address = fromSocket(ip);
  if (!isSix(address) || isIP(address) === 0) return address;
  const groups = toGroups(address);
  return toMapped(groups) ?? `${toText(groups, 4)}/64`;
}

function isSix(ip: string): boolean {
  return ip.includes(":");
}

/** The address as RFC 5952 writes it, and an IPv4-mapped one as IPv4; `undefined` for anything else, also with a zone or a port. */
function toCanonical(text: string): string | undefined {
  const version = isIP(text);
  if (version === 4) return text;
  if (version === 0 || text.includes("%")) return undefined;
  const groups = toGroups(text);
  return toMapped(groups) ?? toText(groups, 8);
}

/**
 * The same of what a socket has, which comes from the system and is canonical, but for the two that are not an address alone:
 * an IPv4 client of a socket that takes both (`::ffff:192.0.2.1`), and a zone (`fe80::1%eth0`).
 */
function fromSocket(address: string): string {
  if (!isSix(address)) return address;
  if (address.startsWith(mapped)) {
    const four = address.slice(mapped.length);
    return isIP(four) === 4 ? four : (toCanonical(address) ?? address);
  }
  const zone = address.indexOf("%");
  return zone === -1 ? address : address.slice(0, zone);
}

const mapped = "::ffff:";

/** The IPv4 address in an IPv4-mapped one, if it is one. */
function toMapped(groups: readonly number[]): string | undefined {
  const [high = 0, low = 0] = groups.slice(6);
  if (groups[5] !== 0xffff || groups.findIndex((group) => group !== 0) !== 5) return undefined;
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** The eight groups of what `isIP` takes for IPv6. */
function toGroups(ip: string): number[] {
  const text = ip.includes(".") ? ip.replace(/[\d.]+$/, toTwoGroups) : ip;
  const groups: number[] = [];
  let gap = 0;
  for (let start = 0; start < text.length;) {
    const colon = text.indexOf(":", start);
    const end = colon === -1 ? text.length : colon;
    if (end === start) gap = groups.length;
    else groups.push(Number.parseInt(text.slice(start, end), 16));
    start = end + 1;
  }
  while (groups.length < 8) groups.splice(gap, 0, 0);
  return groups;
}

/** The end of an IPv6 address that is written as IPv4. */
function toTwoGroups(four: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = four.split(".").map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** RFC 5952 of the first `count` groups, and zeros after them: the longest run of zeros is left out, the first of several. */
function toText(groups: readonly number[], count: number): string {
  let [from, to] = [8, 8];
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && (end >= count || groups[end] === 0)) end++;
    // A single group of zeros is written.
    if (end - start > Math.max(to - from, 1)) [from, to] = [start, end];
    start = end;
  }
  return from === to ? join(groups) : `${join(groups.slice(0, from))}::${join(groups.slice(to))}`;
}

function join(groups: readonly number[]): string {
  let text = "";
  for (const group of groups) text += `${text && ":"}${group.toString(16)}`;
  return text;
}

/** Whether all bits after the prefix are 0, as they are in the first address of a network. */
function isNetwork(ip: string, prefix: number): boolean {
  const bits = isSix(ip)
    ? toGroups(ip).map((group) => group.toString(2).padStart(16, "0"))
    : ip.split(".").map((part) => Number(part).toString(2).padStart(8, "0"));
  return !bits.join("").includes("1", prefix);
}

/** The last good address: from `nearest` on as long as the one that wrote the next is trusted, and it can be read. */
function walk(nearest: string, hops: Iterable<string | undefined>, trusted: Networks): string {
  let client = nearest;
  let left = maxHops;
  for (const hop of hops) {
    if (hop === undefined || left-- === 0) break;
    client = hop;
    if (!trusted.has(hop)) break;
  }
  return client;
}

/** The end of a header that is too long, with what cannot be read before it: the first address may be a piece of one. */
function cut(header: string): string {
  return header.length > maxHeaderLength ? `?${header.slice(1 - maxHeaderLength)}` : header;
}

/** The addresses of an `X-Forwarded-For` from the right, `undefined` for what is none. Some proxies add a port. */
function* readForwardedFor(text: string): Generator<string | undefined> {
  for (let end = text.length; end > 0;) {
    const comma = text.lastIndexOf(",", end - 1);
    const entry = text.slice(comma + 1, end).trim();
    if (entry !== "") yield toCanonical(entry) ?? fromNode(entry);
    end = comma;
  }
}

/**
 * The addresses of a `Forwarded` from the right, `undefined` at what is none or where it is malformed, which is the end.
 *
 *     for=6.6.6.6;x=", for="[2001:db8::1]:4711";proto=https
 *
 * Read from the left, the string that a client has opened would swallow what the proxy wrote. From the right it cannot: within a string
 * a quotation mark has a backslash before it, so the first `="` from its end is where it was opened.
 */
function* readForwarded(text: string): Generator<string | undefined> {
  let end = text.length;
  let isSeparated = true;
  /** Of the element that is being read, by name in lower case. */
  const pairs = new Map<string, string>();
  for (;;) {
    const next = text[end - 1];
    if (next === undefined || next === ",") {
      if (pairs.size > 0) yield fromNode(pairs.get("for") ?? "");
      if (next === undefined) return;
      pairs.clear();
    }
    if (next === " " || next === "\t" || next === "," || next === ";") {
      end--;
      isSeparated ||= next === "," || next === ";";
      continue;
    }
    const pair = isSeparated ? readPair(text, end) : undefined;
    if (pair === undefined || pairs.has(pair.name)) return yield undefined;
    pairs.set(pair.name, pair.value);
    end = pair.start;
    isSeparated = false;
  }
}

const token = /[\w!#$%&'*+.^`|~-]/;
const quoted = /^(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*$/;

/** The pair that ends at `end`: `name=value` or `name="value"`. */
function readPair(text: string, end: number): { name: string; value: string; start: number } | undefined {
  let equals: number;
  let value: string;
  if (text[end - 1] === '"') {
    equals = text.lastIndexOf('="', end - 3);
    value = text.slice(equals + 2, end - 1);
    if (equals < 1 || !quoted.test(value)) return undefined;
    value = value.replace(/\\(.)/g, "$1");
  } else {
    equals = skipToken(text, end) - 1;
    value = text.slice(equals + 1, end);
    if (text[equals] !== "=" || value === "") return undefined;
  }
  const start = skipToken(text, equals);
  return start === equals ? undefined : { name: text.slice(start, equals).toLowerCase(), value, start };
}

/** Where the token that ends at `end` begins. */
function skipToken(text: string, end: number): number {
  let start = end;
  while (start > 0 && token.test(text.charAt(start - 1))) start--;
  return start;
}

/** The address of a node (RFC 7239, section 6), IPv6 in brackets; `undefined` for those that do not tell: `unknown` and `_hidden`. */
function fromNode(node: string): string | undefined {
  const [, six, four] = /^(?:\[([^\]]*:[^\]]*)\]|([\d.]+))(?::(?:\d{1,5}|_[\w.-]+))?$/.exec(node) ?? [];
  return toCanonical(six ?? four ?? "");
}
