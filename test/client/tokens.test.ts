/**
 * Tokens, and what a server objects to: asked for at every connect and in time, and said in the server's own words.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { openGateway } from "../support/gateway.ts";
import { openLibrary } from "../support/listening.ts";
import { fixChance } from "../support/random.ts";
import { openRelay } from "../support/relay.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { apiKey, mint, pushWithKey } from "../support/tokens.ts";

setDefaultTimeout(60_000);

const transports = ["websocket", "sse", "poll"] as const;

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "api-key": apiKey, "public-metrics": "true" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Gives tokens of a user that last for so many seconds, and counts them. */
function issue(userid: string, seconds: number) {
  const given: string[] = [];
  const token = async () => {
    given.push(await mint(server, `userid=${userid}&expires=${seconds}`));
    return given.at(-1) ?? "";
  };
  return { given, token };
}

describe.each(transports)("over %s", (transport) => {
  test("a token says who it is, and is asked for at every connect", async () => {
    await using relay = await openRelay(server);
    const { given, token } = issue(`7-${transport}`, 3600);
    using page = openLibrary(relay, { compid: "inbox", token, transports: [transport] });
    await page.until("open");
    for (let count = 1; count <= 3; count++) {
      await eventually(
        "its session",
        async () => (await pushWithKey(server, `userid=7-${transport}`, `${count}`)) > 0,
      );
      relay.cut();
      relay.mend();
      await page.untilMessages(count);
    }

    await eventually("as many tokens", () => given.length >= page.of("open").length);
    expect(page.of("error")).toEqual([]);
  });

  test("a static one that is not good is final, in the server's words", async () => {
    using page = openLibrary(server, { token: "not.a.token", transports: [transport] });

    await page.until("close");

    const [{ detail } = { detail: undefined }] = page.of("error");
    expect(page.told).toEqual([
      { type: "error", code: "unauthorized", status: 401, detail, willReconnect: false },
      { type: "close", code: 1006, reason: detail, willReconnect: false },
    ]);
    expect(detail).toStartWith("token is malformed, ");
    expect(page.push.state).toBe("closed");
  });

  test.each([(token: string) => `${token}\n`, (token: string) => `Bearer ${token}`])(
    "of one that is not written as one, nobody is told: %p",
    async (write) => {
      const good = await mint(server, "userid=7");
      using page = openLibrary(server, { token: () => write(good), transports: [transport] });

      await page.until("error", 2);

      for (const { code, detail } of page.of("error")) {
        expect(code).toBe("unauthorized");
        expect(detail).not.toContain(good);
      }
    },
  );

  test("one that a function gives may be followed by a better one", async () => {
    let count = 0;
    const token = async () => (++count < 3 ? "not.a.token" : await mint(server, "userid=8"));
    using page = openLibrary(server, { token, transports: [transport] });

    await page.until("open");

    const refused = { type: "error", code: "unauthorized", status: 401, willReconnect: true };
    expect(page.told.slice(0, -1)).toMatchObject([refused, refused]);
  });

  test("a user who may not is not let in later either", async () => {
    const token = () => mint(server, "userid=9");
    using page = openLibrary(server, { userid: "10", token, transports: [transport] });

    await page.until("close");

    expect(page.told).toMatchObject([
      { type: "error", code: "forbidden", status: 403, willReconnect: false },
      { type: "close", willReconnect: false },
    ]);
  });

  test("a function that fails, in whatever way, is asked again", async () => {
    let count = 0;
    const token = () => {
      count++;
      if (count === 1) throw new Error("no token yet");
      if (count === 2) return Promise.reject(new Error("none again"));
      return mint(server, "userid=11");
    };
    using page = openLibrary(server, { token, transports: [transport] });

    await page.until("open");

    const failed = { type: "error", code: "failed", willReconnect: true };
    expect(page.told.slice(0, -1)).toEqual([
      { ...failed, detail: "Error: no token yet" },
      { ...failed, detail: "Error: none again" },
    ]);
  });
});

test("a function that never comes to an end is asked again", async () => {
  let count = 0;
  const token = () => (++count === 1 ? new Promise<string>(() => {}) : mint(server, "userid=12"));
  using page = openLibrary(server, { token, times: { open: 300 } });

  await page.until("open");

  expect(page.told.slice(0, -1)).toEqual([
    { type: "error", code: "failed", detail: "no answer in time", willReconnect: true },
  ]);
});

test("a stream that cannot go on, as there is no token for the next one, is no longer open", async () => {
  let count = 0;
  const token = async () => {
    if (++count > 1) throw new Error("none any more");
    return await mint(server, "userid=13&expires=2");
  };
  using page = openLibrary(server, { token, transports: ["sse"] });
  await page.until("error");

  expect(page.of("close")).toEqual([{ type: "close", code: 1006, reason: "", willReconnect: true }]);
  expect(page.push.state).toBe("connecting");
});

describe.concurrent("before a token expires", () => {
  test("a stream that goes back to what is better in the middle of that says nothing of it", async () => {
    await using gateway = await openGateway(server);
    gateway.upgrades = "refuse";
    const begin = performance.now();
    let count = 0;
    const token = async () => {
      const given = await mint(server, `userid=25&expires=${++count < 3 ? 3 : 60}`);
      if (count !== 3) return given;
      gateway.upgrades = "pass";
      await eventually("that it is time to go back", () => performance.now() - begin > 5000);
      return given;
    };
    // A stream is over after three quarters of its token's time, just before that.
    using page = openLibrary(gateway, { token, transports: ["websocket", "sse"], times: { better: 3500 } });

    await page.until("open", 2);

    expect(count).toBe(4);
    expect(page.told.map(({ type, transport }) => [type, transport])).toEqual([
      ["open", "sse"],
      ["open", "websocket"],
    ]);
  });

  test("a transport that does not open is given up in its time, though the token is over before", async () => {
    await using gateway = await openGateway(server);
    gateway.upgrades = "hang";
    const { given, token } = issue("26", 2);
    using page = openLibrary(gateway, { token, transports: ["websocket", "sse"], times: { open: 3000 } });

    await page.until("open");

    expect(page.push.transport).toBe("sse");
    expect(given.length).toBe(2);
    expect(page.of("error")).toEqual([]);
  });

  test("a WebSocket goes on with another one, as the same session", async () => {
    const { given, token } = issue("20", 3);
    using page = openLibrary(server, { token, transports: ["websocket"] });
    await page.until("open");
    const { session } = page.push;

    await eventually("three tokens", () => given.length >= 3, 20_000);
    expect(await pushWithKey(server, "userid=20", "still")).toBe(1);
    await page.untilMessages(1);

    expect(page.push.session).toBe(session);
    expect(page.told.length).toBe(1);
  });

  test.each(["sse", "poll"] as const)(
    "%s begins anew with another one, and misses nothing",
    async (transport) => {
      const userid = `21-${transport}`;
      const { given, token } = issue(userid, 2);
      using page = openLibrary(server, { token, transports: [transport] });
      await page.until("open");

      let pushed = 0;
      for (; given.length < 3; pushed++) {
        await pushWithKey(server, `userid=${userid}`, `${pushed}`);
        await page.untilMessages(pushed);
      }
      await page.untilMessages(pushed);

      expect(page.messages.map(({ data }) => data)).toEqual(
        Array.from({ length: pushed }, (_, index) => `${index}`),
      );
      expect(page.of("open").length).toBeGreaterThan(1);
      expect([page.of("close"), page.of("error"), page.of("reset")]).toEqual([[], [], []]);
    },
  );

  test("one that cannot be had now is asked for again when it has", async () => {
    let count = 0;
    const token = async () => {
      if (++count === 2) throw new Error("not now");
      return await mint(server, "userid=22&expires=2");
    };
    using page = openLibrary(server, { token, transports: ["websocket"] });

    await page.until("open", 2);

    expect(page.of("close")).toMatchObject([{ code: 4001, willReconnect: true }]);
    expect(page.of("open")[1]).toMatchObject({ resumed: true });
    expect(page.of("error")).toEqual([]);
  });

  test("the same one given again, as by a cache, is no flood", async () => {
    let asked = 0;
    let cached = "";
    const token = async () => {
      asked++;
      return (cached ||= await mint(server, "userid=23&expires=3"));
    };
    using page = openLibrary(server, { token, transports: ["websocket"] });

    await page.until("close");

    expect(asked).toBeLessThan(6);
    expect(page.of("close")).toMatchObject([{ code: 4001 }]);
  });

  test("a session that was lost leaves no renewal of its token behind", async () => {
    await using relay = await openRelay(server);
    const { given, token } = issue("25", 3);
    using page = openLibrary(relay, { token, transports: ["websocket"], times: { first: 1, cap: 1 } });
    await eventually("a renewal", () => given.length === 2);
    relay.cut();
    relay.mend();
    await eventually("the token of the next one", () => given.length > 2);
    const at = performance.now();

    const before = given.length;
    await eventually("two renewals", () => given.length >= before + 2);

    // Each comes when three quarters of two seconds or more are over.
    expect(performance.now() - at).toBeGreaterThan(2900);
    expect(page.of("error")).toEqual([]);
  });
});

test.each(transports)("over %s, a clock that is hours ahead is no reason for a flood", async (transport) => {
  const { now } = Date;
  let asked = 0;
  const token = async () => {
    asked++;
    return await mint(server, "userid=24&expires=60");
  };
  Date.now = () => now() + 7_200_000;
  try {
    using page = openLibrary(server, { token, transports: [transport] });
    await page.until("open");
    for (let count = 1; count <= 20; count++) {
      await eventually("its session", async () => (await pushWithKey(server, "userid=24", "m")) > 0);
      await page.untilMessages(count);
    }
    expect([asked, page.of("open").length]).toEqual([1, 1]);
  } finally {
    Date.now = now;
  }
});

test("a static token that has expired ends it for good, in the server's words", async () => {
  const token = await mint(server, "userid=30&expires=2");
  using page = openLibrary(server, { token });

  await page.until("error");

  expect(page.told).toMatchObject([
    { type: "open" },
    { type: "close", code: 4001, willReconnect: true },
    { type: "error", code: "unauthorized", status: 401, willReconnect: false },
    { type: "close", willReconnect: false },
  ]);
});

describe.concurrent.each(transports)("a server that is full, over %s", (transport) => {
  test("is asked again after as long as it says, and lets in who waited", async () => {
    await using small = await startServer({ "max-sessions": "1" });
    const other = await connect(small);
    using page = openLibrary(small, { userid: "1", transports: [transport], times: { first: 1, cap: 1 } });
    await page.until("error");
    const refusedAt = performance.now();
    await other[Symbol.asyncDispose]();
    await page.until("open");

    expect(performance.now() - refusedAt).toBeGreaterThan(4900);
    expect(page.of("error")[0]).toMatchObject({
      code: "too_many_sessions",
      status: 503,
      willReconnect: true,
    });
  });

  test("for one user says so", async () => {
    await using small = await startServer({ "max-sessions-per-user": "1" });
    await using other = await connect(small, "userid=1");
    using page = openLibrary(small, { userid: "1", transports: [transport] });

    await page.until("error");

    expect(other.socket.readyState).toBe(WebSocket.OPEN);
    expect(page.of("error")).toMatchObject([{ code: "quota_exceeded", status: 429, willReconnect: true }]);
    expect(page.push.state).toBe("connecting");
  });

  test("objects to what is wrong, for good", async () => {
    using page = openLibrary(server, { since: "yesterday", transports: [transport] });
    await page.until("close");
    expect(page.of("error")).toMatchObject([{ status: expect.any(Number), willReconnect: false }]);

    await using open = await startServer();
    using wrong = openLibrary(open, { userid: "", transports: [transport] });
    await wrong.until("close");
    expect(wrong.of("error")).toMatchObject([{ code: "empty_parameter", status: 400, willReconnect: false }]);
  });
});

test("what stands in the way and is no server of ours is asked again, whatever it says", async () => {
  const answers = [
    () => new Response("<h1>Not found</h1>", { status: 404 }),
    () => new Response("null", { status: 502 }),
    () => Response.json({ error: "gone" }, { status: 410 }),
    () => new Response("<h1>Log in</h1>", { headers: { "Content-Type": "text/html" } }),
  ];
  for (const answer of answers)
    for (const transport of transports) {
      const proxy = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
      using page = openLibrary({ url: proxy.url.href }, { transports: [transport] });
      await page.until("error", 2);
      expect(page.of("error").every(({ willReconnect }) => willReconnect)).toBe(true);
      expect(page.of("open")).toEqual([]);
      await proxy.stop(true);
    }
});

test("who is told that its token is over comes at once, and then after pauses that double", async () => {
  using _ = fixChance(0.999);
  const ended = `event: push.welcome\nid: e-0\ndata: {"session":"s","id":"e-0","idle":25}\n\nevent: push.close\ndata: {"code":4001,"reason":"expired"}\n\n`;
  await using proxy = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(ended) });
  const asked: number[] = [];
  const token = () => {
    asked.push(performance.now());
    return "";
  };
  const times = { first: 100, cap: 60_000 };
  using page = openLibrary({ url: proxy.url.href }, { token, transports: ["sse"], times });

  await page.until("close", 5);

  const [atOnce = Number.NaN, ...pauses] = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
  expect(atOnce).toBeLessThan(100);
  for (const [index, pause] of pauses.slice(0, 3).entries()) {
    expect(pause).toBeGreaterThan(200 * 2 ** index - 5);
    expect(pause).toBeLessThan(400 * 2 ** index);
  }
});
