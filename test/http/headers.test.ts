/**
 * What every answer says to browsers, so that none of it can be run, framed or kept: whatever was asked, and whether it was refused.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { refusals, send } from "../support/refusals.ts";
import { startServer, type TestServer } from "../support/server.ts";

let open: TestServer;
let locked: TestServer;

beforeAll(async () => {
  [open, locked] = await Promise.all([
    startServer({ "max-message": "1KiB" }),
    startServer({ "api-key": "0123456789abcdef" }),
  ]);
});

afterAll(async () => {
  await open[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
});

interface Call {
  readonly method: string;
  readonly target: string;
  readonly body?: string;
  readonly type?: string;
}

/** One of each call that is taken. */
const calls: readonly Call[] = [
  { method: "GET", target: "/push?userid=1&message=m" },
  { method: "GET", target: "/pushtoall?message=m" },
  { method: "POST", target: "/push?userid=1", body: "m" },
  { method: "POST", target: "/pushtoall", body: "m" },
  { method: "POST", target: "/batch", body: '[{"all":true,"message":"m"}]', type: "application/json" },
  { method: "POST", target: "/tokens?userid=1" },
  { method: "GET", target: "/events" },
  { method: "GET", target: "/presence" },
  { method: "GET", target: "/sessions" },
  { method: "DELETE", target: "/sessions?userid=nobody" },
  { method: "GET", target: "/ws" },
  { method: "GET", target: "/sse" },
  { method: "GET", target: "/poll?wait=0" },
  { method: "GET", target: "/healthz" },
  { method: "GET", target: "/readyz" },
  { method: "GET", target: "/metrics" },
];

/** What is not in the document of the API. */
const pages: readonly Call[] = [
  "/",
  "/console.js",
  "/console.css",
  "/swagger",
  "/swagger/json",
  "/swagger/start.js",
  "/swagger/ui.js",
  "/swagger/ui.css",
].map((target) => ({ method: "GET", target }));

/** Makes the call as a browser does, and leaves what it does not need of the answer. */
async function ask(
  { url }: TestServer,
  { method, target, body, type }: Call,
  more: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const answer = await fetch(url + target, {
    method,
    redirect: "manual",
    headers: { "Sec-Fetch-Site": "none", ...(type !== undefined && { "Content-Type": type }), ...more },
    ...(body !== undefined && { body }),
  });
  await answer.body?.cancel();
  return answer;
}

function expectSecured({ headers }: Response): void {
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
  const policy = headers.get("content-security-policy")?.split("; ") ?? [];
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy.find((directive) => directive.startsWith("script-src")) ?? "").not.toContain("unsafe");
}

const isUnkept = ({ headers }: Response) => headers.get("cache-control")?.startsWith("no-store") === true;

test("the calls here are those in the document of the API", async () => {
  const text = await (await fetch(`${open.url}/swagger/json`)).text();
  const { paths }: { paths: Readonly<Record<string, object>> } = JSON.parse(text);

  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(calls.map(({ method, target }) => `${method} ${target.split("?")[0]}`).toSorted()).toEqual(
    documented.toSorted(),
  );
});

describe.each([...calls, ...pages].map((call) => [call.method, call.target, call] as const))(
  "%s %s",
  (_, target, call) => {
    test("is answered with the headers", async () => {
      expectSecured(await ask(open, call));
    });

    test("with a slash at the end of its path is, too", async () => {
      expectSecured(await ask(open, { ...call, target: target.replace(/(?<=.)(?=\?|$)/, "/") }));
    });

    test("is refused with the headers, where it is", async () => {
      for (const answer of [
        await ask(locked, call),
        await ask(open, { ...call, target: `${target}${target.includes("?") ? "&" : "?"}unknown=1` }),
        await ask(open, call, { Host: "evil.example.com" }),
        await ask(open, { ...call, method: "PUT" }),
      ])
        expectSecured(answer);
    });

    test("by HEAD and OPTIONS is answered with the headers", async () => {
      for (const method of ["HEAD", "OPTIONS"]) expectSecured(await ask(open, { method, target }));
    });
  },
);

test("a push of no browser is told what costs nothing: not to guess, and not to keep", async () => {
  const { headers } = await fetch(`${open.url}/push?userid=1&message=m`);

  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("cache-control")).toBe("no-store");
});

test("what is true at this moment only, or for who has asked, is kept by no cache", async () => {
  for (const call of calls) {
    expect({ ...call, isUnkept: isUnkept(await ask(open, call)) }).toEqual({ ...call, isUnkept: true });
    expect({ ...call, isUnkept: isUnkept(await ask(locked, call)) }).toEqual({ ...call, isUnkept: true });
  }
  expect(isUnkept(await ask(open, { method: "GET", target: "/swagger/json" }))).toBe(true);
});

test.each(refusals.map((refusal) => [refusal.what, refusal] as const))(
  "the refusal of %s has the headers",
  async (_, refusal) => {
    const answer = await send(open, refusal);
    await answer.body?.cancel();

    expectSecured(answer);
  },
);

test("a push that is repeated is answered with the headers", async () => {
  const headers = { "Idempotency-Key": "headers" };
  const call = { method: "GET", target: "/push?userid=1&message=once" };
  await ask(open, call, headers);

  const repeated = await ask(open, call, headers);

  expect(repeated.headers.get("idempotency-replayed")).toBe("true");
  expectSecured(repeated);
});

test("an EventSource that is told to come back is told so with the headers", async () => {
  await using full = await startServer({ "max-sessions": "1" });
  await using _ = await connect(full);

  const answer = await ask(full, { method: "GET", target: "/sse" }, { Accept: "text/event-stream" });

  expect(answer.status).toBe(200);
  expectSecured(answer);
});

test("a message that looks like a page is not one to who asks for it", async () => {
  await fetch(`${open.url}/pushtoall?message=${encodeURIComponent("<script>alert(1)</script>")}`);

  const answer = await ask(open, { method: "GET", target: "/poll?wait=0&since=all" });

  expect(answer.headers.get("content-type")).toBe("application/json");
  expectSecured(answer);
});
