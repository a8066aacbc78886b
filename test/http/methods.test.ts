/**
 * Which methods a path has. Without care HEAD would push, and a wrong method would be a path that is not there.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { pushToAll, receiveUntil, toProblem } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const call = (method: string, target: string) => fetch(server.url + target, { method, redirect: "manual" });
const allowed = (answer: Response) => answer.headers.get("allow")?.split(", ").toSorted();

const pushes = ["/push", "/pushtoall"] as const;
const gets = ["/ws", "/healthz", "/readyz", "/metrics", "/", "/swagger", "/swagger/json"] as const;
/** GETs that do more than to read, so that HEAD would do it too. */
const streams = ["/sse", "/poll"] as const;
const readMethods = ["GET", "HEAD", "OPTIONS"];
const pushMethods = ["GET", "OPTIONS", "POST"];
const streamMethods = ["GET", "OPTIONS"];
const batchMethods = ["OPTIONS", "POST"];

const wrong = [
  ...pushes.flatMap((path) =>
    ["PUT", "PATCH", "DELETE"].map((method) => ({ method, path, right: pushMethods })),
  ),
  ...gets.flatMap((path) =>
    ["POST", "PUT", "PATCH", "DELETE"].map((method) => ({ method, path, right: readMethods })),
  ),
  ...streams.flatMap((path) =>
    ["POST", "PUT", "PATCH", "DELETE"].map((method) => ({ method, path, right: streamMethods })),
  ),
  ...["GET", "PUT", "PATCH", "DELETE"].map((method) => ({ method, path: "/batch", right: batchMethods })),
];

test.each(wrong)("$method $path is refused with 405 and the methods that are right", async (row) => {
  const answer = await call(row.method, `${row.path}?userid=1&message=m`);

  expect(answer.status).toBe(405);
  expect(allowed(answer)).toEqual(row.right);
  const { code, detail } = await toProblem(answer);
  expect(code).toBe("method_not_allowed");
  expect(detail).toStartWith(`${row.method} is not allowed`);
});

test.each(pushes)("HEAD %s is refused with 405 and the methods that are right", async (path) => {
  const answer = await call("HEAD", `${path}?message=m`);

  expect(answer.status).toBe(405);
  expect(allowed(answer)).toEqual(pushMethods);
});

test.each(streams)("HEAD %s is refused with 405 and the methods that are right", async (path) => {
  const answer = await call("HEAD", path);

  expect(answer.status).toBe(405);
  expect(allowed(answer)).toEqual(streamMethods);
});

test("HEAD /batch is refused with 405 and the methods that are right", async () => {
  const answer = await call("HEAD", "/batch");

  expect(answer.status).toBe(405);
  expect(allowed(answer)).toEqual(batchMethods);
});

test.each(["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])("%s pushes nothing", async (method) => {
  await using everyone = await connect(server, "userid=1");

  await call(method, "/push?userid=1&message=m");
  await call(method, "/pushtoall?message=m");
  await pushToAll(server, "end");

  expect(await receiveUntil(everyone, "end")).toEqual([]);
});

test.each(["/healthz", "/readyz", "/metrics", "/swagger", "/swagger/json"])(
  "HEAD %s is answered as GET is, without the body",
  async (path) => {
    const get = await call("GET", path);
    const head = await call("HEAD", path);

    expect(head.status).toBe(200);
    expect(head.headers.get("content-type")).toBe(get.headers.get("content-type"));
    expect(await head.text()).toBe("");
  },
);

test("HEAD /ws says what GET /ws says", async () => {
  const head = await call("HEAD", "/ws?userid=1");

  expect(head.status).toBe(426);
  expect(head.headers.get("upgrade")).toBe("websocket");
});

test.each(pushes)("OPTIONS %s is answered with 204 and the methods", async (path) => {
  const answer = await call("OPTIONS", path);

  expect(answer.status).toBe(204);
  expect(allowed(answer)).toEqual(pushMethods);
  expect(await answer.text()).toBe("");
});

test.each(gets)("OPTIONS %s is answered with 204 and the methods", async (path) => {
  const answer = await call("OPTIONS", path);

  expect(answer.status).toBe(204);
  expect(allowed(answer)).toEqual(readMethods);
});

test.each([
  ["/sse", streamMethods],
  ["/poll", streamMethods],
  ["/batch", batchMethods],
])("OPTIONS %s is answered with 204 and the methods", async (path, methods) => {
  const answer = await call("OPTIONS", path);

  expect(answer.status).toBe(204);
  expect(allowed(answer)).toEqual(methods);
});

test("OPTIONS of a path that is not there is refused with 404", async () => {
  const answer = await call("OPTIONS", "/nothing");

  expect(answer.status).toBe(404);
});

describe("a slash at the end of a path changes nothing:", () => {
  test("a GET is answered", async () => {
    await using inbox = await connect(server, "userid=1");

    const answer = await call("GET", "/push/?userid=1&message=hello");

    expect(answer.status).toBe(200);
    expect(await inbox.next()).toBe("hello");
  });

  test.each([
    "/",
    "/console.js",
    "/console.css",
    "/swagger",
    "/swagger/json",
    "/swagger/start.js",
    "/swagger/ui.js",
    "/swagger/ui.css",
    "/healthz",
    "/readyz",
    "/metrics",
  ])("GET and HEAD %s are answered as without it, as often as one asks", async (path) => {
    for (const method of ["GET", "HEAD", "GET", "HEAD"]) {
      const [bare, slashed] = [await call(method, `${path}?`), await call(method, `${path}/?`)];

      expect(slashed.status).toBe(200);
      expect(slashed.headers.get("content-type")).toBe(bare.headers.get("content-type"));
      expect(slashed.headers.get("location")).toBe(bare.headers.get("location"));
      // The figures are others a moment later.
      if (path !== "/metrics") expect(await slashed.text()).toBe(await bare.text());
    }
  });

  test("a wrong method is refused with 405 and the methods that are right", async () => {
    const answer = await call("PUT", "/push/?userid=1");

    expect(answer.status).toBe(405);
    expect(allowed(answer)).toEqual(pushMethods);
  });

  test("HEAD of a push is refused with 405 and the methods that are right", async () => {
    const answer = await call("HEAD", "/push/?userid=1&message=m");

    expect(answer.status).toBe(405);
    expect(allowed(answer)).toEqual(pushMethods);
  });
});
