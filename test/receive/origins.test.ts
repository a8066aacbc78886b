/**
 * Which pages may read a stream, a poll, or why there is none: what is said to a browser with CORS.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { openEventStream } from "../support/event-stream.ts";
import { exchange } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** For tests that look at the head of an answer alone: one that any host may call, and one that is open on loopback. */
let shared: TestServer;
let open: TestServer;

/** So that any host may call. */
const insecure = { insecure: "true" };

beforeAll(async () => {
  [shared, open] = await Promise.all([startServer(insecure), startServer()]);
});

afterAll(async () => {
  await shared[Symbol.asyncDispose]();
  await open[Symbol.asyncDispose]();
});

const serverFor = (host: string) => (host.startsWith("push.") ? shared : open);

function toRequest(host: string, origin: string, path: string, method = "GET"): string {
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nContent-Length: 0\r\n\r\n`;
}

/** A page of the same host, on another port. */
const ownHost = "push.example.com:8888";
const own = "https://push.example.com";
const foreign = "https://evil.example.com";

describe("a page of another origin", () => {
  describe.each(["/sse", "/poll?wait=0"])("that asks for %s", (path) => {
    test.each([
      ["the same host", "push.example.com", "https://push.example.com"],
      ["another port of the host", "push.example.com:8888", "http://push.example.com:3000"],
      ["another loopback name", "127.0.0.1:8888", "http://localhost:5173"],
      ["loopback over IPv6", "localhost:8888", "http://[::1]:5173"],
      ["loopback of another number", "localhost", "http://127.1.2.3"],
      ["a file", "127.0.0.1:8888", "null"],
    ])("from %s may read it", async (_, host, origin) => {
      const { status, headers } = await exchange(serverFor(host), toRequest(host, origin, path));

      expect(status).toBe(200);
      expect(headers.get("access-control-allow-origin")).toBe(origin);
      expect(headers.get("vary")).toBe("Origin");
      expect(headers.get("access-control-expose-headers")).toBe(
        "Last-Event-ID, Server-Push-Resumed, Retry-After, WWW-Authenticate",
      );
    });

    test.each([
      ["a foreign host", "push.example.com", "https://evil.example.com"],
      ["a parent domain", "push.example.com", "https://example.com"],
      ["a host that begins alike", "push.example.com", "https://push.example.com.evil.org"],
      ["a foreign host, to loopback", "127.0.0.1:8888", "https://evil.example.com"],
      ["a host that begins like loopback", "localhost:8888", "http://localhost.evil.org"],
      ["a host that looks like loopback", "localhost:8888", "http://127.0.0.1.evil.org"],
      ["loopback, to another host", "push.example.com", "http://localhost:5173"],
      ["a file, to another host", "push.example.com", "null"],
      ["what is no origin", "push.example.com", "push.example.com"],
      ["an extension by the name of loopback", "127.0.0.1:8888", "chrome-extension://localhost"],
      ["a script by the name of loopback", "localhost:8888", "javascript://127.0.0.1"],
      ["a scheme by the name of the host", "push.example.com", "custom://push.example.com"],
      ["a scheme that begins like http", "push.example.com", "httpx://push.example.com"],
    ])("from %s may not", async (_, host, origin) => {
      const { status, headers, body } = await exchange(serverFor(host), toRequest(host, origin, path));

      expect([status, JSON.parse(body).code]).toEqual([403, "foreign_origin"]);
      // It may read that it may not.
      expect(headers.get("access-control-allow-origin")).toBe("*");
    });

    test("that is no page is told nothing of origins", async () => {
      const { headers } = await exchange(shared, `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);

      expect(headers.has("access-control-allow-origin")).toBe(false);
    });
  });

  test.each([
    [426, "GET", "/ws?userid=1"],
    [426, "GET", "/ws/?userid=1"],
    ...["/ws", "/sse", "/poll"].flatMap((path) => [
      [400, "GET", `${path}?user=1`] as const,
      [405, "POST", path] as const,
    ]),
  ])("may read its refusal, with %d to %s %s, if it may read the answer", async (expected, method, path) => {
    const { status, headers } = await exchange(shared, toRequest(ownHost, own, path, method));
    const toForeign = await exchange(shared, toRequest(ownHost, foreign, path, method));

    expect([status, toForeign.status]).toEqual([expected, expected === 426 ? 403 : expected]);
    expect(headers.get("access-control-allow-origin")).toBe(own);
    expect(headers.get("access-control-expose-headers")).toContain("Retry-After");
    expect(toForeign.headers.get("access-control-allow-origin")).toBe(toForeign.status === 403 ? "*" : null);
  });

  test.each(["/ws", "/sse", "/poll"])("may read that there is no room for it at %s", async (path) => {
    await using server = await startServer({ ...insecure, "max-sessions": "1" });
    await using only = await connect(server);

    const { status, headers } = await exchange(server, toRequest(ownHost, own, path));

    expect([status, headers.get("retry-after")]).toEqual([503, "5"]);
    expect(headers.get("access-control-allow-origin")).toBe(own);
    expect(only.waiting).toEqual([]);
  });

  test.each(["/push?user=1", "/pushtoall?message=m", "/batch", "/nothing", "/metrics"])(
    "may not read what %s answers, which is not for pages",
    async (path) => {
      for (const method of ["GET", "OPTIONS"]) {
        const { headers } = await exchange(shared, toRequest(ownHost, own, path, method));

        expect(headers.has("access-control-allow-origin")).toBe(false);
      }
    },
  );

  test.each(["/ws", "/sse", "/poll"])("may give a Last-Event-ID and a token to %s", async (path) => {
    const { status, headers } = await exchange(shared, toRequest(ownHost, own, path, "OPTIONS"));
    const toForeign = await exchange(shared, toRequest(ownHost, foreign, path, "OPTIONS"));

    expect([status, headers.get("access-control-allow-origin")]).toEqual([204, own]);
    expect(headers.get("access-control-allow-headers")).toBe("Authorization, Last-Event-ID");
    expect(toForeign.headers.get("access-control-allow-origin")).toBe("*");
    expect(toForeign.headers.get("access-control-allow-headers")).toBe("Authorization, Last-Event-ID");
  });

  test("is told when to come back, too, when there is no room", async () => {
    await using server = await startServer({ "max-sessions": "1" });
    await using only = await connect(server);

    await using stream = await openEventStream(server, { headers: { Origin: "http://localhost:5173" } });

    expect(stream.head.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
    expect(only.waiting).toEqual([]);
  });
});
