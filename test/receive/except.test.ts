/**
 * A push that leaves one session out: mostly the one whose page has caused it.
 */
import { describe, expect, test } from "bun:test";
import { toReceipt } from "../support/calls.ts";
import { postBatch, toArray } from "../support/batches.ts";
import { connect } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { transports } from "../support/transports.ts";

/** The id of the only session that there is. */
async function onlySession({ url }: TestServer): Promise<string> {
  const { sessions } = (await (await fetch(`${url}/sessions`)).json()) as { sessions: { id: string }[] };
  expect(sessions).toHaveLength(1);
  return sessions[0]?.id ?? "";
}

const pushExcept = async ({ url }: TestServer, except: string, message: string) =>
  await toReceipt(await fetch(`${url}/push?userid=1&except=${except}&message=${message}`));

describe.each(transports.filter(({ isStream }) => isStream))("over $name", ({ open }) => {
  test("the session that is left out does not get it, and is not counted; all others do and are", async () => {
    await using server = await startServer();
    await using own = await open(server, { query: "userid=1" });
    const id = await onlySession(server);
    await using other = await connect(server, "userid=1");

    const receipt = await pushExcept(server, id, "not-for-me");
    await fetch(`${server.url}/push?userid=1&message=for-all`);

    expect(receipt.sessions).toBe(1);
    expect((await own.next()).data).toBe("for-all");
    expect([await other.next(), await other.next()]).toEqual(["not-for-me", "for-all"]);
  });

  test("in the midst of others, nobody's order changes", async () => {
    await using server = await startServer();
    await using own = await open(server, { query: "userid=1" });
    const id = await onlySession(server);
    await using other = await connect(server, "userid=1");

    const items = Array.from({ length: 100 }, (_, number) => ({
      userid: "1",
      message: String(number),
      ...(number % 3 === 0 && { except: id }),
    }));
    await postBatch(server, toArray(items));

    const got: string[] = [];
    while (got.length < 66) got.push((await own.next()).data);
    expect(got).toEqual(items.filter(({ except }) => except === undefined).map(({ message }) => message));
    for (const { message } of items) expect(await other.next()).toBe(message);
  });
});

test("a session that is not there, or that it is not for, leaves nobody out", async () => {
  await using server = await startServer();
  await using other = await connect(server, "userid=2");
  const id = await onlySession(server);
  await using own = await connect(server, "userid=1");

  expect((await pushExcept(server, "0".repeat(22), "one")).sessions).toBe(1);
  expect((await pushExcept(server, id, "two")).sessions).toBe(1);

  expect([await own.next(), await own.next()]).toEqual(["one", "two"]);
  expect(other.waiting).toEqual([]);
});

test("what can be no session's id is refused", async () => {
  await using server = await startServer();

  const answer = await fetch(`${server.url}/push?userid=1&except=me&message=m`);
  const ofBatch = await postBatch(server, toArray([{ userid: "1", message: "m", except: 7 }]));

  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    code: "invalid_parameter",
    detail: 'except is "me", expected the id of a session: 22 letters, digits, - and _',
  });
  expect(ofBatch.status).toBe(400);
});
