import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { toProblem, untilLogged } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { openRawSession, toHandshake } from "../support/frames.ts";
import { type ServerProcess, startProcess } from "../support/process.ts";
import { program } from "../support/program.ts";
import { exchange, openRaw, type RawConnection } from "../support/raw.ts";

setDefaultTimeout(60_000);

const signals = ["SIGTERM", "SIGINT"] as const;

async function startOne(...argv: readonly string[]): Promise<ServerProcess> {
  return await startProcess([...program, "--port=0", "--log-format=json", ...argv]);
}

/**
 * Sends a push but for the last bytes of its body: `ld`. What is before it in the same packet is answered when the server
 * has begun to read the push.
 */
async function beginPush(server: ServerProcess): Promise<RawConnection> {
  const raw = await openRaw(server);
  await raw.write(
    "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" +
      "POST /pushtoall HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 11\r\n\r\nhello wor",
  );
  await raw.answer();
  return raw;
}

/** The first signal, and that the server has begun to stop. */
async function beginStop(server: ServerProcess, signal: (typeof signals)[number]): Promise<void> {
  server.signal(signal);
  await untilLogged(server, ({ msg }) => msg.startsWith("stopping"));
}

describe.each(signals)("%s", (signal) => {
  test("closes every session with 1012 and ends with exit status 0", async () => {
    await using server = await startOne();
    await using one = await connect(server, "userid=1");
    await using two = await connect(server);

    server.signal(signal);

    expect(await one.closed).toEqual({ code: 1012, reason: "the server restarts" });
    expect(await two.closed).toEqual({ code: 1012, reason: "the server restarts" });
    expect(await server.exited).toBe(0);
  });

  test("ends it in good order as soon as it says that it listens", async () => {
    const statuses = Array.from({ length: 12 }, async () => {
      await using server = await startOne();
      server.signal(signal);
      return await server.exited;
    });

    expect(new Set(await Promise.all(statuses))).toEqual(new Set([0]));
  });

  test("a second one ends it at once", async () => {
    await using server = await startOne("--drain=1h");
    await using _ = await beginPush(server);
    await beginStop(server, signal);

    server.signal(signal);

    expect(await server.exited).toBe(signal === "SIGTERM" ? 143 : 130);
  });
});

test("a push whose body is still arriving when the stop begins is answered", async () => {
  await using server = await startOne();
  await using raw = await beginPush(server);
  await beginStop(server, "SIGTERM");

  await raw.write("ld");

  const { status, headers, body } = await raw.answer();
  expect(status).toBe(503);
  expect(JSON.parse(body)).toMatchObject({ code: "shutting_down" });
  expect(Number(headers.get("Retry-After"))).toBeGreaterThan(0);
  expect(await server.exited).toBe(0);
});

test("a push whose body never ends does not hold up the stop for longer than --drain", async () => {
  await using server = await startOne("--drain=300ms");
  await using raw = await beginPush(server);

  server.signal("SIGTERM");

  expect(await server.exited).toBe(0);
  await raw.ended;
});

test("a client that answers nothing does not hold up the stop", async () => {
  await using server = await startOne("--drain=300ms");
  await using session = await openRawSession(server);
  session.raw.stopReading();

  server.signal("SIGTERM");

  expect(await server.exited).toBe(0);
});

test("an idle keep-alive connection does not hold up the stop", async () => {
  await using server = await startOne("--drain=1h");
  await using raw = await openRaw(server);
  await raw.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  await raw.answer();

  server.signal("SIGTERM");

  expect(await server.exited).toBe(0);
});

describe("while the sessions are being closed", () => {
  /** So many take hundreds of milliseconds: they are closed in batches with a pause after each. */
  const manySessions = 1500;

  async function openMany(server: ServerProcess): Promise<AsyncDisposable> {
    const clients: TestClient[] = [];
    while (clients.length < manySessions)
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(server)))));
    return {
      async [Symbol.asyncDispose]() {
        await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
      },
    };
  }

  test("a load balancer is told that the server is not ready, though alive", async () => {
    await using server = await startOne("--drain=10s");
    await using _ = await openMany(server);

    server.signal("SIGTERM");

    await eventually("503", async () => (await fetch(`${server.url}/readyz`)).status === 503);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  test("a push is refused, with when to come back", async () => {
    await using server = await startOne("--drain=10s");
    await using _ = await openMany(server);
    await beginStop(server, "SIGTERM");

    const answer = await fetch(`${server.url}/pushtoall?message=hello`);

    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("Retry-After"))).toBeGreaterThan(0);
    expect((await toProblem(answer)).code).toBe("shutting_down");
  });

  test("a new session is refused, with when to come back", async () => {
    await using server = await startOne("--drain=10s");
    await using _ = await openMany(server);
    await beginStop(server, "SIGTERM");

    const { status, headers, body } = await exchange(server, toHandshake("userid=1"));

    expect(status).toBe(503);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThan(0);
    expect(JSON.parse(body)).toMatchObject({ code: "shutting_down" });
  });

  test("no session is left out, and the stop ends long before its time is over", async () => {
    await using server = await startOne("--drain=1h", "--log-level=debug");
    await using _ = await openMany(server);

    server.signal("SIGTERM");

    expect(await server.exited).toBe(0);
    await untilLogged(server, ({ msg }) => msg === "stopped");
    const closed = server.log.filter(
      ({ msg, ...fields }) => msg === "session closed" && fields["code"] === 1012,
    );
    expect(closed).toHaveLength(manySessions);
  });
});
