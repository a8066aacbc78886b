/**
 * Who is there, and how the back end ends sessions: on every transport.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { startServer, type TestServer } from "../support/server.ts";

interface Page {
  readonly sessions: readonly {
    readonly id: string;
    readonly userid?: string;
    readonly compid?: string;
    readonly transport: string;
    readonly since: string;
    readonly address: string;
  }[];
  readonly next?: string;
}

async function read<Body>({ url }: TestServer, path: string, method = "GET"): Promise<Body> {
  const answer = await fetch(`${url}${path}`, { method });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Body;
}

const openStream = ({ url }: TestServer, query: string) => fetch(`${url}/sse?${query}`);

describe("presence", () => {
  test("says whether a user is there, with which components, and since when", async () => {
    await using server = await startServer();
    const before = Date.now();
    await using clients = new AsyncDisposableStack();
    clients.use(await connect(server, "userid=123&compid=inbox"));
    clients.use(await connect(server, "userid=123&compid=chart"));

    const { since, ...rest } = await read<{ since: string }>(server, "/presence?userid=123");

    expect(rest).toEqual({ online: true, sessions: 2, components: ["chart", "inbox"] } as object);
    expect(Date.parse(since)).toBeWithin(before, Date.now() + 1);
    expect(await read<object>(server, "/presence?userid=124")).toEqual({
      online: false,
      sessions: 0,
      components: [],
    });
  });

  test("is asked for by component, by both, and for all", async () => {
    await using server = await startServer();
    await using clients = new AsyncDisposableStack();
    clients.use(await connect(server, "userid=1&compid=inbox"));
    clients.use(await connect(server, "userid=2&compid=inbox"));
    clients.use(await connect(server, "userid=2&compid=chart"));

    expect(await read<object>(server, "/presence?compid=inbox")).toEqual({ online: true, sessions: 2 });
    expect(await read<object>(server, "/presence?userid=2&compid=inbox")).toMatchObject({
      online: true,
      sessions: 1,
    });
    expect(await read<object>(server, "/presence")).toEqual({
      sessions: 3,
      users: 2,
      components: [
        { compid: "inbox", sessions: 2 },
        { compid: "chart", sessions: 1 },
      ],
    });
  });

  test("counts event streams and polls too, and who reloads has not gone", async () => {
    await using server = await startServer();
    const stream = await openStream(server, "userid=123");
    const polled = fetch(`${server.url}/poll?userid=123&wait=5`);
    await eventually(
      "both",
      async () => (await read<{ sessions: number }>(server, "/presence?userid=123")).sessions === 2,
    );

    await read(server, "/sessions?userid=123", "DELETE");
    expect((await polled).status).toBe(200);
    await stream.body?.cancel();

    expect(await read<object>(server, "/presence?userid=123")).toMatchObject({ online: true, sessions: 0 });
  });
});

describe("the list of sessions", () => {
  test("has what is known of each, in the order in which they began", async () => {
    await using server = await startServer();
    await using clients = new AsyncDisposableStack();
    clients.use(await connect(server, "userid=1&compid=inbox"));
    const stream = await openStream(server, "userid=2");

    const { sessions, next } = await read<Page>(server, "/sessions");

    expect(next).toBeUndefined();
    expect(sessions).toEqual([
      {
        id: expect.stringMatching(/^[\w-]{22}$/),
        userid: "1",
        compid: "inbox",
        transport: "websocket",
        since: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        address: "loopback",
      },
      expect.objectContaining({ userid: "2", transport: "sse" }),
    ]);
    await stream.body?.cancel();
  });

  test("comes in pages that neither repeat nor leave out who stays, while others come and go", async () => {
    await using server = await startServer();
    const clients = await Promise.all(
      Array.from({ length: 25 }, (_, number) => connect(server, `userid=${number}`)),
    );
    const ids: string[] = [];
    let after = "";
    do {
      const page = await read<Page>(server, `/sessions?limit=10${after && `&after=${after}`}`);
      ids.push(...page.sessions.map(({ id }) => id));
      after = page.next ?? "";
      clients.shift()?.socket.close();
      clients.push(await connect(server, "userid=late"));
    } while (after !== "" && ids.length < 100);

    expect(new Set(ids).size).toBe(ids.length);
    const { sessions } = await read<Page>(server, "/sessions?limit=1000");
    const stayed = sessions.filter(({ userid }) => userid !== "late").map(({ id }) => id);
    expect(stayed.length).toBeGreaterThan(20);
    for (const id of stayed) expect(ids).toContain(id);
    for (const client of clients) await client[Symbol.asyncDispose]();
  });

  test("is narrowed down by user and component", async () => {
    await using server = await startServer();
    await using clients = new AsyncDisposableStack();
    clients.use(await connect(server, "userid=1&compid=inbox"));
    clients.use(await connect(server, "userid=1&compid=chart"));
    clients.use(await connect(server, "userid=2&compid=chart"));
    const list = async (query: string) =>
      (await read<Page>(server, `/sessions?${query}`)).sessions.map(
        ({ userid, compid }) => `${userid} ${compid}`,
      );

    expect(await list("userid=1")).toEqual(["1 inbox", "1 chart"]);
    expect(await list("compid=chart")).toEqual(["1 chart", "2 chart"]);
    expect(await list("userid=1&compid=chart")).toEqual(["1 chart"]);
    expect(await list("userid=3")).toEqual([]);
  });
});

describe("ending sessions", () => {
  test("closes those of a user, and tells them to stay away", async () => {
    await using server = await startServer();
    await using one = await connect(server, "userid=1");
    await using two = await connect(server, "userid=1&compid=inbox");
    await using other = await connect(server, "userid=2");

    expect(await read<object>(server, "/sessions?userid=1", "DELETE")).toEqual({ closed: 2 });

    expect(await one.closed).toEqual({ code: 4500, reason: "the back end has ended the session" });
    expect((await two.closed).code).toBe(4500);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
  });

  test("tells them to come back where it is asked for", async () => {
    await using server = await startServer();
    await using one = await connect(server, "compid=inbox");

    expect(await read<object>(server, "/sessions?compid=inbox&back=true", "DELETE")).toEqual({ closed: 1 });

    expect((await one.closed).code).toBe(4000);
  });

  test("closes the one with this id, and nobody when there is none", async () => {
    await using server = await startServer();
    await using one = await connect(server, "userid=1");
    await using other = await connect(server, "userid=1");
    const [first] = (await read<Page>(server, "/sessions")).sessions;

    expect(await read<object>(server, `/sessions?session=${first?.id}`, "DELETE")).toEqual({ closed: 1 });
    expect((await one.closed).code).toBe(4500);
    expect(await read<object>(server, `/sessions?session=${first?.id}`, "DELETE")).toEqual({ closed: 0 });
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
  });

  test("ends event streams, and answers polls", async () => {
    await using server = await startServer();
    const stream = await openStream(server, "userid=1");
    const text = stream.text();
    const polled = fetch(`${server.url}/poll?userid=1`);
    await eventually("both", async () => (await read<Page>(server, "/sessions")).sessions.length === 2);

    expect(await read<object>(server, "/sessions?userid=1", "DELETE")).toEqual({ closed: 2 });

    expect(await text).toContain("push.welcome");
    expect((await polled).status).toBe(200);
  });
});

describe("who is there is not told", () => {
  const refusals: readonly (readonly [string, string, number, string])[] = [
    ["GET", "/sessions?limit=0", 400, "invalid_parameter"],
    ["GET", "/sessions?limit=1001", 400, "invalid_parameter"],
    ["GET", "/sessions?limit=1e2", 400, "invalid_parameter"],
    ["GET", "/sessions?after=x", 400, "invalid_parameter"],
    ["GET", "/sessions?user=1", 400, "unknown_parameter"],
    ["GET", "/presence?session=1", 400, "unknown_parameter"],
    ["GET", "/presence?userid=", 400, "empty_parameter"],
    ["DELETE", "/sessions", 400, "missing_address"],
    ["DELETE", "/sessions?back=true", 400, "missing_address"],
    ["DELETE", "/sessions?userid=1&back=yes", 400, "invalid_parameter"],
    ["DELETE", "/sessions?session=1", 400, "invalid_parameter"],
    ["DELETE", "/sessions?userid=1&session=8Jk2mXw1Yd0q3VbTzRk5Ng", 400, "invalid_parameter"],
    ["POST", "/sessions", 405, "method_not_allowed"],
  ];
  let server: TestServer;
  let locked: TestServer;
  beforeAll(async () => {
    server = await startServer();
    locked = await startServer({ "api-key": "0123456789abcdef" });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await locked[Symbol.asyncDispose]();
  });

  test.each(refusals)("%s %s: %d %s", async (method, path, status, code) => {
    const answer = await fetch(`${server.url}${path}`, { method });

    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ code });
  });

  test.each([
    ["GET", "/presence?userid=1"],
    ["GET", "/sessions"],
    ["DELETE", "/sessions?userid=1"],
  ])("%s %s without a key", async (method, path) => {
    expect((await fetch(`${locked.url}${path}`, { method })).status).toBe(401);
  });

  test("to a page of another site", async () => {
    const headers = { Origin: "https://evil.example.com" };

    expect((await fetch(`${server.url}/presence`, { headers })).status).toBe(403);
  });
});
