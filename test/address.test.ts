import { describe, expect, test } from "bun:test";
import type { ServerWebSocket } from "bun";
import fc from "fast-check";
import { type Address, fromTopic, maxIdBytes, topicOfAll, topicsOf, toTopic } from "../src/address.ts";
import { connect } from "./support/client.ts";

/** Any text, and texts that look like parts of a topic's name. */
const id = fc.oneof(
  fc.string({ unit: "binary", minLength: 1 }),
  fc.string({ unit: fc.constantFrom(..."0123456789:ucba"), minLength: 1, maxLength: 6 }),
);
const address: fc.Arbitrary<Address> = fc.record({ userid: id, compid: id }, { requiredKeys: [] });

describe("the name of a topic", () => {
  test("is another one for every other address", () => {
    fc.assert(
      fc.property(address, address, (one, other) => {
        fc.pre(!Bun.deepEquals(one, other));
        expect(toTopic(one)).not.toBe(toTopic(other));
      }),
      { numRuns: 5000 },
    );
  });

  test("is another one however the same letters are divided between user and component", () => {
    const letters = fc.string({ unit: fc.constantFrom(..."01:b"), minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(letters, (text) => {
        const divided = Array.from({ length: text.length - 1 }, (_, at) =>
          toTopic({ userid: text.slice(0, at + 1), compid: text.slice(at + 1) }),
        );
        expect(new Set(divided).size).toBe(divided.length);
      }),
    );
  });

  test("gives back the address that it was made of", () => {
    fc.assert(fc.property(address, (given) => expect(fromTopic(toTopic(given))).toEqual(given)));
  });

  test("gives back ids that are made of digits and colons", () => {
    const given = { userid: "1:2", compid: "3:4:5" };

    expect(fromTopic(toTopic(given))).toEqual(given);
  });
});

describe("the topics of a session", () => {
  test("are that of all alone for one that connects with neither id", () => {
    expect(topicsOf({})).toEqual([topicOfAll]);
  });

  test("are that of all and its user's own for one that connects with a userid", () => {
    expect(new Set(topicsOf({ userid: "7" }))).toEqual(new Set([toTopic({}), toTopic({ userid: "7" })]));
  });

  test("are that of all and its component's for one that connects with a compid", () => {
    expect(new Set(topicsOf({ compid: "inbox" }))).toEqual(
      new Set([toTopic({}), toTopic({ compid: "inbox" })]),
    );
  });

  test("are all four for one that connects with both", () => {
    expect(new Set(topicsOf({ userid: "7", compid: "inbox" }))).toEqual(
      new Set([
        toTopic({}),
        toTopic({ userid: "7" }),
        toTopic({ compid: "inbox" }),
        toTopic({ userid: "7", compid: "inbox" }),
      ]),
    );
  });

  test("hold an address exactly when each id that it names is the session's", () => {
    const few = fc.record({ userid: fc.constantFrom("1", "2", "u1"), compid: fc.constantFrom("1", "c1") });
    const some = fc.oneof(address, fc.record({ userid: id, compid: id }), few, fc.constant({}));
    const named = fc
      .tuple(some, fc.boolean(), fc.boolean(), some)
      .map(([session, user, component, other]) => {
        // Half of the addresses are made of the session's own ids, or hardly any would reach it.
        const from: Address = { ...other, ...(user && session), ...(component && session) };
        return { session, message: from };
      });
    fc.assert(
      fc.property(named, ({ session, message }: { session: Address; message: Address }) => {
        const isFor =
          (message.userid === undefined || message.userid === session.userid) &&
          (message.compid === undefined || message.compid === session.compid);
        expect(topicsOf(session).includes(toTopic(message))).toBe(isFor);
      }),
    );
  });
});

/** Pairs that a slip with encodings, normal forms or lengths would take for one. */
const lookalikes: readonly (readonly [why: string, one: string, other: string])[] = [
  ["é and its bytes of UTF-8 read as Latin-1", "é", "Ã©"],
  ["ÿ and its bytes of UTF-8 read as Latin-1", "ÿ", "Ã¿"],
  ["é composed and decomposed", "\u00e9", "e\u0301"],
  ["the Angstrom sign and the letter that normalises it", "\u212b", "\u00c5"],
  ["Latin and Cyrillic a", "a", "\u0430"],
  ["a letter of Latin-1 and one of another page with the same low byte", "é", "\u01e9"],
  ["two emoji that share their first UTF-16 unit", "😀", "😁"],
  ["an emoji with and without its modifier", "👍", "👍🏽"],
  ["two ids of 128 bytes that differ in the last", `${"a".repeat(127)}b`, `${"a".repeat(127)}c`],
  ["two ids of 64 letters and 128 bytes", `${"é".repeat(63)}è`, "é".repeat(64)],
  ["ids of 127 and 128 bytes", "a".repeat(127), "a".repeat(maxIdBytes)],
  ["upper and lower case", "Inbox", "inbox"],
  ["with and without a blank at the end", "7", "7 "],
  ["a number and the same with a leading zero", "7", "07"],
];

describe("a socket that listens to one of two topics of the server's own kind", () => {
  for (const [why, one, other] of lookalikes)
    test(`gets nothing that is for the other: ${why}`, async () => {
      await using rig = await openRig();

      expect(await rig.count(toTopic({ userid: one }), toTopic({ userid: other }))).toBe(0);
      expect(await rig.count(toTopic({ userid: other }), toTopic({ userid: one }))).toBe(0);
    });

  test("gets nothing of a user with the letters of its user and component", async () => {
    await using rig = await openRig();

    expect(
      await rig.count(toTopic({ userid: "a:b", compid: "c" }), toTopic({ userid: "a", compid: "b:c" })),
    ).toBe(0);
  });

  test("gets what is for its own address and nothing else, whatever the ids are", async () => {
    await using rig = await openRig();
    await fc.assert(
      fc.asyncProperty(address, address, async (own, other) => {
        expect(await rig.count(toTopic(own), toTopic(own))).toBe(1);
        expect(await rig.count(toTopic(own), toTopic(other))).toBe(Bun.deepEquals(own, other) ? 1 : 0);
      }),
      { numRuns: 300 },
    );
  });
});

/** The same text, in the other ways in which the engine may hold it. */
const buildings: Readonly<Record<string, (text: string) => string>> = {
  "decoded from percent-encoding": (text) => decodeURIComponent(encodeURIComponent(text)),
  "decoded from bytes": (text) => new TextDecoder().decode(new TextEncoder().encode(text)),
  "cut from a text of 16-bit units": (text) => `☃${text}`.slice(1),
  "joined from its characters": (text) => [...text].join(""),
  "read from JSON": (text) => JSON.parse(JSON.stringify(text)),
  "taken from a query": (text) => new URLSearchParams({ text }).get("text") ?? "",
};

describe("a socket gets what is for its own id when that was", () => {
  for (const [how, build] of Object.entries(buildings))
    test(how, async () => {
      await using rig = await openRig();
      for (const text of ["7", "é", "ÿÿ", "e\u0301", "日本", "😀", "é".repeat(64), "a\u{10ffff}"]) {
        const literal = toTopic({ userid: text, compid: text });
        const built = toTopic({ userid: build(text), compid: build(text) });

        expect(await rig.count(literal, built)).toBe(1);
        expect(await rig.count(built, literal)).toBe(1);
      }
    });
});

/** A socket on a real server. */
async function openRig() {
  const opened = Promise.withResolvers<ServerWebSocket<undefined>>();
  const server = Bun.serve<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, self): Response | undefined =>
      self.upgrade(request) ? undefined : new Response(null, { status: 426 }),
    websocket: { open: opened.resolve, message: () => {} },
  });
  const client = await connect({ url: server.url.origin });
  const socket = await opened.promise;
  return {
    /** How often the socket gets what is published to `published` while it listens to `subscribed`. */
    async count(subscribed: string, published: string): Promise<number> {
      socket.subscribe(subscribed);
      server.publish(published, "published");
      // Frames keep their order, so that what has not come before this one does not come.
      socket.send("end");
      socket.unsubscribe(subscribed);
      for (let count = 0; ; count++) if ((await client.next()) === "end") return count;
    },
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.stop(true);
    },
  };
}
