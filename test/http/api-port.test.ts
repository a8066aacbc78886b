/**
 * Two ports: one for clients, and one for those who push and operate.
 */
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { startServer } from "../support/server.ts";

/** What is only where publishers and operators call. */
const withKey = [
  ["GET", "/push?userid=1&message=hello"],
  ["POST", "/push?userid=1"],
  ["GET", "/pushtoall?message=hello"],
  ["POST", "/pushtoall"],
  ["POST", "/batch"],
  ["POST", "/tokens?userid=1"],
  ["GET", "/metrics"],
  ["GET", "/swagger"],
  ["GET", "/swagger/json"],
  ["GET", "/"],
  ["GET", "/console.js"],
] as const;

interface ApiDocument {
  readonly paths: Record<string, Readonly<Record<string, unknown>>>;
}

/** The API's document, once it is found to be one. */
async function readDocument(url: string): Promise<ApiDocument> {
  const document = JSON.parse(await (await fetch(`${url}/swagger/json`)).text());
  expect(await new Validator().validate(document)).toEqual({ valid: true });
  return document;
}

/** What is only where clients call. */
const forClients = ["/ws", "/sse", "/poll?wait=0"] as const;

describe("with --api-port", () => {
  test("what is pushed there reaches who is connected to the other", async () => {
    await using server = await startServer({ "api-port": "0" });
    await using inbox = await connect(server, "userid=1");

    const answer = await fetch(`${server.apiUrl}/push?userid=1&message=hello`);

    expect(server.apiUrl).not.toBe(server.url);
    expect(await inbox.next()).toBe("hello");
    expect(await answer.json()).toMatchObject({ sessions: 1 });
  });

  test.each(withKey)("%s %s is not where clients call", async (method, path) => {
    await using server = await startServer({ "api-port": "0" });

    const answer = await fetch(`${server.url}${path}`, { method });

    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({
      code: "not_found",
      detail: expect.stringContaining("publishers and operators call the port of --api-port"),
    });
  });

  test.each(withKey)("%s %s is where publishers call", async (method, path) => {
    await using server = await startServer({ "api-port": "0" });

    const answer = await fetch(`${server.apiUrl}${path}`, { method, redirect: "manual" });

    expect(answer.status).not.toBe(404);
  });

  test.each(forClients)("%s is where clients call, and nowhere else", async (path) => {
    await using server = await startServer({ "api-port": "0" });

    const [there, here] = await Promise.all(
      [server.apiUrl, server.url].map(async (url) => {
        const { status, body } = await fetch(`${url}${path}`);
        await body?.cancel();
        return status;
      }),
    );

    expect(there).toBe(404);
    expect(here).not.toBe(404);
  });

  test("health and readiness are on both, for whatever balances the load of either", async () => {
    await using server = await startServer({ "api-port": "0" });

    for (const url of [server.url, server.apiUrl])
      for (const path of ["/healthz", "/readyz"]) expect((await fetch(`${url}${path}`)).status).toBe(200);
  });

  test("the document describes the calls of both, as with one port, and says where the clients' are", async () => {
    await using both = await startServer();
    await using server = await startServer({ "api-port": "0" });

    const [expected, { paths }] = [await readDocument(both.url), await readDocument(server.apiUrl)];

    for (const path of ["/ws", "/sse", "/poll"])
      expected.paths[path] = {
        ...expected.paths[path],
        servers: [{ url: server.url, description: "The clients' port, `--port`" }],
      };
    expect(paths).toEqual(expected.paths);
  });

  test("the document names a place to call where clients' port is on all addresses", async () => {
    await using server = await startServer({ "api-port": "0", host: "0.0.0.0", insecure: "true" });

    const { paths } = await readDocument(server.apiUrl);

    expect(paths["/ws"]?.["servers"]).toMatchObject([{ url: `http://localhost:${server.port}` }]);
  });

  test("stopping tells the sessions, and ends both", async () => {
    await using server = await startServer({ "api-port": "0" });
    await using inbox = await connect(server, "userid=1");

    await server.drain();

    expect((await inbox.closed).code).toBe(1012);
    for (const url of [server.url, server.apiUrl]) {
      const refused = await fetch(`${url}/healthz`).then(
        () => false,
        () => true,
      );
      expect(refused).toBe(true);
    }
  });
});
