/**
 * What nobody has thought of: requests, frames and tokens at random, to a server that is open and to one that has a key. Whatever comes,
 * it is answered or its connection ends, and no answer is a mistake of the server; the process lives, a session that does nothing wrong
 * gets every message, and every line of the log is a JSON object without a secret. For how long and from which seed: support/fuzz.ts.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { opcodes, openRawSession, type RawSession, toFrame, toHandshake } from "../support/frames.ts";
import { fuzzServerTest, isPatient, within } from "../support/fuzz.ts";
import { content, contentWithTokens, toBytes, toText, write } from "../support/fuzz-frames.ts";
import { clientQuery, type FuzzedRequest, pushQuery, requests } from "../support/fuzz-requests.ts";
import { FuzzedServer, promptMs, type Witness } from "../support/fuzz-server.ts";
import { issuerKeys, tokenRecipe, toToken } from "../support/fuzz-tokens.ts";
import { openRaw, type RawConnection } from "../support/raw.ts";
import { apiKey, mint } from "../support/tokens.ts";

let open: FuzzedServer;
let locked: FuzzedServer;
let token: string;

beforeAll(async () => {
  [open, locked] = await Promise.all([
    FuzzedServer.start({ isLocked: false }),
    FuzzedServer.start({
      isLocked: true,
      // So that what is said of addresses is read; and no rate of theirs is what everything ends with.
      settings: async (folder) => {
        await Bun.write(folder.file("keys.json"), JSON.stringify({ keys: issuerKeys.map(({ jwk }) => jwk) }));
        return {
          jwks: folder.file("keys.json"),
          "trusted-proxies": "loopback",
          "max-session-rate": "1000000",
          "max-sessions-per-address": "1000000",
          "allow-origin": "https://app.example.com,https://*.partner.example.com",
        };
      },
    }),
  ]);
  token = await mint(locked, "userid=1&expires=31536000");
});

afterAll(async () => {
  await open[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
});

/** The status of every answer in what has arrived. */
function statusesIn(raw: RawConnection): number[] {
  const text = raw.received.toString("latin1");
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

/** Sends this, and gives the status of every answer: at once when an answer is due, else when the connection has ended. */
async function statusesOf(server: FuzzedServer, { text, isWhole }: FuzzedRequest): Promise<number[]> {
  await using raw = await openRaw(server);
  await raw.write(text);
  if (!isWhole) raw.finish();
  await within(promptMs, "an answer, or the end of the connection", isWhole ? untilAnswered(raw) : raw.ended);
  return statusesIn(raw);
}

async function untilAnswered(raw: RawConnection): Promise<void> {
  const head = raw.take((received) =>
    received.includes("\r\n\r\n") ? { value: undefined, length: 0 } : undefined,
  );
  await Promise.race([head, raw.ended]).catch(() => {});
}

/** 505 is what Bun says of another version of HTTP. */
function expectNoMistake(statuses: readonly number[]): void {
  expect(statuses.filter((status) => status >= 500 && status !== 505)).toEqual([]);
}

/** Sends them all at once, and gives the statuses of all answers. */
async function sendAll(server: FuzzedServer, all: readonly FuzzedRequest[], witness: Witness) {
  const answers = await witness.settleUntil(Promise.all(all.map((one) => statusesOf(server, one))));
  for (const [index, statuses] of answers.entries()) {
    expectNoMistake(statuses);
    if (all[index]?.isWhole === true) expect(statuses).not.toEqual([]);
  }
  return answers;
}

const several = <Value>(values: fc.Arbitrary<Value>) => fc.array(values, { minLength: 1, maxLength: 6 });

fuzzServerTest("no requests are too much for a server that is open", 0.14, () => ({
  server: open,
  values: several(requests({ authorizations: ["Bearer x", ""], queryStarts: ["", "", "token=x&"] })),
  async check(all, witness) {
    await sendAll(open, all, witness);
  },
}));

fuzzServerTest("no requests with its key are too much for a server that has one", 0.16, () => ({
  server: locked,
  values: several(
    requests({
      authorizations: [`Bearer ${apiKey}`, `Bearer ${apiKey}`, `Bearer ${token}`],
      queryStarts: ["", "", "", `token=${token}&`],
    }),
  ),
  async check(all, witness) {
    await sendAll(locked, all, witness);
  },
}));

fuzzServerTest("no requests without its key push anything to a server that has one", 0.1, () => ({
  server: locked,
  values: several(
    requests({ authorizations: ["Bearer x", `Bearer ${apiKey}x`, "Basic x"], queryStarts: [""] }),
  ),
  async check(all, witness) {
    const before = await witness.settle();
    const answers = await Promise.all(all.map((one) => statusesOf(locked, one)));
    for (const statuses of answers) expectNoMistake(statuses);
    expect(await witness.settle()).toBe(before + 1);
  },
}));

fuzzServerTest("no query of a push is answered with anything but taken or refused", 0.03, () => ({
  server: open,
  values: fc.record({ path: fc.constantFrom("/push", "/pushtoall"), query: pushQuery }),
  async check({ path, query }) {
    const text = `GET ${path}?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;

    const [status = 0, ...more] = await statusesOf(open, { text, isWhole: true });

    expect([200, 202, 400, 413]).toContain(status);
    expect(more).toEqual([]);
  },
}));

fuzzServerTest("a handshake and the same request without one agree about every query", 0.04, () => ({
  server: open,
  values: clientQuery,
  async check(query) {
    const handshake = await statusesOf(open, { text: toHandshake(query), isWhole: true });
    const plain = `GET /ws?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;

    const statuses = await statusesOf(open, { text: plain, isWhole: true });

    expect([statuses, handshake]).toEqual(handshake[0] === 101 ? [[426], [101]] : [[400], [400]]);
  },
}));

/** A request that stops before its end. What has nothing but a head stops in that, or it would be a whole one. */
const unfinished = fc
  .tuple(requests({ authorizations: ["Bearer x"], queryStarts: [""] }), fc.nat())
  .map(([{ text }, at]) => {
    const head = text.indexOf("\r\n\r\n");
    return text.slice(0, at % (text.startsWith("POST") || head === -1 ? text.length : head));
  });

// Only the server's timeout ends them. That takes so long that there is one run of many at once, which is not made smaller.
if (isPatient)
  fuzzServerTest("no request that does not go on keeps its connection", 0.01, () => ({
    server: open,
    values: fc.noShrink(fc.array(unfinished, { minLength: 300, maxLength: 300 })),
    async check(all) {
      const ends = all.map(async (text) => {
        await using raw = await openRaw(open);
        await raw.write(text);
        // What is refused before all of it has come may be answered, and what bytes at random have made of it may be whole.
        await within(30_000, `an answer to ${JSON.stringify(text)}, or its end`, untilAnswered(raw));
        expectNoMistake(statusesIn(raw));
      });
      await Promise.all(ends);
    },
  }));

const servers = {
  open: () => ({ server: open, headers: [] as const }),
  locked: () => ({ server: locked, headers: [`Authorization: Bearer ${token}`] as const }),
};

for (const [which, toServer] of Object.entries(servers)) {
  fuzzServerTest(`no bytes after a handshake are too much for a server that is ${which}`, 0.05, () => {
    const { server, headers } = toServer();
    return {
      server,
      values: fc.record({
        isPushV1: fc.boolean(),
        writes: fc.array(write, { minLength: 1, maxLength: 8 }),
        isInOne: fc.boolean(),
      }),
      async check({ isPushV1, writes, isInOne }) {
        const protocol = isPushV1 ? ["Sec-WebSocket-Protocol: push.v1"] : [];
        await using session = await openRawSession(server, "userid=1", [...headers, ...protocol]);
        const all = writes.map(toBytes);

        for (const bytes of isInOne ? [Buffer.concat(all)] : all) await session.raw.write(bytes);
        session.raw.finish();

        await within(promptMs, "the end of the session", session.raw.ended);
      },
    };
  });

  fuzzServerTest(
    `no text in a frame of push.v1 ends its session with a server that is ${which}`,
    0.06,
    () => {
      const { server, headers } = toServer();
      return {
        server,
        values: fc.array(server.isLocked ? contentWithTokens : content, { minLength: 1, maxLength: 8 }),
        async check(contents, witness) {
          const lines = [...headers, "Sec-WebSocket-Protocol: push.v1"];
          await using session = await openRawSession(server, "userid=1", lines);
          const frames = contents.map((one) => toFrame(opcodes.text, toText(one)));

          await session.raw.write(Buffer.concat([...frames, toFrame(opcodes.ping, "last")]));

          const types = await witness.settleUntil(
            within(promptMs, "the answer to a ping", untilPong(session)),
          );
          expect(["welcome", "message", "position", "error"]).toEqual(expect.arrayContaining(types));
        },
      };
    },
  );
}

/** The types of the frames before the answer to a ping; each is JSON. */
async function untilPong(session: RawSession): Promise<string[]> {
  const types: string[] = [];
  for (let frame = await session.frame(); frame.opcode !== opcodes.pong; frame = await session.frame())
    types.push(frame.opcode === opcodes.text ? JSON.parse(frame.payload.toString()).type : "none");
  return types;
}

/** Where a token is brought, and how it can stand there. */
const bringings: Readonly<Record<string, (text: string) => string>> = {
  "the query": (text) =>
    `GET /poll?wait=0&token=${encodeURIComponent(text)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
  Authorization: (text) => `GET /sse HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${text}\r\n\r\n`,
  "a subprotocol": (text) => toHandshake("", [`Sec-WebSocket-Protocol: push.v1, bearer.${text}`]),
};

fuzzServerTest(
  "nobody is let in with a token that was not signed for them, wherever they bring it",
  0.1,
  () => ({
    server: locked,
    values: several(fc.record({ recipe: tokenRecipe, where: fc.constantFrom(...Object.keys(bringings)) })),
    async check(all) {
      const outcomes = all.map(async ({ recipe, where }) => {
        const { text, good } = toToken(recipe);
        const request = bringings[where]?.(text) ?? "";

        const [status = 0] = await statusesOf(locked, { text: request, isWhole: true });

        // What ends an item of a list of subprotocols, and blanks around a value, are not of the token.
        const brought = where === "a subprotocol" ? text.split(",", 1)[0] : text;
        const isGood = brought?.trim() === good;
        expect(isGood ? [101, 200, 400, 401, 403] : [400, 401, 403]).toContain(status);
      });
      await Promise.all(outcomes);
    },
  }),
);

test("a token that is right is let in by all the ways to bring it", async () => {
  for (const toRequest of Object.values(bringings)) {
    const [status] = await statusesOf(locked, { text: toRequest(token), isWhole: true });

    expect([101, 200]).toContain(status ?? 0);
  }
});
