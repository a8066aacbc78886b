/**
 * Which pages may read a stream or a poll: what is said to a browser with CORS.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { openEventStream } from "../support/event-stream.ts";
import { exchange } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** For tests that look at the head of an answer alone. */
let shared: TestServer;

beforeAll(async () => {
  shared = await startServer();
});

afterAll(async () => {
  await shared[Symbol.asyncDispose]();
});

function toRequest(host: string, origin: string, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n\r\n`;
}

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
      const { status, headers } = await exchange(shared, toRequest(host, origin, path));

      expect(status).toBe(200);
      expect(headers.get("access-control-allow-origin")).toBe(origin);
      expect(headers.get("vary")).toBe("Origin");
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
    ])("from %s may not", async (_, host, origin) => {
      const { headers } = await exchange(shared, toRequest(host, origin, path));

      expect(headers.has("access-control-allow-origin")).toBe(false);
    });

    test("that is no page is told nothing of origins", async () => {
      const { headers } = await exchange(shared, `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);

      expect(headers.has("access-control-allow-origin")).toBe(false);
    });
  });

  test("is told when to come back, too, when there is no room", async () => {
    await using server = await startServer({ "max-sessions": "1" });
    await using only = await connect(server);

    await using stream = await openEventStream(server, { headers: { Origin: "http://localhost:5173" } });

    expect(stream.head.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
    expect(only.waiting).toEqual([]);
  });
});
