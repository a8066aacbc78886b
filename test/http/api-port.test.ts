/**
 * Two ports: one for clients, and one for those who push and operate.
 */
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
] as const;

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

  test("the document has the calls that are there", async () => {
    await using server = await startServer({ "api-port": "0" });

    const { paths } = (await (await fetch(`${server.apiUrl}/swagger/json`)).json()) as { paths: object };

    expect(Object.keys(paths)).toContain("/push");
    expect(Object.keys(paths)).not.toContain("/ws");
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
