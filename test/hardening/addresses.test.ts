/**
 * Attacks with addresses: ids that look alike, or that are written in another way. What differs in a single character is somebody else; what
 * is only written differently is the same.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { push, pushToAll, receiveUntil } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { toHandshake } from "../support/frames.ts";
import { exchange, openRaw, type RawAnswer } from "../support/raw.ts";
import { openSiege, rejections, type Siege } from "../support/siege.ts";
import type { ServerProcess } from "../support/process.ts";

let siege: Siege;

beforeAll(async () => {
  siege = await openSiege();
});

afterAll(async () => {
  await siege[Symbol.asyncDispose]();
});

const toQuery = (ids: Readonly<Record<string, string>>) => new URLSearchParams(ids).toString();

/** Pushes with a query that is written by hand; its characters are bytes. */
async function get(server: ServerProcess, query: string): Promise<RawAnswer> {
  return await exchange(server, `GET /push?${query} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
}

/** Ids that a normal form, a case folding, a trimming or a wrong decoding makes one. */
const lookalikes: readonly (readonly [why: string, ...ids: string[]])[] = [
  ["é, composed and decomposed (NFC, NFD)", "caf\u00e9", "cafe\u0301"],
  ["Å, the letter, the sign and decomposed", "\u00c5", "\u212b", "A\u030a"],
  ["the ligature fi and its letters (NFKC)", "\ufb01le", "file"],
  ["wide and narrow letters (NFKC)", "\uff41dmin", "admin"],
  ["a superscript and a digit (NFKC)", "user\u00b2", "user2"],
  ["two marks in two orders", "a\u0323\u0307", "a\u0307\u0323"],
  ["Hangul, whole and in letters", "\ud55c", "\u1112\u1161\u11ab"],
  ["Latin, Cyrillic and Greek letters", "ao", "\u0430o", "a\u03bf"],
  ["upper and lower case", "Admin", "admin", "ADMIN"],
  ["the Turkish i's", "i", "I", "\u0130", "\u0131"],
  ["ß and ss", "stra\u00dfe", "strasse"],
  ["invisible characters", "admin", "ad\u200bmin", "admin\u2060", "\ufeffadmin", "admin\u00ad"],
  ["blanks around it", "7", " 7", "7 ", "\u00a07", "7\u3000"],
  ["numbers", "7", "07", "7.0", "+7", "7e0", "\u0667"],
  ["percent signs that are part of it", "%41", "A", "%2541"],
  ["UTF-8 that is read as Latin-1", "\u00e9", "\u00c3\u00a9"],
  ["a direction that is turned around", "nimda", "\u202eadmin"],
  ["separators of other systems", "a:b", "a/b", "a.b", "a|b", "a,b", "a\\b", "a;b", "a#b", "a*", "a>"],
  ["names from every object", "__proto__", "constructor", "toString", "hasOwnProperty"],
];

describe("ids that differ", () => {
  // Who registers as "ad\u200bmin" must not be sent what is for "admin".
  for (const [why, ...ids] of lookalikes)
    test(`are different users, components and both: ${why}`, async () => {
      const addresses = ids.flatMap((id) => [
        { userid: id },
        { compid: id },
        { userid: id, compid: "inbox" },
        { userid: "1", compid: id },
      ]);

      await siege.withstand(
        async (server) => {
          const clients = await Promise.all(
            ids.flatMap((id) => [
              connect(server, toQuery({ userid: id, compid: "inbox" })),
              connect(server, toQuery({ userid: "1", compid: id })),
            ]),
          );
          for (const address of addresses)
            expect((await push(server, toQuery(address), JSON.stringify(address))).sessions).toBe(1);
          await pushToAll(server, "end");

          for (const [index, id] of ids.entries()) {
            const [asUser, asComponent] = clients.slice(2 * index);
            if (asUser === undefined || asComponent === undefined) throw new Error("there are two for each");
            expect(await receiveUntil(asUser, "end")).toEqual([
              JSON.stringify({ userid: id }),
              JSON.stringify({ userid: id, compid: "inbox" }),
            ]);
            expect(await receiveUntil(asComponent, "end")).toEqual([
              JSON.stringify({ compid: id }),
              JSON.stringify({ userid: "1", compid: id }),
            ]);
          }
          for (const client of clients) client.socket.close();
        },
        { server_push_sessions_opened_total: 2 * ids.length },
      );
    });
});

describe("an id that is written differently", () => {
  /** The ways to write one id in a query; characters are bytes here. */
  const spellings: readonly (readonly [id: string, ...written: string[]])[] = [
    ["A", "A", "%41"],
    ["caf\u00e9", "caf%C3%A9", "caf%c3%a9", "c%61f%C3%a9", Buffer.from("caf\u00e9").toString("latin1")],
    ["a b", "a+b", "a%20b"],
    ["a+b", "a%2Bb", "a%2bb"],
    ["~-._!*'()", "~-._!*'()", "%7e%2D%2e%5F%21%2a%27%28%29"],
    ["\u{1f600}", "%F0%9F%98%80", "%f0%9f%98%80"],
    ["%41", "%2541", "%254%31"],
    ["a=b", "a=b", "a%3Db"],
  ];

  // Two spellings of one address with two sets of receivers would be a way around whoever looks at only one of them.
  test.each(spellings)("is the same address: %j", async (id, ...written) => {
    await siege.withstand(
      async (server) => {
        const receivers = await Promise.all(
          written.map(async (spelling) => {
            const raw = await openRaw(server);
            await raw.write(toHandshake(`userid=${spelling}&compid=${spelling}`));
            expect((await raw.answer()).status).toBe(101);
            return raw;
          }),
        );

        for (const spelling of written)
          for (const query of [
            `userid=${spelling}`,
            `compid=${spelling}`,
            `userid=${spelling}&compid=${spelling}`,
          ]) {
            const answer = await get(server, `${query}&message=m`);
            expect([answer.status, JSON.parse(answer.body).sessions]).toEqual([200, written.length]);
          }
        expect((await push(server, toQuery({ userid: id }), "m")).sessions).toBe(written.length);
        for (const raw of receivers) raw.reset();
      },
      { server_push_sessions_opened_total: written.length },
    );
  });

  // What is no UTF-8 has no spelling: taken for U+FFFD, all such ids would be one.
  test.each([
    "%ff",
    "%c3",
    "%c0%80",
    "%ed%a0%80",
    "%f5%80%80%80",
    "\xff",
    "%EF%BF%BD",
    "%",
    "%4",
    "%zz",
    "%u0041",
  ])("as %j is refused, as it is no text", async (written) => {
    await siege.withstand(
      async (server) => {
        for (let turn = 0; turn < 20; turn++)
          for (const name of ["userid", "compid"]) {
            expect((await get(server, `${name}=${written}&message=m`)).status).toBe(400);
            expect((await exchange(server, toHandshake(`${name}=${written}`))).status).toBe(400);
          }
      },
      { [rejections("invalid_parameter")]: 80, server_push_sessions_opened_total: 0 },
    );
  });
});
