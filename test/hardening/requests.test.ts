/**
 * Attacks with the HTTP request itself: too large, ambiguous, or not HTTP at all.
 *
 * Much of it Bun refuses before the request is the server's, with an answer that has no body: these tests hold only to what
 * matters then, that it is refused, that the connection ends, and that nothing was pushed.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { expectServing, pushToAll, receiveUntil } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { toHandshake } from "../support/frames.ts";
import { exchange, openRaw } from "../support/raw.ts";
import { readMetrics, startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let everyone: TestClient;

beforeAll(async () => {
  // With no settings it would refuse a strange Host, whatever that does elsewhere.
  server = await startServer({ insecure: "true" });
});

beforeEach(async () => {
  everyone = await connect(server, "userid=1&compid=1");
});

afterEach(async () => {
  await everyone[Symbol.asyncDispose]();
  await expectServing(server);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** What has reached everybody by now. */
async function pushed(): Promise<(string | Uint8Array)[]> {
  await pushToAll(server, "end");
  return await receiveUntil(everyone, "end");
}

const host = "Host: 127.0.0.1\r\n";
const memory = async () => (await readMetrics(server)).get("process_resident_memory_bytes") ?? Number.NaN;

describe("what is too large", () => {
  // A query without end would be kept in memory until it is whole.
  test.each(["/push?userid=1&message=", "/ws?userid=", "/healthz?"])(
    "as a query of 1 MB of %s is refused with 431",
    async (target) => {
      const request = `GET ${target}${"x".repeat(1e6)} HTTP/1.1\r\n${host}\r\n`;

      expect((await exchange(server, request)).status).toBe(431);
      expect(await pushed()).toEqual([]);
    },
  );

  // The same in a header.
  test("as a header of 300 KB is refused with 431", async () => {
    const request = `GET /push?userid=1&message=m HTTP/1.1\r\n${host}X-Filler: ${"x".repeat(300_000)}\r\n\r\n`;

    expect((await exchange(server, request)).status).toBe(431);
    expect(await pushed()).toEqual([]);
  });

  // The same in many headers, each of them small. Who is cut off while sending may not get to read why.
  test("as headers without end ends the connection, and takes no memory", async () => {
    await using raw = await openRaw(server);
    const before = await memory();

    await raw.write(`GET /push?userid=1&message=m HTTP/1.1\r\n${host}`);
    for (let index = 0; index < 1000 && !raw.isOver; index++) await raw.write("X-Filler: x\r\n".repeat(5000));

    expect(raw.isOver).toBe(true);
    expect((await memory()) - before).toBeLessThan(64 * 2 ** 20);
    expect(await pushed()).toEqual([]);
  });

  // A body whose length is unknown must be refused at the limit, not at its end.
  test("as chunks without end is refused with 413 at the limit, and takes no memory", async () => {
    await using raw = await openRaw(server);
    const before = await memory();
    const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;

    await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`);
    await raw.write(chunk + chunk);
    const { status } = await raw.answer();
    for (let index = 0; index < 4000 && !raw.isOver; index++) await raw.write(chunk);

    expect(status).toBe(413);
    expect((await memory()) - before).toBeLessThan(64 * 2 ** 20);
    expect(await pushed()).toEqual([]);
  });

  // Who goes on sending after the refusal would otherwise be read for ever, at no cost to itself.
  test("ends the connection of who goes on sending it", async () => {
    await using raw = await openRaw(server);

    await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}Content-Length: 1000000000\r\n\r\n`);
    const { status } = await raw.answer();
    for (let index = 0; index < 1000 && !raw.isOver; index++) await raw.write("x".repeat(65_536));

    expect(status).toBe(413);
    expect(raw.isOver).toBe(true);
  });

  // A length that is only announced must not be allocated, nor waited for.
  test.each(["65537", "1000000000", "9007199254740993"])(
    "as a body of %s bytes is refused with 413 before it comes",
    async (length) => {
      const request = `POST /push?userid=1 HTTP/1.1\r\n${host}Content-Length: ${length}\r\n\r\n`;

      expect((await exchange(server, request)).status).toBe(413);
      expect(await pushed()).toEqual([]);
    },
  );

  // What a chunk says beside its length is read by nobody, and must not be without end either.
  test("as an extension of a chunk ends the connection", async () => {
    await using raw = await openRaw(server);

    await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n4;`);
    for (let index = 0; index < 1000 && !raw.isOver; index++) await raw.write("x".repeat(65_536));

    expect(raw.isOver).toBe(true);
    expect(await pushed()).toEqual([]);
  });
});

describe("a length that is not one", () => {
  // Two readers of one request that disagree where it ends: one of them takes the rest for another request.
  test.each([
    ["negative", "Content-Length: -1"],
    ["beyond every number", "Content-Length: 99999999999999999999999"],
    ["not a number", "Content-Length: four"],
    ["hexadecimal", "Content-Length: 0x4"],
    ["signed", "Content-Length: +4"],
    ["missing", "Content-Length: "],
    ["given twice, differently", "Content-Length: 4\r\nContent-Length: 5"],
    ["a list", "Content-Length: 4, 5"],
    ["before a space and the colon", "Content-Length : 4"],
    ["on a second line", "X-Folded: x\r\n Content-Length: 4"],
    ["beside chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked"],
    ["beside chunks, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 4"],
    ["of an unknown coding", "Transfer-Encoding: xchunked"],
    ["of chunks that are not last", "Transfer-Encoding: chunked, identity"],
  ])("as it is %s is refused, and the connection ends", async (_, header) => {
    await using raw = await openRaw(server);

    await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}${header}\r\n\r\n`);
    await raw.write("0\r\n\r\nGET /pushtoall?message=smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");

    expect((await raw.answer()).status).toBe(400);
    await raw.ended;
    expect(raw.received.length).toBe(0);
    expect(await pushed()).toEqual([]);
  });

  // The same by the sizes of chunks.
  test.each(["zz", "-4", "fffffffffffffffff", "0x4", " 4", ""])(
    "as the size %j of a chunk is refused, and the connection ends",
    async (size) => {
      await using raw = await openRaw(server);

      await raw.write(`POST /push?userid=1 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`);
      await raw.write(`${size}\r\nabcd\r\n0\r\n\r\nGET /pushtoall?message=smuggled HTTP/1.1\r\n${host}\r\n`);

      await raw.ended;
      expect(raw.received.toString("latin1")).not.toContain("sessions");
      expect(await pushed()).toEqual([]);
    },
  );
});

describe("a host", () => {
  // A request whose Host leads nowhere must not decide where the request goes.
  test("that is missing is refused with 400", async () => {
    expect((await exchange(server, "GET /push?userid=1&message=m HTTP/1.1\r\n\r\n")).status).toBe(400);
    expect(await pushed()).toEqual([]);
  });

  const strange = [
    "x",
    "",
    "a/b?c#d @:::99999",
    "evil?userid=2&x=",
    "evil#",
    "evil/pushtoall?",
    "[::bad",
    "\xff\xfe",
  ];

  // What is in the Host must not become part of the path or the query: a push would go to somebody else.
  test.each(strange)("of %j changes nothing about a push", async (name) => {
    const request = `GET /push?userid=1&message=hello HTTP/1.1\r\nHost: ${name}\r\n\r\n`;

    expect((await exchange(server, request)).status).toBe(200);
    expect(await pushed()).toEqual(["hello"]);
  });

  // Nor may it make of a refusal a mistake of the server, with a trace of its code in the answer or on its standard error.
  test.each(strange)("of %j changes nothing about a path that is not there", async (name) => {
    const request = `GET /nothing?userid=1 HTTP/1.1\r\nHost: ${name}\r\n\r\n`;

    const { status, body } = await exchange(server, request);

    expect(status).toBe(404);
    expect(JSON.parse(body)).toMatchObject({
      code: "not_found",
      detail: expect.stringContaining('"/nothing"'),
    });
  });

  // The same for the other way to be unrouted.
  test.each(strange)("of %j changes nothing about a wrong method", async (name) => {
    const request = `PUT /push?userid=1 HTTP/1.1\r\nHost: ${name}\r\nContent-Length: 0\r\n\r\n`;

    const { status, headers } = await exchange(server, request);

    expect(status).toBe(405);
    expect(headers.get("allow")).toContain("POST");
  });

  // And for the handshake.
  test.each(strange)("of %j changes nothing about a handshake", async (name) => {
    const { status } = await exchange(
      server,
      toHandshake("userid=1").replace("Host: 127.0.0.1", `Host: ${name}`),
    );

    expect(status).toBe(101);
  });
});

describe("a target", () => {
  // The absolute form is for proxies; the host in it must not be taken for a path.
  test("in absolute form is the path in it", async () => {
    const request = `GET http://other.example/push?userid=1&message=hello HTTP/1.1\r\n${host}\r\n`;

    expect((await exchange(server, request)).status).toBe(200);
    expect(await pushed()).toEqual(["hello"]);
  });

  // This server is nobody's proxy.
  test("of CONNECT is refused, and no mistake of the server", async () => {
    const { status } = await exchange(server, `CONNECT example.org:443 HTTP/1.1\r\n${host}\r\n`);

    expect(status).toBeWithin(400, 500);
  });

  // Two slashes are an authority to some readers: what comes after them is a path here.
  test("with two slashes is a path that is not there", async () => {
    const { status } = await exchange(
      server,
      `GET //evil.example/push?userid=1&message=m HTTP/1.1\r\n${host}\r\n`,
    );

    expect(status).toBe(404);
    expect(await pushed()).toEqual([]);
  });

  // A percent-encoded path must not be a second name of a path that a proxy in front has rules for.
  test("with an encoded path is a path that is not there", async () => {
    const { status } = await exchange(server, `GET /%70ush?userid=1&message=m HTTP/1.1\r\n${host}\r\n`);

    expect(status).toBe(404);
    expect(await pushed()).toEqual([]);
  });

  // A number sign never travels: whoever sends one means a path that is not there.
  test("with a fragment in its path is a path that is not there", async () => {
    const { status } = await exchange(server, `GET /push#?userid=1&message=m HTTP/1.1\r\n${host}\r\n`);

    expect(status).toBe(404);
    expect(await pushed()).toEqual([]);
  });

  // Raw control characters are how a request is split in two.
  test.each(["\u0000", "\u0001", "\t", "\n", "\u001b", " "])(
    "with the raw character %j is refused",
    async (character) => {
      const { status } = await exchange(
        server,
        `GET /push?userid=1&message=a${character}b HTTP/1.1\r\n${host}\r\n`,
      );

      expect([400, 505]).toContain(status);
      expect(await pushed()).toEqual([]);
    },
  );

  // Bytes that are not UTF-8 all become the same character: two users of a Latin-1 page would be one.
  test.each(["userid=\xe9&message=m", "userid=1&compid=\xe9&message=m", "userid=1&event=\xff&message=m"])(
    "with raw bytes that are not UTF-8 in a name is refused: %j",
    async (query) => {
      const { status, body } = await exchange(server, `GET /push?${query} HTTP/1.1\r\n${host}\r\n`);

      expect(status).toBe(400);
      expect(JSON.parse(body).code).toBe("invalid_parameter");
      expect(await pushed()).toEqual([]);
    },
  );

  // The same for who listens.
  test("of a session with raw bytes that are not UTF-8 in a name is refused", async () => {
    const { status } = await exchange(server, toHandshake("userid=\xe9"));

    expect(status).toBe(400);
  });

  // Raw UTF-8 is what careless libraries send, and is not ambiguous.
  test("with raw UTF-8 is what it reads", async () => {
    const name = Buffer.from("é").toString("latin1");
    await using client = await connect(server, "userid=%C3%A9");

    await exchange(server, `GET /push?userid=${name}&message=${name} HTTP/1.1\r\n${host}\r\n`);

    expect(await client.next()).toBe("é");
  });
});

describe("what is not HTTP/1.1", () => {
  // A TLS client, another protocol, another time: an answer or an end, but no hang.
  test.each([
    ["a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["HTTP of a version to come", `GET /push?userid=1&message=m HTTP/9.9\r\n${host}\r\n`],
    ["HTTP without a version", "GET /push?userid=1&message=m\r\n\r\n"],
    [
      "lines that end without a carriage return",
      `GET /push?userid=1&message=m HTTP/1.1\nHost: 127.0.0.1\n\n`,
    ],
    ["a method in small letters", `get /push?userid=1&message=m HTTP/1.1\r\n${host}\r\n`],
    ["a method that nobody has", `PUSH /push?userid=1&message=m HTTP/1.1\r\n${host}\r\n`],
    ["a mail", "HELO 127.0.0.1\r\nMAIL FROM:<x@127.0.0.1>\r\n"],
    ["NUL alone", "\0".repeat(1000)],
  ])("as %s ends the connection and pushes nothing", async (_, bytes) => {
    await using raw = await openRaw(server);

    await raw.write(bytes);

    await raw.ended;
    expect(raw.received.toString("latin1")).not.toContain("sessions");
    expect(await pushed()).toEqual([]);
  });
});
