/**
 * Whom a message reaches, and that it reaches nobody else: a last message to all closes every receiver's list, and what
 * came before it is all that came.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { push, pushToAll, receiveUntil } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

const queries = [
  "userid=1&compid=inbox",
  "userid=1&compid=chart",
  "userid=2&compid=inbox",
  "userid=2&compid=chart",
  "userid=1",
  "compid=inbox",
  "",
] as const;

type Query = (typeof queries)[number];

const reached: readonly (readonly [address: string, Query[]])[] = [
  ["userid=1&compid=inbox", ["userid=1&compid=inbox"]],
  ["userid=2&compid=chart", ["userid=2&compid=chart"]],
  ["userid=1", ["userid=1&compid=inbox", "userid=1&compid=chart", "userid=1"]],
  ["userid=2", ["userid=2&compid=inbox", "userid=2&compid=chart"]],
  ["compid=inbox", ["userid=1&compid=inbox", "userid=2&compid=inbox", "compid=inbox"]],
  ["compid=chart", ["userid=1&compid=chart", "userid=2&compid=chart"]],
  // The other way round, and what is close to an id: none of it is that id.
  ["userid=inbox&compid=1", []],
  ["userid=inbox", []],
  ["compid=1", []],
  ["userid=1%20", []],
  ["userid=01", []],
  ["compid=Inbox", []],
];

describe("with a session of every kind", () => {
  let server: TestServer;
  let clients: ReadonlyMap<Query, TestClient>;

  beforeAll(async () => {
    server = await startServer();
    clients = new Map(
      await Promise.all(queries.map(async (query) => [query, await connect(server, query)] as const)),
    );
  });

  afterAll(async () => {
    for (const client of clients.values()) await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const receivers = async (end: string) => {
    const lists = [...clients].map(async ([query, client]) => ({
      query,
      received: await receiveUntil(client, end),
    }));
    return (await Promise.all(lists)).filter(({ received }) => received.length > 0);
  };

  test.each(reached)("a message for %s reaches exactly the sessions %j", async (address, expected) => {
    const { sessions } = await push(server, address, "hello");
    await pushToAll(server, `end of ${address}`);

    expect(await receivers(`end of ${address}`)).toEqual(
      queries.filter((query) => expected.includes(query)).map((query) => ({ query, received: ["hello"] })),
    );
    expect(sessions).toBe(expected.length);
  });

  test("a message to all reaches every session once", async () => {
    const { sessions } = await pushToAll(server, "hello");
    await pushToAll(server, "end of all");

    expect(await receivers("end of all")).toEqual(queries.map((query) => ({ query, received: ["hello"] })));
    expect(sessions).toBe(queries.length);
  });
});

/** Ids of the characters that a careless topic name would be built with: nearly every pair of them is a near miss. */
const id = fc.string({ unit: fc.constantFrom(..."1:abcu/ \u{1f600}"), minLength: 1, maxLength: 3 });

test("an address reaches no session of another address, whatever the ids contain", async () => {
  await using server = await startServer();
  await fc.assert(
    fc.asyncProperty(id, id, id, id, async (userid, compid, otherUserid, otherCompid) => {
      const address = `${new URLSearchParams({ userid, compid })}`;
      await using other = await connect(
        server,
        `${new URLSearchParams({ userid: otherUserid, compid: otherCompid })}`,
      );

      const { sessions } = await push(server, address, "hello");
      await pushToAll(server, "end");

      const isSame = userid === otherUserid && compid === otherCompid;
      expect(await receiveUntil(other, "end")).toEqual(isSame ? ["hello"] : []);
      expect(sessions).toBe(isSame ? 1 : 0);
    }),
    {
      numRuns: 200,
      examples: [
        ["1", "1", "1", "1"],
        ["a:b", "c", "a", "b:c"],
        ["1", ":a", "1:", "a"],
      ],
    },
  );
});
