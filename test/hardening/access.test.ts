/**
 * Who may do what: over every kind of call, who is let in and who is told why not.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { exchange } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

const key = "0123456789abcdef";
const other = "fedcba9876543210";

let open: TestServer;
let locked: TestServer;

beforeAll(async () => {
  [open, locked] = await Promise.all([
    startServer(),
    startServer({
      "api-key": `${key},${other}`,
      anonymous: "true",
      "allow-origin": "https://app.example.com,https://*.partner.example.com",
    }),
  ]);
});

afterAll(async () => {
  await open[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
});

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly type?: string;
}

const pushes: readonly Call[] = [
  { method: "GET", path: "/push?userid=1&message=m" },
  { method: "GET", path: "/pushtoall?message=m" },
  { method: "POST", path: "/push?userid=1", body: "m", type: "text/plain" },
  { method: "POST", path: "/pushtoall", body: "m", type: "text/plain" },
  { method: "POST", path: "/batch", body: '[{"all":true,"message":"m"}]', type: "application/json" },
];
const clients: readonly Call[] = ["/ws", "/sse", "/poll?wait=0"].map((path) => ({ method: "GET", path }));

/** Makes the call, and gives the status and the code of the error if there is one. */
async function ask(
  server: TestServer,
  { method, path, body = "", type }: Call,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const all = {
    Host: "127.0.0.1",
    "Content-Length": `${body.length}`,
    ...(type !== undefined && { "Content-Type": type }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  const answer = await exchange(server, `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
  const isProblem = answer.headers.get("content-type") === "application/problem+json";
  return isProblem ? `${answer.status} ${JSON.parse(answer.body).code}` : `${answer.status}`;
}

const bearer = (given: string) => ({ Authorization: `Bearer ${given}` });
/** What they answer to who may: a push that nobody was there for; and 426, as no handshake is made. */
const taken = "202";
const letIn = (path: string) => (path === "/ws" ? "426 upgrade_required" : "200");

describe("a push needs one of the API keys:", () => {
  for (const call of pushes)
    test(`${call.method} ${call.path}`, async () => {
      expect(await ask(locked, call, {})).toBe("401 unauthorized");
      expect(await ask(locked, call, bearer("x".repeat(16)))).toBe("401 unauthorized");
      expect(await ask(locked, call, bearer(key))).toBe(taken);
      expect(await ask(locked, call, bearer(other))).toBe(taken);
      expect(await ask(open, call, {})).toBe(taken);
    });
});

test("who has no key is told the scheme, and no key is in the answer", async () => {
  const answer = await fetch(`${locked.url}/push?userid=1&message=m`, { headers: bearer("x".repeat(16)) });

  expect(answer.headers.get("www-authenticate")).toStartWith('Bearer realm="server-push"');
  expect(JSON.stringify([...answer.headers]) + (await answer.text())).not.toMatch(
    new RegExp(`${key}|${other}|x{16}`),
  );
});

test("a key in the query is no key, and is refused by name", async () => {
  const call = { method: "GET", path: `/push?userid=1&message=m&key_=${key}` };

  expect(await ask(locked, call, {})).toBe("401 unauthorized");
  expect(await ask(locked, call, bearer(key))).toBe("400 unknown_parameter");
});

describe("the figures and the document", () => {
  test.each(["/metrics", "/swagger/json"])("at %s need a key", async (path) => {
    expect(await ask(locked, { method: "GET", path }, {})).toBe("401 unauthorized");
    expect(await ask(locked, { method: "GET", path }, bearer(key))).toBe("200");
    expect(await ask(open, { method: "GET", path }, {})).toBe("200");
  });

  test("are each shown to all by a setting of their own", async () => {
    await using metrics = await startServer({ "api-key": key, "public-metrics": "true" });
    await using docs = await startServer({ "api-key": key, "public-docs": "true" });

    expect(await ask(metrics, { method: "GET", path: "/metrics" }, {})).toBe("200");
    expect(await ask(metrics, { method: "GET", path: "/swagger/json" }, {})).toBe("401 unauthorized");
    expect(await ask(docs, { method: "GET", path: "/swagger/json" }, {})).toBe("200");
    expect(await ask(docs, { method: "GET", path: "/metrics" }, {})).toBe("401 unauthorized");
  });

  test.each(["/healthz", "/readyz"])("are not %s, which needs none", async (path) => {
    expect(await ask(locked, { method: "GET", path }, {})).toBe("200");
  });
});

/** Cross-site request forgery: whatever a page on another site can make a browser send. */
describe("a push that a browser makes", () => {
  const own = { Host: "push.example.com:8888", ...bearer(key) };
  const matrix: readonly (readonly [what: string, headers: Record<string, string>, expected: string])[] = [
    [
      "for a page of the same origin",
      { "Sec-Fetch-Site": "same-origin", Origin: "https://push.example.com" },
      taken,
    ],
    [
      "for a page of another port",
      { "Sec-Fetch-Site": "same-site", Origin: "http://push.example.com:3000" },
      taken,
    ],
    ["for an allowed page", { "Sec-Fetch-Site": "cross-site", Origin: "https://app.example.com" }, taken],
    ["for a page below an allowed one", { Origin: "https://a.b.partner.example.com" }, taken],
    ["because somebody typed the URL", { "Sec-Fetch-Site": "none" }, taken],
    ["for a neighbour's image", { "Sec-Fetch-Site": "same-site" }, "403 foreign_origin"],
    ["that says two things", { "Sec-Fetch-Site": "same-origin, cross-site" }, "403 foreign_origin"],
    [
      "for a name with a user before our own",
      { Origin: "https://evil.org@push.example.com" },
      "403 foreign_origin",
    ],
    ["for an image on another site", { "Sec-Fetch-Site": "cross-site" }, "403 foreign_origin"],
    ["for an old browser's foreign page", { Origin: "https://evil.example.com" }, "403 foreign_origin"],
    [
      "for a frame without an origin",
      { Origin: "null", "Sec-Fetch-Site": "cross-site" },
      "403 foreign_origin",
    ],
    ["for a frame without an origin, in an old browser", { Origin: "null" }, "403 foreign_origin"],
    ["for the bare name above allowed ones", { Origin: "https://partner.example.com" }, "403 foreign_origin"],
    ["for a name that ends alike", { Origin: "https://evilpartner.example.com" }, "403 foreign_origin"],
    ["for an allowed name without TLS", { Origin: "http://app.example.com" }, "403 foreign_origin"],
    ["for an allowed name's other port", { Origin: "https://app.example.com:444" }, "403 foreign_origin"],
    [
      "for a name that begins like an allowed one",
      { Origin: "https://app.example.com.evil.org" },
      "403 foreign_origin",
    ],
    [
      "for a name with a path before an allowed end",
      { Origin: "https://evil.org/.partner.example.com" },
      "403 foreign_origin",
    ],
    [
      "for a name with a user before an allowed end",
      { Origin: "https://evil.org@a.partner.example.com" },
      "403 foreign_origin",
    ],
    ["for the loopback, to a public name", { Origin: "http://localhost:8888" }, "403 foreign_origin"],
  ];
  for (const [what, headers, expected] of matrix)
    test(`${what} gets ${expected}`, async () => {
      for (const call of pushes) expect(await ask(locked, call, { ...own, ...headers })).toBe(expected);
    });

  test("for a page on another site is refused before its key is looked at", async () => {
    for (const call of pushes)
      expect(await ask(locked, call, { Host: "push.example.com", "Sec-Fetch-Site": "cross-site" })).toBe(
        "403 foreign_origin",
      );
  });

  test("on an open server is refused for other sites, too", async () => {
    for (const call of pushes) {
      expect(await ask(open, call, { Origin: "http://localhost:5173" })).toBe(taken);
      for (const headers of [
        { Origin: "https://evil.example.com" },
        { Origin: "null" },
        { "Sec-Fetch-Site": "cross-site" },
      ])
        expect(await ask(open, call, headers)).toBe("403 foreign_origin");
    }
  });
});

/** Cross-site WebSocket hijacking, and the same for the other ways to receive. */
describe("a page that connects", () => {
  test.each(clients)("to $path is let in from the same host and allowed origins alone", async (call) => {
    const host = { Host: "push.example.com" };
    for (const origin of [
      "https://push.example.com",
      "https://app.example.com",
      "https://x.partner.example.com",
    ])
      expect(await ask(locked, call, { ...host, Origin: origin })).toBe(letIn(call.path));
    for (const origin of [
      "https://evil.example.com",
      "null",
      "http://localhost",
      "https://app.example.com.evil.org",
    ])
      expect(await ask(locked, call, { ...host, Origin: origin })).toBe("403 foreign_origin");
  });

  test.each(clients)("to $path by a tag, which has no origin, is refused from another site", async (call) => {
    for (const server of [open, locked])
      expect(await ask(server, call, { "Sec-Fetch-Site": "cross-site" })).toBe("403 foreign_origin");
  });

  test("gets no handshake from a foreign page", async () => {
    const handshake = [
      "GET /ws HTTP/1.1",
      "Host: 127.0.0.1",
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    const from = (origin: string) => exchange(open, [...handshake, `Origin: ${origin}`, "\r\n"].join("\r\n"));

    expect((await from("http://localhost:5173")).status).toBe(101);
    expect((await from("https://evil.example.com")).status).toBe(403);
  });
});

/** DNS rebinding: a foreign page whose name its owner lets lead to 127.0.0.1. */
describe("a name that leads to this machine", () => {
  const everything: readonly Call[] = [
    ...pushes,
    ...clients,
    ...["/metrics", "/healthz", "/readyz", "/swagger/json"].map((path) => ({ method: "GET", path })),
  ];

  test.each([
    "evil.example.com",
    "evil.example.com:8888",
    "127.0.0.1.evil.org",
    "evil.com@localhost",
    "localhost\\.evil.com",
    "localhost.evil.org",
    "10.0.0.1",
    "[::2]",
    "a b",
  ])("and is %j is refused by an open server, whatever is asked", async (host) => {
    for (const call of everything) expect(await ask(open, call, { Host: host })).toBe("403 foreign_host");
  });

  test.each([
    "localhost",
    "LOCALHOST:8888",
    "localhost.",
    "app.localhost:8888",
    "127.0.0.1",
    "127.8.8.8",
    "[::1]:8888",
  ])("and is %j is none of those", async (host) => {
    // The stream of the name before may not have ended yet.
    for (const call of pushes) expect(await ask(open, call, { Host: host })).toMatch(/^20[02]$/);
    for (const call of clients) expect(await ask(open, call, { Host: host })).toBe(letIn(call.path));
  });

  test.each([{ "jwt-secret": "x".repeat(32) }, { "jwt-secret": "x".repeat(32), anonymous: "true" }])(
    "is refused where only clients need something, with %j",
    async (settings) => {
      await using server = await startServer(settings);
      const rebound = {
        Host: "evil.com:8888",
        Origin: "http://evil.com:8888",
        "Sec-Fetch-Site": "same-origin",
      };

      for (const call of [...everything, { method: "POST", path: "/tokens?userid=victim" }])
        expect(await ask(server, call, rebound)).toBe("403 foreign_host");
    },
  );

  test("may be any where there is a key, or where it was said outright", async () => {
    await using insecure = await startServer({ insecure: "true" });

    for (const call of clients)
      for (const server of [locked, insecure])
        expect(await ask(server, call, { Host: "push.example.com" })).toBe(letIn(call.path));
  });
});

test("refusals are counted under their codes", async () => {
  await using server = await startServer({ "api-key": key, "public-metrics": "true" });
  await ask(server, { method: "GET", path: "/push?userid=1&message=m" }, {});
  await ask(
    server,
    { method: "GET", path: "/push?userid=1&message=m" },
    { Origin: "https://evil.example.com" },
  );

  const figures = await (await fetch(`${server.url}/metrics`)).text();

  expect(figures).toContain('server_push_rejections_total{code="unauthorized"} 1\n');
  expect(figures).toContain('server_push_rejections_total{code="foreign_origin"} 1\n');
});
