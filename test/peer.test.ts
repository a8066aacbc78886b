import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import { type Networks, parseNetworks, toAddressKey, toPeer } from "../src/peer.ts";

const none = networks("");
const proxies = networks("10.0.0.0/8, fd00::/8");

/** The groups of an IPv6 address, with runs of zeros, as they decide how it is written. */
const sixes = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
const fours = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }).map((bytes) => bytes.join("."));
const addresses = fc.oneof(fours, sixes.filter(isNotMapped).map(toText));
/** What is trusted as a proxy, and what is not. */
const trusted = fc.nat(0xffff).map((low) => `10.0.${low >> 8}.${low & 255}`);
const strangers = addresses.filter((address) => !proxies.has(address));

describe("networks", () => {
  test("are read with commas or blanks between them", () => {
    const set = networks(" 192.0.2.1,10.0.0.0/8\n2001:db8::/32 , ::1 ");

    const inside = ["192.0.2.1", "10.255.0.1", "2001:db8:ffff::1", "::1"];
    const outside = ["192.0.2.2", "11.0.0.0", "2001:db9::", "::2", "", "10.0.0", "unix"];
    expect(inside.filter((address) => set.has(address))).toEqual(inside);
    expect(outside.filter((address) => set.has(address))).toEqual([]);
  });

  test("may be none", () => {
    for (const text of ["", " ", ",", " , "]) expect(networks(text).isEmpty).toBe(true);
    expect(networks("::1").isEmpty).toBe(false);
  });

  test("of the word loopback are those of the own machine", () => {
    const set = networks("loopback");

    const inside = ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"];
    const outside = ["126.255.255.255", "128.0.0.0", "::", "::2", "10.0.0.1"];

    expect(inside.filter((address) => !set.has(address))).toEqual([]);
    expect(outside.filter((address) => set.has(address))).toEqual([]);
  });

  test("of the word private are those of RFC 1918, fc00::/7 and fe80::/10", () => {
    const set = networks("private");
    const inside =
      "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00:: fdff:ffff:: fe80:: febf::1";
    const outside =
      "9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 127.0.0.1 169.254.1.1 fbff:: fe00:: fec0:: ::1";

    expect(inside.split(" ").filter((address) => !set.has(address))).toEqual([]);
    expect(outside.split(" ").filter((address) => set.has(address))).toEqual([]);
  });

  test("of IPv4 have the addresses that are mapped to IPv6, and the other way round", () => {
    for (const text of ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::FFFF:a00:0/104"]) {
      const set = networks(text);

      expect(["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"].every((one) => set.has(one))).toBe(true);
      expect(["11.1.2.3", "::ffff:11.1.2.3", "::a01:203"].some((one) => set.has(one))).toBe(false);
    }
  });

  test("of IPv6 have no IPv4, also when they are all of it", () => {
    expect(networks("::/0").has("192.0.2.1")).toBe(false);
    expect(networks("::/0").has("::ffff:192.0.2.1")).toBe(false);
    expect(networks("0.0.0.0/0").has("2001:db8::1")).toBe(false);
    expect(networks("::ffff:0:0/96").has("192.0.2.1")).toBe(true);
  });

  for (const [size, write] of [
    [32, toDotted] as const,
    [128, (bits: bigint) => toText(fromBits(bits))] as const,
  ])
    test(`have an address of ${size} bits when its first bits are those of the network`, () => {
      const all = fc.bigInt({ min: 0n, max: (1n << BigInt(size)) - 1n });
      holds(
        fc.property(all, fc.nat(size), fc.nat(size - 1), (bits, prefix, flip) => {
          const base = (bits >> BigInt(size - prefix)) << BigInt(size - prefix);
          const near = bits ^ (1n << BigInt(size - 1 - flip));
          fc.pre(size === 32 || [base, bits, near].every((one) => isNotMapped(fromBits(one))));

          const set = networks(`${write(base)}/${prefix}`);

          expect(set.has(write(bits))).toBe(true);
          expect(set.has(write(near))).toBe(flip >= prefix);
        }),
      );
    });

  const wrong = `
    10.0.0 10.0.0.0.0 256.0.0.1 010.0.0.1 10.0.0.08 0x0a.0.0.1 167772161 1e1.0.0.1 １０.0.0.1
    10.0.0.0/ 10.0.0.0/33 10.0.0.0/08 10.0.0.0/-1 10.0.0.0/8/8 10.0.0.0/255.0.0.0 /8 ::/129 ::ffff:0:0/95 ::ffff:0:0/0
    10.0.0.1/8 0.0.0.1/0 ::1/64 2001:db8::/16 ::ffff:10.0.0.1/104 ::ffff:10.0.0.0/8
    10.0.0.1:80 [::1] [::1]:80 ::1%lo fe80::%eth0/10 10.0.0.1;::1 10.0.0.1-10.0.0.9 10.* *
    1:2:3:4:5:6:7 1::2::3 12345:: ::g ::: : ::ffff:10.0.0.256 ::ffff:010.0.0.1
    localhost Loopback private/8 constructor
  `;
  for (const entry of wrong.trim().split(/\s+/))
    test(`are refused by name: ${entry}`, () => {
      expect(parseNetworks(`loopback, ${entry} 192.0.2.1`)).toEqual({ wrong: entry });
    });

  test("are read or refused, whatever the text is, and then name a part of it", () => {
    const unit = fc.oneof(fc.constantFrom(..."0123456789abf:./%[], "), fc.string({ maxLength: 1 }));
    holds(
      fc.property(fc.string({ unit }), (text) => {
        const { networks: set, wrong: entry } = parseNetworks(text);
        if (set === undefined) expect(text).toContain(entry);
      }),
    );
  });
});

describe("the key of an address", () => {
  const keys: readonly (readonly [ip: string, key: string])[] = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:C000:0201", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8::/64"],
    ["2001:db8:0:1::1", "2001:db8:0:1::/64"],
    ["0:0:0:1:2:3:4:5", "0:0:0:1::/64"],
    ["::192.0.2.1", "::/64"],
    ["fe80::1%eth0", "fe80::/64"],
    ["", ""],
    ["/run/push.sock", "/run/push.sock"],
  ];
  for (const [ip, key] of keys)
    test(`${ip} is ${key}`, () => {
      expect(toAddressKey(ip)).toBe(key);
    });

  test("is the same for two addresses of IPv6 exactly when their first 64 bits are", () => {
    holds(
      fc.property(sixes, sixes, fc.nat(8), (one, other, same) => {
        const mixed = one.map((group, index) => (index < same ? group : (other[index] ?? 0)));
        fc.pre(isNotMapped(one) && isNotMapped(mixed));

        const isSame = toBits(one) >> 64n === toBits(mixed) >> 64n;

        expect(toAddressKey(toText(one)) === toAddressKey(toText(mixed))).toBe(isSame);
      }),
    );
  });

  test("is the same however the address is written, and a network that has it", () => {
    const written = fc.record({ groups: sixes.filter(isNotMapped), from: fc.nat(7), upper: fc.boolean() });
    holds(
      fc.property(written, ({ groups, from, upper }) => {
        const long = groups.map((group) => group.toString(16).padStart(4, "0")).join(":");
        const short = compress(groups, from);
        const key = toAddressKey(toText(groups));

        expect(toAddressKey(upper ? long.toUpperCase() : long)).toBe(key);
        expect(toAddressKey(short)).toBe(key);
        expect(networks(key).has(long)).toBe(true);
      }),
    );
  });
});

describe("the peer", () => {
  test("is who is connected, whatever the headers say, when that one is not trusted", () => {
    const headers = { get: () => expect.unreachable("a header was read") };

    expect(toPeer({ address: "203.0.113.7", headers }, none)).toBe("203.0.113.7");
    expect(toPeer({ address: "203.0.113.7", headers }, proxies)).toBe("203.0.113.7");
  });

  test("is in canonical text, as dual-stack sockets have IPv4 mapped", () => {
    const written = {
      "::ffff:192.0.2.1": "192.0.2.1",
      "::ffff:c000:201": "192.0.2.1",
      "2001:db8::1": "2001:db8::1",
      "fe80::1%eth0": "fe80::1",
      "": "",
    };
    for (const [address, canonical] of Object.entries(written))
      expect(toPeer({ address, headers: new Headers() }, none)).toBe(canonical);
  });

  test("is written as RFC 5952 has it, however a proxy writes it", () => {
    holds(
      fc.property(sixes.filter(isNotMapped), fc.nat(7), (groups, from) => {
        const text = toText(groups);
        fc.pre(!proxies.has(text));

        expect(through({ "X-Forwarded-For": compress(groups, from).toUpperCase() })).toBe(text);
      }),
    );
  });

  test("is the proxy when it says nothing, or has an empty header", () => {
    expect(through({})).toBe("10.0.0.1");
    expect(through({ "X-Forwarded-For": "", Forwarded: "" })).toBe("10.0.0.1");
    expect(through({ "X-Forwarded-For": "203.0.113.7", Forwarded: "" })).toBe("203.0.113.7");
  });

  test("is the client that both headers have, if they have the same", () => {
    const both = { "X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.0.0.2", Forwarded: "for=203.0.113.7" };

    expect(through(both)).toBe("203.0.113.7");
  });

  const lists: readonly (readonly [header: string, peer: string, why: string])[] = [
    ["6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7", "the first that is not trusted"],
    ["10.0.0.3, 10.0.0.2", "10.0.0.3", "the farthest, when all are trusted"],
    ["::ffff:203.0.113.7", "203.0.113.7", "mapped"],
    ["203.0.113.7, ::ffff:10.0.0.2", "203.0.113.7", "after a mapped one that is trusted"],
    ["2001:DB8::0:1,fd00::1", "2001:db8::1", "IPv6"],
    ["203.0.113.7:4711", "203.0.113.7", "with a port"],
    ["[2001:db8::1]:4711", "2001:db8::1", "in brackets with a port"],
    [" ,203.0.113.7 ,\t, 10.0.0.2,, ", "203.0.113.7", "between empty entries"],
    ["203.0.113.7, unknown", "10.0.0.1", "the proxy, as what is left of the unknown is not to be believed"],
    ["203.0.113.7, 10.0.0.x, 10.0.0.2", "10.0.0.2", "the last good one"],
  ];
  for (const [header, peer, why] of lists)
    test(`of X-Forwarded-For: ${header} is ${why}`, () => {
      expect(through({ "X-Forwarded-For": header })).toBe(peer);
    });

  const unreadable =
    'unknown | _hidden | 203.0.113.07 | 203.0.113.7 10.0.0.2 | fe80::1%eth0 | 203.0.113.7/32 | [203.0.113.7] | 203.0.113.7:123456 | "203.0.113.7" | for=203.0.113.7';
  for (const header of unreadable.split(" | "))
    test(`of X-Forwarded-For: ${header} is the proxy, as this is no address`, () => {
      expect(through({ "X-Forwarded-For": header })).toBe("10.0.0.1");
    });
});

describe("RFC 7239:", () => {
  // Its own examples, passed on by 10.0.0.1; of the proxies in them, all but the hidden ones are trusted.
  const examples: readonly (readonly [section: string, header: string, peer: string])[] = [
    ["4", 'for="_gazonk"', "10.0.0.1"],
    ["4", 'For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"],
    ["4", "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"],
    ["4", "for=192.0.2.43, for=198.51.100.17", "192.0.2.43"],
    ["6", 'for="192.0.2.43:47011"', "192.0.2.43"],
    ["6", 'for="[2001:db8:cafe::17]:47011"', "2001:db8:cafe::17"],
    ["6.3", "for=_hidden, for=_SEVKISEK", "10.0.0.1"],
    ["7.1", 'for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown', "10.0.0.1"],
    ["7.1", 'for=192.0.2.43, for="[2001:db8:cafe::17]", for=unknown', "10.0.0.1"],
    ["7.4", 'for=192.0.2.43, for="[2001:db8:cafe::17]"', "192.0.2.43"],
    ["7.5", "for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", "192.0.2.43"],
  ];
  const known = networks("10.0.0.1 198.51.100.17 2001:db8:cafe::17");
  for (const [section, header, peer] of examples)
    test(`section ${section}, ${header}`, () => {
      const headers = new Headers({ Forwarded: header });

      expect(toPeer({ address: "10.0.0.1", headers }, known)).toBe(peer);
    });

  const more: readonly (readonly [header: string, peer: string, why: string])[] = [
    ['for="2\\03.0.113.\\7"', "203.0.113.7", "with quoted pairs"],
    ['for="203.0.113.7:_port1"', "203.0.113.7", "with a port that is hidden"],
    ["proto=https;by=_x;for=203.0.113.7", "203.0.113.7", "in any order"],
    ["for=203.0.113.7 ; proto=https;;", "203.0.113.7", "with blanks and empty pairs"],
    [", for=203.0.113.7 ,,for=10.0.0.2,", "203.0.113.7", "with empty elements"],
    ['for=203.0.113.7;x="a, for=6.6.6.6;b=\\"c\\""', "203.0.113.7", "with a string that looks like more"],
    ['for=203.0.113.7;x="\\"="', "203.0.113.7", "with a string that ends as another begins"],
    ['for=203.0.113.7;x="a\\\\"', "203.0.113.7", "with a backslash at the end of a string"],
    ['for=203.0.113.7;x=""', "203.0.113.7", "with an empty string"],
    ["proto=https", "10.0.0.1", "the proxy: nothing of whom"],
    ["for=203.0.113.7, proto=https", "10.0.0.1", "the proxy: the nearest does not say"],
  ];
  for (const [header, peer, why] of more)
    test(`${header} is ${why}`, () => {
      expect(through({ Forwarded: header })).toBe(peer);
    });

  const malformed = String.raw`
    for=203.0.113.7;for=203.0.113.7 | for=203.0.113.7:80 | for=[2001:db8::1] | for="2001:db8::1" | for="[203.0.113.7]"
    for = 203.0.113.7 | for=203.0.113.7 proto=https | for=203.0.113.7=x | 203.0.113.7 | for | for= | =203.0.113.7
    ="203.0.113.7" | " | =" | for="203.0.113.7 | for=203.0.113.7" | for="203.0.113.7"x | for="203.0.113.7\"
    for="203.0.113.7\\\" | for="203.0"113.7" | for="203.0.113.7";x="é | for=203.0.113.7;x="a"b" | for=203.0.113.7;x="a\"
  `;
  for (const header of malformed.trim().split(/ \| |\n +/))
    test(`${header} is malformed, and the peer is the proxy`, () => {
      expect(through({ Forwarded: header })).toBe("10.0.0.1");
    });
});

describe("a client that sends the header itself", () => {
  /** What a client may put there, with all that has a meaning in it. */
  const spoofs = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'"\\,;= \t[]:.', "for=", "6.6.6.6", 'x="', "unknown", "10.0.0.9") }),
    fc.string({ unit: "grapheme-ascii" }),
    fc.constantFrom('for="', 'for=6.6.6.6;x="', 'for=6.6.6.6;x="\\', 'for=6.6.6.6, for=10.0.0.9;x="='),
  );

  for (const [name, write] of [["X-Forwarded-For", String] as const, ["Forwarded", toElement] as const])
    test(`is who the proxies saw, whatever it puts into ${name}, also a string that never ends`, () => {
      holds(
        fc.property(spoofs, strangers, fc.array(trusted, { maxLength: 3 }), (spoof, client, hops) => {
          const header = [spoof, ...[client, ...hops].map((address) => write(address))].join(", ");

          expect(through({ [name]: header })).toBe(client);
        }),
      );
    });

  test("never becomes an address of its choice by sending the header that the proxy does not write", () => {
    holds(
      fc.property(strangers, strangers, fc.boolean(), (client, spoof, isOther) => {
        const written = isOther
          ? { "X-Forwarded-For": client, Forwarded: toElement(spoof) }
          : { "X-Forwarded-For": spoof, Forwarded: toElement(client) };

        expect(through(written)).toBe(client === spoof ? client : "10.0.0.1");
      }),
    );
  });

  test("has 64 addresses read, and no more", () => {
    const more = ["203.0.113.7", ...Array<string>(64).fill("10.0.0.2")];
    const most = more.slice(0, -1);

    expect(through({ "X-Forwarded-For": String(most) })).toBe("203.0.113.7");
    expect(through({ "X-Forwarded-For": String(more) })).toBe("10.0.0.2");
    expect(through({ Forwarded: String(most.map(toElement)) })).toBe("203.0.113.7");
    expect(through({ Forwarded: String(more.map(toElement)) })).toBe("10.0.0.2");
  });

  test("has the last 8 KiB read, and no address of which a piece is cut off there", () => {
    const peers = new Set<string>();
    // At one of these lengths 3.0.113.7 begins the last 8 KiB.
    for (let length = 8100; length < 8200; length++) {
      const blanks = " ".repeat(length);
      peers.add(through({ "X-Forwarded-For": `203.0.113.7${blanks},10.0.0.2` }));
      peers.add(through({ Forwarded: `for=6.6.6.6;for=203.0.113.7${blanks},for=10.0.0.2` }));
      peers.add(through({ Forwarded: `xfor=6.6.6.6${blanks},for=10.0.0.2` }));
    }

    expect(peers).toEqual(new Set(["203.0.113.7", "10.0.0.2"]));
    expect(through({ "X-Forwarded-For": `${"9".repeat(100_000)},203.0.113.7` })).toBe("203.0.113.7");
    expect(through({ Forwarded: `${"9".repeat(100_000)},for=203.0.113.7` })).toBe("203.0.113.7");
  });

  test("gets an address for anything", () => {
    holds(
      fc.property(spoofs, spoofs, (one, other) => {
        expect(isIP(through({ "X-Forwarded-For": one, Forwarded: other }))).toBeOneOf([4, 6]);
        expect(isIP(through({ "X-Forwarded-For": one }))).toBeOneOf([4, 6]);
        expect(isIP(through({ Forwarded: other }))).toBeOneOf([4, 6]);
      }),
    );
  });
});

function holds<Values>(property: fc.IProperty<Values>): void {
  fc.assert(property, { numRuns: 2000 });
}

/** The peer of a request that comes from the proxy 10.0.0.1. */
function through(headers: Readonly<Record<string, string>>): string {
  return toPeer({ address: "10.0.0.1", headers: new Headers(headers) }, proxies);
}

/** As a proxy would write it. */
function toElement(address: string): string {
  return address.includes(":") ? `for="[${address}]";proto=https` : `for=${address}`;
}

function networks(text: string): Networks {
  const { networks: set, wrong } = parseNetworks(text);
  if (set === undefined) throw new Error(`expected networks: ${wrong}`);
  return set;
}

function isNotMapped(groups: readonly number[]): boolean {
  return toBits(groups) >> 32n !== 0xffffn;
}

function toBits(groups: readonly number[]): bigint {
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(group), 0n);
}

function fromBits(bits: bigint): number[] {
  return Array.from({ length: 8 }, (_, index) => Number((bits >> BigInt(112 - 16 * index)) & 0xffffn));
}

function toDotted(bits: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 255n).join(".");
}

/** As RFC 5952 has it, by the platform, which does so in URLs. */
function toText(groups: readonly number[]): string {
  return new URL(`http://[${plain(groups)}]`).hostname.slice(1, -1);
}

/** With the run of zeros left out that starts at this group, if one does. */
function compress(groups: readonly number[], from: number): string {
  const next = groups.findIndex((group, index) => index >= from && group !== 0);
  const to = next === -1 ? 8 : next;
  return to === from ? plain(groups) : `${plain(groups.slice(0, from))}::${plain(groups.slice(to))}`;
}

function plain(groups: readonly number[]): string {
  return groups.map((group) => group.toString(16)).join(":");
}
