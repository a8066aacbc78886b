/**
 * DNS rebinding: a foreign page whose name its owner lets lead to this machine is for the browser one of the same host. An open server on
 * loopback answers it nothing at all, on no path and with no method, and on each of its two ports by itself.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startServer, type TestServer } from "../support/server.ts";
import { apiKey, withKey } from "../support/tokens.ts";

const pages = [
  "/",
  "/console.js",
  "/console.css",
  "/swagger",
  "/swagger/",
  "/swagger/start.js",
  "/swagger/ui.js",
  "/swagger/ui.css",
];

/** Whatever can be asked beside the calls themselves: pages, what is nowhere, what is wrong, and what a browser asks before. */
const requests = [
  ...pages.flatMap((path) => [`GET ${path}`, `HEAD ${path}`]),
  "GET /nowhere",
  "GET /ws?colour=red",
  "GET /poll?wait=0&colour=red",
  "HEAD /push?userid=1&message=m",
  "DELETE /push",
  "POST /",
  ...["/push", "/ws", "/sse", "/", "/swagger", "/nowhere"].map((path) => `OPTIONS ${path}`),
];

/** What a browser sends for a page at this name and port. */
const fromPage = (host: string) => ({
  Host: host,
  Origin: `http://${host}`,
  "Sec-Fetch-Site": "same-origin",
});

async function ask(url: string, request: string, headers: Readonly<Record<string, string>>) {
  const [method = "", path] = request.split(" ");
  const answer = await fetch(`${url}${path}`, { method, headers, redirect: "manual" });
  await answer.body?.cancel();
  return answer;
}

describe("an open server on loopback", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each(requests)("refuses a foreign name, and lets its page read nothing: %s", async (request) => {
    const { status, headers } = await ask(server.url, request, fromPage("evil.example:8888"));

    expect(status).toBe(403);
    expect(headers.get("access-control-allow-origin")).toBeNull();
    expect(headers.get("location")).toBeNull();
  });

  test.each(requests)("answers a name of its own: %s", async (request) => {
    expect((await ask(server.url, request, { Host: "localhost:8888" })).status).not.toBe(403);
  });
});

test("with an API key any name may be asked for a page", async () => {
  await using server = await startServer({ "api-key": apiKey });

  for (const path of pages) {
    const { status } = await ask(server.url, `GET ${path}`, fromPage("push.example.com"));
    expect(status).toBe(200);
  }
});

describe("with a port of their own, on loopback, publishers", () => {
  const push = "GET /push?userid=1&message=m";
  const calls = [push, "GET /sessions", "GET /metrics", "GET /swagger/json", "GET /healthz", ...requests];

  test.each([
    ["beside an open port", { insecure: "true", host: "0.0.0.0" }],
    ["beside one that is told to be open on loopback", { insecure: "true" }],
    ["beside one on loopback", {}],
  ])("cannot be reached by a foreign name %s", async (_, settings) => {
    await using server = await startServer({ "api-port": "0", ...settings });

    for (const request of calls) {
      const { status, headers } = await ask(server.apiUrl, request, fromPage("evil.example:8889"));
      expect({ request, status, cors: headers.get("access-control-allow-origin") }).toEqual({
        request,
        status: 403,
        cors: null,
      });
    }
    expect((await ask(server.apiUrl, push, { Host: "localhost:8889" })).status).toBe(202);
  });

  test("can be reached by any name where --insecure opens their port too", async () => {
    await using server = await startServer({ "api-port": "0", insecure: "true", "api-host": "0.0.0.0" });
    const url = server.apiUrl.replace("0.0.0.0", "127.0.0.1");

    expect((await ask(url, push, fromPage("push.example.com"))).status).toBe(202);
  });

  test("can be reached by any name with an API key", async () => {
    await using server = await startServer({ "api-port": "0", "api-key": apiKey });

    const answer = await ask(server.apiUrl, push, { ...fromPage("push.example.com"), ...withKey });

    expect(answer.status).toBe(202);
  });
});

test("clients' port on loopback is open to any name only when told so", async () => {
  await using closed = await startServer({ "api-port": "0" });
  await using told = await startServer({ "api-port": "0", insecure: "true" });

  expect((await ask(closed.url, "GET /poll?wait=0", fromPage("evil.example"))).status).toBe(403);
  expect((await ask(told.url, "GET /poll?wait=0", fromPage("evil.example"))).status).toBe(200);
});
