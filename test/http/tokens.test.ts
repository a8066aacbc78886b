/**
 * `/tokens`: what a back end gets a page's token from.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { toProblem } from "../support/calls.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { apiKey, withKey } from "../support/tokens.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "api-key": apiKey, "max-token-time": "2h" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const ask = (query: string, headers: Record<string, string> = withKey) =>
  fetch(`${server.url}/tokens?${query}`, { method: "POST", headers });

function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

test.each([
  ["userid=123", { sub: "123" }, 3600],
  ["userid=123&compid=inbox&expires=60", { sub: "123", compid: "inbox" }, 60],
  ["userid=%C3%BC%20b&expires=7200", { sub: "\u00fc b" }, 7200],
])("for %s is a token of these claims", async (query, claims, expires) => {
  const before = Math.floor(Date.now() / 1000);
  const answer = await ask(query);
  const body = JSON.parse(await answer.text());

  expect([answer.status, body.expires, answer.headers.get("cache-control")]).toEqual([
    200,
    expires,
    "no-store",
  ]);
  const { iat, exp, ...rest } = claimsOf(body.token);
  expect(rest).toEqual(claims);
  expect(Number(exp) - Number(iat)).toBeLessThanOrEqual(expires);
  expect(Number(exp)).toBeGreaterThanOrEqual(before + expires - 1);
});

test.each([
  ["", "missing_parameter", "parameter userid is missing, expected whose token it is"],
  ["compid=inbox", "missing_parameter", "parameter userid is missing, expected whose token it is"],
  ["userid=", "empty_parameter", "parameter userid is empty, expected at least 1 byte"],
  [
    "userid=1&expire=60",
    "unknown_parameter",
    'parameter "expire" is unknown here, expected userid, compid, expires, push',
  ],
  ...["0", "-1", "1.5", "1e3", "7201", "1h", "9999999999"].map(
    (expires) =>
      [
        `userid=1&expires=${expires}`,
        "invalid_parameter",
        `parameter expires is "${expires}", expected whole seconds from 1 to 7200`,
      ] as const,
  ),
])("for %j is refused", async (query, code, detail) => {
  const answer = await ask(query);

  expect(answer.status).toBe(400);
  expect(await toProblem(answer)).toMatchObject({ code, detail });
});

test("needs the API key", async () => {
  for (const headers of [{}, { Authorization: "Bearer fedcba9876543210" }])
    expect((await ask("userid=1", headers)).status).toBe(401);
});

test.each([{}, { "jwt-secret": "x".repeat(32) }])(
  "has nothing to give where no key is needed to ask, with %j",
  async (settings) => {
    await using open = await startServer(settings);
    const answer = await fetch(`${open.url}/tokens?userid=1`, { method: "POST" });

    expect(answer.status).toBe(403);
    expect(await toProblem(answer)).toMatchObject({
      code: "forbidden",
      detail: "the server has no API key, and without one it gives out no tokens",
    });
  },
);

test("may be longer than usual only up to --max-token-time, and is shorter than usual where that is", async () => {
  await using brief = await startServer({ "api-key": apiKey, "max-token-time": "90s" });
  const answer = await fetch(`${brief.url}/tokens?userid=1`, { method: "POST", headers: withKey });

  expect(JSON.parse(await answer.text()).expires).toBe(90);
});
