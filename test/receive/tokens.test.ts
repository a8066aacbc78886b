/**
 * Who a client may be: with tokens, on every transport, from the handshake to the end of the token.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { openEventStream } from "../support/event-stream.ts";
import { eventually } from "../support/eventually.ts";
import { opcodes, openRawSession } from "../support/frames.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";
import { transports } from "../support/transports.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "api-key": apiKey, "public-metrics": "true" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** What renews the token of a session. */
const frameOf = (token: string) => JSON.stringify({ type: "token", token });

async function refusalOf(path: string, query: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(`${server.url}${path}?${query}`, { headers });
  const { code } = JSON.parse(await answer.text());
  return `${answer.status} ${code}`;
}

describe.each(transports)("over $name", ({ path, open }) => {
  const wait = path === "/poll" ? "&wait=0" : "";

  test("a client with a token is the user of the token, who need not be named", async () => {
    const token = await mint(server, "userid=7");
    await using receiver = await open(server, { query: `token=${token}&compid=inbox` });
    const next = receiver.next();

    await eventually(
      "its session",
      async () => (await pushWithKey(server, "userid=7&compid=inbox", "for 7")) === 1,
    );

    expect((await next).data).toBe("for 7");
  });

  test("a client without a token is refused, whoever it says to be", async () => {
    for (const query of ["", "userid=7", "compid=inbox"])
      expect(await refusalOf(path, query + wait)).toBe("401 unauthorized");
  });

  test("a client cannot be another user than the token's, nor another component", async () => {
    const [ofUser, ofComponent] = [
      await mint(server, "userid=7"),
      await mint(server, "userid=7&compid=inbox"),
    ];

    expect(await refusalOf(path, `userid=8&token=${ofUser}${wait}`)).toBe("403 forbidden");
    expect(await refusalOf(path, `compid=chart&token=${ofComponent}${wait}`)).toBe("403 forbidden");
  });

  test("a token of a component makes the client that component", async () => {
    const token = await mint(server, "userid=9&compid=inbox");
    await using receiver = await open(server, { query: `token=${token}` });
    const next = receiver.next();

    await eventually(
      "its session",
      async () => (await pushWithKey(server, "userid=9&compid=inbox", "for the inbox")) === 1,
    );

    expect((await next).data).toBe("for the inbox");
  });

  test("a token that is none is refused, and not repeated in the answer", async () => {
    const token = `${await mint(server, "userid=7")}x`;
    const answer = await fetch(`${server.url}${path}?token=${token}${wait}`);

    const text = await answer.text();
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      401,
      'Bearer realm="server-push", error="invalid_token", error_description="token has a wrong signature"',
    ]);
    expect(text).not.toContain(token.slice(0, 20));
  });

  test("what was missed is given to the token's user, and to nobody else", async () => {
    await pushWithKey(server, "userid=31", "before: for 31");
    await pushWithKey(server, "userid=32", "before: for 32");
    const token = await mint(server, "userid=32");
    await using receiver = await open(server, { query: `token=${token}`, since: "10m" });

    expect((await receiver.next()).data).toBe("before: for 32");
  });

  test("the session ends within seconds of its token", async () => {
    const token = await mint(server, "userid=41&expires=1");
    await using receiver = await open(server, { query: `token=${token}` });

    const { code } = await receiver.ended();

    if (path === "/ws") expect(code).toBe(4001);
  });
});

describe("a token", () => {
  test("may come in the header Authorization", async () => {
    const token = await mint(server, "userid=51");
    await using stream = await openEventStream(server, { headers: { Authorization: `Bearer ${token}` } });
    await stream.block();

    expect(await pushWithKey(server, "userid=51", "hello")).toBe(1);
    expect((await stream.event()).data).toBe("hello");
  });

  test("may come as a subprotocol beside push.v1, which alone is accepted", async () => {
    const token = await mint(server, "userid=52");
    await using client = await connect(server, "", ["push.v1", `bearer.${token}`]);

    expect(client.socket.protocol).toBe("push.v1");
    expect(await pushWithKey(server, "userid=52", "hello")).toBe(1);
  });

  // A browser sends these by itself to what stands behind a proxy that asked for a password.
  test.each(["Basic YTpi", 'Digest username="a", realm="b"'])(
    "as a subprotocol counts also beside a header for somebody else: %s",
    async (authorization) => {
      const token = await mint(server, "userid=54");

      await using session = await openRawSession(server, "", [
        `Authorization: ${authorization}`,
        `Sec-WebSocket-Protocol: push.v1, bearer.${token}`,
      ]);

      expect(session.handshake.status).toBe(101);
      expect(await refusalOf("/ws", `token=${token}`, { Authorization: authorization })).toStartWith("426 ");
    },
  );

  test("is what is missing where there is only a header for somebody else", async () => {
    const answer = await fetch(`${server.url}/poll`, { headers: { Authorization: "Basic YTpi" } });

    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="server-push"');
    expect(JSON.parse(await answer.text()).detail).toStartWith("a token is missing, expected it as");
  });

  test.each([
    ["Basic x", "401 unauthorized"],
    ["Bearer", "401 unauthorized"],
    ["Bearer x", "401 unauthorized"],
  ])("is not %j", async (authorization, expected) => {
    for (const path of ["/ws", "/sse", "/poll"])
      expect(await refusalOf(path, "", { Authorization: authorization })).toBe(expected);
  });

  test("is not an API key, and an API key is none", async () => {
    const token = await mint(server, "userid=7");

    expect(await refusalOf("/ws", "", { Authorization: `Bearer ${apiKey}` })).toBe("401 unauthorized");
    expect(await refusalOf("/push", "userid=7&message=m", { Authorization: `Bearer ${token}` })).toBe(
      "401 unauthorized",
    );
  });

  test("is in no line of the log", async () => {
    const token = await mint(server, "userid=53");
    await using client = await connect(server, `token=${token}`, ["push.v1"]);
    client.send(JSON.stringify({ type: "token", token }));
    await refusalOf("/ws", `token=${token}x`);

    expect(JSON.stringify(server.log)).not.toContain(token.split(".")[1] ?? "?");
  });

  test("on a server that is open is refused by name, as it could not be verified", async () => {
    await using open = await startServer();
    const answer = await fetch(`${open.url}/poll?wait=0&token=x`);

    expect(JSON.parse(await answer.text())).toMatchObject({ status: 400, code: "invalid_parameter" });
  });
});

test("a reader that stalls gets nothing that is pushed after its token's end", async () => {
  await using roomy = await startServer({ "api-key": apiKey, "max-queued": "64MiB" });
  const token = await mint(roomy, "userid=71&expires=2");
  await using stalled = await openRawSession(roomy, `token=${token}`);
  stalled.raw.stopReading();
  for (let index = 0; index < 300; index++) await pushWithKey(roomy, "userid=71", "x".repeat(60_000));

  await eventually("its end", async () => (await pushWithKey(roomy, "userid=71", "too late")) === 0, 10_000);

  stalled.raw.readOn();
  const texts: string[] = [];
  for (;;) {
    const { opcode, payload } = await stalled.frame();
    if (opcode === opcodes.close) break;
    texts.push(payload.toString("latin1", 0, 8));
  }
  expect(texts.slice(0, 300).every((text) => text === "xxxxxxxx")).toBe(true);
  expect(await pushWithKey(roomy, "userid=71", "later still")).toBe(0);
}, 20_000);

describe("a token that is renewed", () => {
  test("lets the session go on beyond the end of the first", async () => {
    const [short, long] = [await mint(server, "userid=61&expires=2"), await mint(server, "userid=61")];
    await using renewed = await connect(server, `token=${short}`, ["push.v1"]);
    await using other = await connect(server, `token=${short}`, ["push.v1"]);

    renewed.send(frameOf(long));
    await other.closed;

    expect(await pushWithKey(server, "userid=61", "still here")).toBe(1);
  });

  test.each([
    ["of another user", "userid=63", "forbidden"],
    ["of another component", "userid=62&compid=chart", "forbidden"],
  ])("by one %s changes nothing, and is told so", async (_, query, code) => {
    const token = await mint(server, "userid=62&expires=3");
    await using client = await connect(server, `token=${token}&compid=inbox`, ["push.v1"]);
    await client.next();

    client.send(frameOf(await mint(server, query)));

    expect(JSON.parse(String(await client.next()))).toMatchObject({ type: "error", code });
    expect((await client.closed).code).toBe(4001);
  });

  test("by what is no token changes nothing, and is told so", async () => {
    await using client = await connect(server, `token=${await mint(server, "userid=64")}`, ["push.v1"]);
    await client.next();

    for (const [frame, code] of [
      [frameOf("x"), "unauthorized"],
      ['{"type":"token"}', "malformed_frame"],
      ['{"type":"token","token":7}', "malformed_frame"],
    ] as const) {
      client.send(frame);
      expect(JSON.parse(String(await client.next()))).toMatchObject({ type: "error", code });
    }
    expect(await pushWithKey(server, "userid=64", "hello")).toBe(1);
  });
});

describe("with --anonymous", () => {
  test("who has no token gets what is pushed to all, and may be nobody", async () => {
    await using anonymous = await startServer({ "api-key": apiKey, anonymous: "true" });
    await using client = await connect(anonymous);

    expect(await pushWithKey(anonymous, "", "to all")).toBe(1);
    expect(await client.next()).toBe("to all");
    for (const query of ["userid=1", "compid=1"])
      expect((await fetch(`${anonymous.url}/ws?${query}`)).status).toBe(401);
  });

  test("a header for somebody else is no token either", async () => {
    await using anonymous = await startServer({ "api-key": apiKey, anonymous: "true" });
    const headers = { Authorization: "Basic YTpi" };

    for (const path of ["/ws?", "/sse?", "/poll?wait=0&"]) {
      const answer = await fetch(`${anonymous.url}${path}`, { headers });
      await answer.body?.cancel();
      expect(answer.status).toBe(path === "/ws?" ? 426 : 200);
      expect((await fetch(`${anonymous.url}${path}userid=1`, { headers })).status).toBe(401);
    }
  });
});

test("a token goes on being good while its API key is replaced by another, and no longer", async () => {
  const young = "fedcba9876543210";
  await using before = await startServer({ "api-key": apiKey });
  await using during = await startServer({ "api-key": `${young},${apiKey}` });
  await using after = await startServer({ "api-key": young });
  const token = await mint(before, "userid=1");

  const statuses = await Promise.all(
    [before, during, after].map(async ({ url }) => (await fetch(`${url}/ws?token=${token}`)).status),
  );

  expect(statuses).toEqual([426, 426, 401]);
});

test("a handshake by a foreign page is refused whatever its token", async () => {
  const token = await mint(server, "userid=1");

  await expect(
    openRawSession(server, `token=${token}`, ["Origin: https://evil.example.com"]),
  ).rejects.toThrow("403");
});
