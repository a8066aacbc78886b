import { expect, test } from "bun:test";
import { push, receiveUntil, toOffset, toReceipt } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** The four forms of a push, each of which sends "hello" to whoever listens as user 123's inbox. */
const forms: readonly [string, (server: TestServer) => Promise<Response>][] = [
  ["GET /push", ({ url }) => fetch(`${url}/push?userid=123&compid=inbox&message=hello`)],
  [
    "POST /push",
    ({ url }) => fetch(`${url}/push?userid=123&compid=inbox`, { method: "POST", body: "hello" }),
  ],
  ["GET /pushtoall", ({ url }) => fetch(`${url}/pushtoall?message=hello`)],
  ["POST /pushtoall", ({ url }) => fetch(`${url}/pushtoall`, { method: "POST", body: "hello" })],
];

test("a message reaches the user's component that it is for", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123&compid=inbox");

  const answer = await fetch(`${server.url}/push?userid=123&compid=inbox&message=hello`);

  expect(await inbox.next()).toBe("hello");
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ id: expect.stringMatching(/^[0-9a-z]{8}-1$/), sessions: 1 });
});

test.each(forms)("%s delivers the message as one text frame", async (_, send) => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123&compid=inbox");

  await send(server);

  expect(await inbox.next()).toBe("hello");
});

test.each(forms)("%s is answered with 200 and how many sessions it was sent to", async (_, send) => {
  await using server = await startServer();
  await using tab = await connect(server, "userid=123&compid=inbox");
  await using otherTab = await connect(server, "userid=123&compid=inbox");

  const answer = await send(server);

  expect(answer.status).toBe(200);
  expect((await toReceipt(answer)).sessions).toBe(2);
  expect([await tab.next(), await otherTab.next()]).toEqual(["hello", "hello"]);
});

test.each(forms)("%s is answered with 202 and 0 sessions when nobody is there", async (_, send) => {
  await using server = await startServer();

  const answer = await send(server);

  expect(answer.status).toBe(202);
  expect((await toReceipt(answer)).sessions).toBe(0);
});

test.each(forms)("%s is answered as JSON that no cache keeps", async (_, send) => {
  await using server = await startServer();

  const { headers } = await send(server);

  expect(headers.get("content-type")).toBe("application/json");
  expect(headers.get("cache-control")).toBe("no-store");
});

test("a push to a user whose only session is another component's is answered with 202", async () => {
  await using server = await startServer();
  await using chart = await connect(server, "userid=123&compid=chart");

  const answer = await fetch(`${server.url}/push?userid=123&compid=inbox&message=hello`);

  expect(answer.status).toBe(202);
  expect(chart.waiting).toEqual([]);
});

test("ids count up by one, whatever the address and the form", async () => {
  await using server = await startServer();

  const receipts = [];
  for (const [, send] of forms) receipts.push(await toReceipt(await send(server)));

  const [epoch] = receipts[0]?.id.split("-") ?? [];
  expect(receipts.map(({ id }) => id)).toEqual([1, 2, 3, 4].map((offset) => `${epoch}-${offset}`));
});

test("a push that is refused takes no id", async () => {
  await using server = await startServer();
  const before = await push(server, "userid=1", "first");

  await fetch(`${server.url}/push?userid=1&comp=inbox&message=lost`);

  expect(toOffset(await push(server, "userid=1", "second"))).toBe(toOffset(before) + 1);
});

test.each(["GET", "POST"])("%s takes an event name of 64 bytes", async (method) => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123");
  const query = `userid=123&event=${encodeURIComponent("é".repeat(32))}`;

  const answer =
    method === "GET"
      ? await fetch(`${server.url}/push?${query}&message=hello`)
      : await fetch(`${server.url}/push?${query}`, { method, body: "hello" });

  expect(answer.status).toBe(200);
  expect(await inbox.next()).toBe("hello");
});

test("the parameter _ is ignored, as often as it comes and whatever it holds", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123&_=1");

  const answer = await fetch(`${server.url}/push?_=1700000000000&userid=123&_&message=hello&_=`);

  expect(answer.status).toBe(200);
  expect(await inbox.next()).toBe("hello");
});

test("a plus sign in a query is a space, and an encoded one is a plus sign", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=a+b%20c%2Bd");

  await fetch(`${server.url}/push?userid=a%20b+c%2Bd&message=1+1%2B1`);

  expect(await inbox.next()).toBe("1 1+1");
});

test("an id of 128 bytes of UTF-8 is a user like any other", async () => {
  await using server = await startServer();
  const userid = encodeURIComponent("😀".repeat(32));
  await using inbox = await connect(server, `userid=${userid}`);

  const { sessions } = await push(server, `userid=${userid}`, "hello");

  expect(sessions).toBe(1);
  expect(await inbox.next()).toBe("hello");
});

test("messages that are pushed one after the other arrive in that order", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123&compid=inbox");
  const sent = Array.from({ length: 200 }, (_, index) => `message ${index}`);

  // Each by another of the session's four topics.
  for (const [index, message] of sent.entries())
    await push(server, ["userid=123&compid=inbox", "userid=123", "compid=inbox"][index % 3] ?? "", message);
  await push(server, "userid=123", "end");

  expect(await receiveUntil(inbox, "end")).toEqual(sent);
});

test("concurrent pushes arrive at every receiver in the one order of their ids", async () => {
  await using server = await startServer();
  await using first = await connect(server, "userid=123&compid=inbox");
  await using second = await connect(server, "userid=123&compid=inbox");
  await using third = await connect(server, "userid=123&compid=inbox");

  const receipts = await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const query = ["userid=123&compid=inbox", "userid=123", "compid=inbox"][index % 3] ?? "";
      return { message: `message ${index}`, ...(await push(server, query, `message ${index}`)) };
    }),
  );
  await push(server, "userid=123", "end");

  const order = receipts.toSorted((a, b) => toOffset(a) - toOffset(b)).map(({ message }) => message);
  expect(await receiveUntil(first, "end")).toEqual(order);
  expect(await receiveUntil(second, "end")).toEqual(order);
  expect(await receiveUntil(third, "end")).toEqual(order);
});
