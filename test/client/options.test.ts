/**
 * What a page may say when it connects, and what is none of that.
 */
import { expect, test } from "bun:test";
import { openLibrary } from "../support/listening.ts";
import { startServer } from "../support/server.ts";

test("a user that is null is none, and not one of that name", async () => {
  await using server = await startServer();
  // Pages are not all checked.
  using page = openLibrary(server, { userid: null as unknown as string, compid: "inbox" });
  await page.until("open");

  const answer = await fetch(`${server.url}/sessions`);

  const { sessions } = (await answer.json()) as { sessions: object[] };
  expect(sessions).toHaveLength(1);
  expect(sessions[0]).toMatchObject({ compid: "inbox" });
  expect(sessions[0]).not.toHaveProperty("userid");
});

test.each([
  [{ url: "localhost:8888" }, "url: localhost:8888"],
  [{ url: "ftp://localhost" }, "url: ftp://localhost"],
  [{ url: "httpx://localhost" }, "url: httpx://localhost"],
  [{ transports: ["sse", "ws"] }, "transports: sse,ws"],
  [{ transports: ["constructor"] }, "transports: constructor"],
  [{ transports: [] }, "transports: "],
])("%o is refused at once", (options, message) => {
  // Pages are not all checked.
  expect(() => openLibrary({ url: "http://127.0.0.1:1" }, options as object)).toThrow(new TypeError(message));
});

test("a URL is one in whatever case", async () => {
  await using server = await startServer();
  using page = openLibrary({ url: ` ${server.url.replace("http", "HTTP")}` });

  await page.until("open");
});
