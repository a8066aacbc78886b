/**
 * Clients that push: over push.v1, with --client-push, and within what their tokens say.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type TestClient } from "../support/client.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";
import { apiKey, mint } from "../support/tokens.ts";

type Frame = Readonly<Record<string, unknown>>;

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ "api-key": apiKey, "client-push": "true" });
});
afterAll(() => server[Symbol.asyncDispose]());

/** A session of push.v1 with a token for this query. */
async function open(target: TestServer, query: string, more = ""): Promise<TestClient> {
  return await connect(target, `token=${await mint(target, query)}${more}`, ["push.v1"]);
}

async function nextOf(client: TestClient, ...types: readonly string[]): Promise<Frame> {
  for (;;) {
    const frame: Frame = JSON.parse(String(await client.next()));
    if (types.includes(String(frame["type"]))) return frame;
  }
}

async function pushFrom(client: TestClient, frame: Frame): Promise<Frame> {
  client.send(JSON.stringify({ type: "push", ...frame }));
  return await nextOf(client, "receipt", "error");
}

describe("a client whose token lets it", () => {
  test("pushes to a component of all users, and is told to how many sessions it went", async () => {
    await using one = await open(server, "userid=1&compid=chat&push=chat,cursor");
    await using other = await open(server, "userid=2&compid=chat");

    const receipt = await pushFrom(one, { compid: "chat", data: "hello", event: "said", ref: "r1" });

    expect(receipt).toEqual({
      type: "receipt",
      id: expect.stringMatching(/^\w{8}-\d+$/),
      sessions: 2,
      ref: "r1",
    });
    expect(await nextOf(other, "message")).toEqual({
      type: "message",
      id: receipt["id"],
      event: "said",
      data: "hello",
    });
  });

  test("pushes to its own user, and any of its components, with * as its claim", async () => {
    await using page = await open(server, "userid=own&push=*");
    await using inbox = await open(server, "userid=own&compid=inbox");

    expect(await pushFrom(page, { userid: "own", data: "one" })).toMatchObject({ sessions: 2 });
    expect(await pushFrom(page, { userid: "own", compid: "inbox", data: "two" })).toMatchObject({
      sessions: 1,
    });

    expect(await nextOf(inbox, "message")).toMatchObject({ data: "one" });
    expect(await nextOf(inbox, "message")).toMatchObject({ data: "two" });
  });

  test("does not push to the component that is called * of everybody, with * as its claim", async () => {
    await using page = await open(server, "userid=own&push=*");

    expect(await pushFrom(page, { compid: "*", data: "one" })).toMatchObject({ code: "forbidden" });
  });

  test("leaves itself out where it says so", async () => {
    await using page = await open(server, "userid=except&push=*");
    const { session } = await nextOf(page, "welcome");

    const receipt = await pushFrom(page, { userid: "except", data: "m", except: session });

    expect(receipt).toMatchObject({ type: "receipt", sessions: 0 });
  });

  test("has what it has pushed in the journal, for who comes later", async () => {
    await using page = await open(server, "userid=later&push=*");
    const { id } = await pushFrom(page, {
      userid: "later",
      compid: "inbox",
      data: "kept",
      key: "k",
      ttl: 60,
    });
    const [epoch, offset] = String(id).split("-");

    await using late = await open(
      server,
      "userid=later&compid=inbox",
      `&since=${epoch}-${Number(offset) - 1}`,
    );

    expect(await nextOf(late, "message")).toMatchObject({ id, data: "kept" });
  });
});

describe("a client may not push", () => {
  const forbidden: readonly (readonly [string, string, Frame])[] = [
    ["without the claim", "userid=1", { userid: "1", data: "m" }],
    ["to another user with *", "userid=1&push=*", { userid: "2", data: "m" }],
    ["to another user's component", "userid=1&push=chat", { userid: "2", compid: "chat", data: "m" }],
    ["to a component of all with *", "userid=1&push=*", { compid: "chat", data: "m" }],
    ["to a component that is not named", "userid=1&push=chat", { compid: "other", data: "m" }],
    ["to its own user with a component's name", "userid=1&push=chat", { userid: "1", data: "m" }],
  ];
  test.each(forbidden)("%s", async (_, query, frame) => {
    await using page = await open(server, query);

    expect(await pushFrom(page, { ...frame, ref: "r" })).toMatchObject({
      type: "error",
      code: "forbidden",
      ref: "r",
    });
  });

  test("what is no message", async () => {
    await using page = await open(server, "userid=1&push=*,chat");
    const wrong: readonly (readonly [Frame, string])[] = [
      [{ data: "m" }, "missing_address"],
      [{ userid: "1" }, "malformed_frame"],
      [{ userid: "1", data: 7 }, "malformed_frame"],
      [{ userid: 1, data: "m" }, "malformed_frame"],
      [{ userid: { toString: 1 }, data: "m" }, "malformed_frame"],
      [{ userid: "1", data: "\ud800" }, "malformed_frame"],
      [{ userid: "1", data: "m", ref: "x".repeat(65) }, "malformed_frame"],
      [{ userid: "1", data: "m", ttl: "60" }, "malformed_frame"],
      [{ userid: "1", data: "" }, "empty_message"],
      [{ userid: "1", data: "m", ttl: -1 }, "invalid_parameter"],
      [{ userid: "1", data: "m", event: "push.x" }, "invalid_parameter"],
      [{ userid: "1", data: "m", except: "me" }, "invalid_parameter"],
      [{ userid: "1", compid: "", data: "m" }, "empty_parameter"],
      [{ userid: "1", compid: "\n", data: "m" }, "invalid_parameter"],
      [{ userid: "1", compid: "x".repeat(129), data: "m" }, "invalid_parameter"],
    ];

    for (const [frame, code] of wrong)
      expect({ frame, answer: await pushFrom(page, frame) }).toMatchObject({
        frame,
        answer: { type: "error", code },
      });
  });

  test("where --client-push is off", async () => {
    await using off = await startServer({ "api-key": apiKey });
    await using page = await open(off, "userid=1&push=*");

    expect(await pushFrom(page, { userid: "1", data: "m" })).toMatchObject({
      type: "error",
      code: "forbidden",
      detail: "clients may not push here, expected a server with --client-push",
    });
  });

  test("more than a publisher may, each user by itself", async () => {
    await using limited = await startServer({
      "api-key": apiKey,
      "client-push": "true",
      "max-push-rate": "1",
    });
    await using page = await open(limited, "userid=1&push=*");
    await using other = await open(limited, "userid=2&push=*");
    for (let index = 0; index < 10; index++)
      expect(await pushFrom(page, { userid: "1", data: "m" })).toMatchObject({ type: "receipt" });

    expect(await pushFrom(page, { userid: "1", data: "m" })).toMatchObject({ code: "rate_limited" });
    expect(await pushFrom(other, { userid: "2", data: "m" })).toMatchObject({ type: "receipt" });
  });
});

test("a new token brings its own rights, and takes those of the one before", async () => {
  await using page = await open(server, "userid=renew&push=*");

  page.send(JSON.stringify({ type: "token", token: await mint(server, "userid=renew&push=chat") }));

  expect(await pushFrom(page, { compid: "chat", data: "m" })).toMatchObject({ type: "receipt" });
  expect(await pushFrom(page, { userid: "renew", data: "m" })).toMatchObject({ code: "forbidden" });
});

test("refusals are counted", async () => {
  await using own = await startServer({
    "api-key": apiKey,
    "client-push": "true",
    "public-metrics": "true",
  });
  await using page = await open(own, "userid=1");
  await pushFrom(page, { userid: "1", data: "m" });

  expect((await readMetrics(own)).get('server_push_rejections_total{code="forbidden"}')).toBe(1);
});
