/**
 * Attacks on who reads: the log, the answers, and the figures. What others wrote stays what it is, text in a field; and what
 * is secret is nowhere.
 */
import { describe, expect, test } from "bun:test";
import { expectServing, push, toProblem, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { openRawSession, toHandshake } from "../support/frames.ts";
import { exchange, openRaw } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Texts that end a line, begin a field, move a cursor or turn the direction around, where they are not escaped. */
const hostile = [
  '","level":"error","msg":"forged',
  '"}\\n{"level":"error","msg":"forged"}',
  "\\u000a\\",
  "%0a%0dforged",
  "\u2028forged\u2029",
  "\u202egnp.forged",
  "${jndi:ldap://127.0.0.1/forged}",
  "<script>forged()</script>",
  "__proto__",
];

/** Waits until everything that was logged before now is there; a line that is not JSON would have ended the reading. */
async function untilAllLogged(server: TestServer): Promise<void> {
  const marker = crypto.randomUUID();
  await push(server, `userid=${marker}`, "marker");
  await untilLogged(server, ({ userid }) => userid === marker);
}

describe("in the log", () => {
  // An id that could end its field would let a client write lines of its own, and hide others.
  test.each(hostile)("an id of %j stays in its field", async (id) => {
    await using server = await startServer();
    await using client = await connect(server, `${new URLSearchParams({ userid: id, compid: id })}`);

    const line = await untilLogged(server, ({ msg }) => msg === "session opened");

    expect(line).toMatchObject({ level: "debug", userid: id, compid: id });
    await untilAllLogged(server);
    expect(server.log.some(({ level, msg }) => level === "error" || msg === "forged")).toBe(false);
    expect(client.socket.readyState).toBe(WebSocket.OPEN);
    await expectServing(server);
  });

  // The same by the names of events.
  test.each(hostile)("an event of %j stays in its field", async (event) => {
    await using server = await startServer();

    await push(server, `${new URLSearchParams({ userid: "1", event })}`, "hello");

    expect(await untilLogged(server, ({ msg }) => msg === "push")).toMatchObject({ level: "debug", event });
    await untilAllLogged(server);
    expect(server.log.some(({ level, msg }) => level === "error" || msg === "forged")).toBe(false);
    await expectServing(server);
  });

  // The same by what a client sends, which level debug shows.
  test("the content of a client's message stays in its field", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");
    const content = `\n\r\u0000\u001b[2J\u009b${hostile.join("\n")}`;

    client.send(content);

    expect(await untilLogged(server, ({ msg }) => msg === "message content")).toMatchObject({ content });
    await expectServing(server);
  });

  // The reason of a close is the client's text too.
  test("the reason of a close is not there", async () => {
    await using server = await startServer();
    await using client = await connect(server, "userid=1");

    client.socket.close(1000, '","msg":"forged');
    await untilLogged(server, ({ msg }) => msg === "session closed");

    expect(JSON.stringify(server.log)).not.toContain("forged");
    await expectServing(server);
  });

  // Headers and paths come from anybody: what is not logged can forge nothing.
  test("a user agent, a referrer, an address and a path are not there", async () => {
    await using server = await startServer();
    const headers = { "User-Agent": "forged", Referer: "http://forged/", "X-Forwarded-For": "forged" };

    await fetch(`${server.url}/forged`, { headers });
    await fetch(`${server.url}/push?userid=1&message=m`, { headers });
    await fetch(`${server.url}/ws`, { headers });
    await untilAllLogged(server);

    expect(JSON.stringify(server.log)).not.toContain("forged");
    await expectServing(server);
  });
});

describe("a secret in a query", () => {
  const secret = "correct-horse-battery";

  /** Every way in which a query comes to the server, taken or refused. */
  const targets = [
    `/push?userid=1&message=${secret}`,
    `/push?message=${secret}`,
    `/push?userid=1&token=${secret}`,
    `/push?userid=1&${secret}`,
    `/push?userid=1&message=${secret}%ff`,
    `/push?userid=1&message=${secret}&message=${secret}`,
    `/push?userid=${secret.repeat(10)}&message=m`,
    `/push/?userid=1&message=${secret}`,
    `/pushtoall?message=${secret}`,
    `/pushtoall?message=${secret}&message=`,
    `/ws?token=${secret}`,
    `/healthz?token=${secret}`,
    `/nothing?token=${secret}`,
    `/?token=${secret}`,
    `/swagger?token=${secret}`,
  ];

  // Logs are read, copied and kept by more people and machines than the messages are for.
  test.each(targets)("is in no line of the log after %s", async (target) => {
    await using server = await startServer({ "log-level": "debug" });

    for (const method of ["GET", "POST", "HEAD", "OPTIONS", "PUT"]) {
      const answer = await fetch(server.url + target, {
        method,
        redirect: "manual",
        ...(method === "POST" && { body: "m" }),
      });
      await answer.text();
    }
    await untilAllLogged(server);

    expect(JSON.stringify(server.log)).not.toContain(secret);
    await expectServing(server);
  });

  // The same with a request that is broken in other ways at once.
  test("is in no line of the log when the Host is broken too", async () => {
    await using server = await startServer({ "log-level": "debug" });

    for (const target of targets)
      for (const host of ["", "evil#", "[::bad", "a/b?c"])
        await exchange(server, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await untilAllLogged(server);

    expect(JSON.stringify(server.log)).not.toContain(secret);
    await expectServing(server);
  });

  // Handshakes carry tokens.
  test("is in no line of the log after a handshake", async () => {
    await using server = await startServer({ "log-level": "debug" });

    await exchange(server, toHandshake(`token=${secret}`));
    await exchange(server, toHandshake("userid=1", [`Sec-WebSocket-Protocol: bearer.${secret}`]));
    await exchange(
      server,
      toHandshake("userid=1", [`Authorization: Bearer ${secret}`, `Cookie: a=${secret}`]),
    );
    await untilAllLogged(server);

    expect(JSON.stringify(server.log)).not.toContain(secret);
    await expectServing(server);
  });

  // A body is a message as well.
  test("is in no line of the log when it is a body, taken, refused or cut off", async () => {
    await using server = await startServer({ "log-level": "debug", "max-message": "1KiB" });
    await using raw = await openRaw(server);

    await push(server, "userid=1", secret);
    for (const body of [secret.repeat(100), `${secret}\u00ff`])
      await fetch(`${server.url}/push?userid=1`, { method: "POST", body: Buffer.from(body, "latin1") });
    await raw.write(`POST /push?userid=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n${secret}`);
    raw.reset();
    await untilAllLogged(server);

    expect(JSON.stringify(server.log)).not.toContain(secret);
    await expectServing(server);
  });
});

describe("in an answer", () => {
  // A refusal is shown in terminals and, by careless pages, as HTML.
  test.each([...hostile, "\u001b[2J", "\r\nX-Forged: 1\r\n\r\n", "\u0000", "\u009b31m"])(
    "the name %j of a parameter is printable ASCII in quotes",
    async (name) => {
      await using server = await startServer();

      const answer = await fetch(`${server.url}/push?${encodeURIComponent(name)}=1`);

      expect(answer.headers.has("x-forged")).toBe(false);
      const { detail } = await toProblem(answer);
      expect(detail).toMatch(/^parameter "([\x20-\x7e…])*" is unknown here, expected [a-z, ]+$/);
      await expectServing(server);
    },
  );

  // The same by the other things that a refusal quotes.
  test.each([
    ["a path", "/\u009b%1b%0a\u202e", {}],
    ["a type", "/push?userid=1", { "Content-Type": 'image/"\u009b\u00ad' }],
    ["a coding", "/push?userid=1", { "Content-Encoding": '"\u009b\u00ad' }],
  ])("%s is printable ASCII in quotes", async (_, target, headers) => {
    await using server = await startServer();

    const answer = await fetch(server.url + target, { method: "POST", body: "m", headers });

    expect((await toProblem(answer)).detail).toMatch(/^[\x20-\x7e…]+$/);
    await expectServing(server);
  });

  // A browser that guesses would run what is only quoted.
  test("a problem is never HTML, whatever is asked for", async () => {
    await using server = await startServer();

    const answer = await fetch(`${server.url}/<script>alert(1)</script>`, {
      headers: { Accept: "text/html" },
    });

    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    await expectServing(server);
  });

  // The server's insides are a map for the next attack.
  test("no refusal has a trace of the code, a path of the system or the software's name", async () => {
    await using server = await startServer();

    for (const target of ["/nothing", "/push?%zz", "/push?userid=1&userid=1", "/ws", "/push"])
      for (const method of ["GET", "POST", "PUT"]) {
        const answer = await fetch(server.url + target, { method });
        const text = await answer.text();
        expect(text).not.toMatch(/\bat .+:\d+|\/src\/|node_modules|bunfs|elysia/i);
        expect(answer.headers.has("server")).toBe(false);
        expect(answer.headers.has("x-powered-by")).toBe(false);
      }
    await expectServing(server);
  });

  // A close reason from the server is shown by tools: it has nothing of the client's in it.
  test("a close reason has nothing of what the client sent", async () => {
    await using server = await startServer({ "max-message": "10" });
    await using client = await connect(server, "userid=forged");

    client.send("forged".repeat(10));

    expect((await client.closed).reason).not.toContain("forged");
    await expectServing(server);
  });

  // What a handshake offers is not copied into its answer.
  test("a handshake's answer has nothing of what the client offered", async () => {
    await using server = await startServer();
    await using session = await openRawSession(server, "userid=forged");

    expect(JSON.stringify([...session.handshake.headers])).not.toContain("forged");
    await expectServing(server);
  });
});
