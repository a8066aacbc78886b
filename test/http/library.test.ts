/**
 * The browser's library as it is served: small, for pages of every origin, and loaded again only when it is another one.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { startServer, type TestServer } from "../support/server.ts";

const files = ["/client.js", "/client.mjs", "/client-shared.mjs"];
const maxGzipped = 4096;

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const load = (path: string, headers: Record<string, string>, method = "GET") =>
  fetch(server.url + path, { method, headers, decompress: false });

for (const path of files) {
  test(`${path} takes at most 4 KB, gzipped, and is the same text without`, async () => {
    const answer = await load(path, { "Accept-Encoding": "gzip, br" });
    const plain = await load(path, { "Accept-Encoding": "identity" });

    const bytes = await answer.bytes();
    expect(answer.headers.get("content-encoding")).toBe("gzip");
    expect(bytes.length).toBeLessThanOrEqual(maxGzipped);
    // As by everybody's gzip, which a proxy may have, too.
    expect(gzipSync(await plain.clone().bytes(), { level: 9 }).length).toBeLessThanOrEqual(maxGzipped);
    expect(plain.headers.get("content-encoding")).toBeNull();
    expect(new TextDecoder().decode(Bun.gunzipSync(new Uint8Array(bytes)))).toBe(await plain.text());
  });

  test(`${path} is a script, for every origin`, async () => {
    const { status, headers } = await load(path, { Origin: "https://elsewhere.example" });

    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(headers.get("cross-origin-resource-policy")).toBe("cross-origin");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  });

  test(`${path} is not sent again to who has it`, async () => {
    const etag = (await load(path, {})).headers.get("etag") ?? "";

    const same = await load(path, { "If-None-Match": etag });
    const weak = await load(path, { "If-None-Match": `"other", W/${etag}` });
    const other = await load(path, { "If-None-Match": '"other"' });

    expect([same.status, await same.text(), weak.status, other.status]).toEqual([304, "", 304, 200]);
    expect(same.headers.get("etag")).toBe(etag);
  });
}

test.each([
  ["", false],
  ["br", false],
  ["gzip;q=0", false],
  ["gzip; q=0.0, br", false],
  ["xgzip", false],
  ["gzip", true],
  ["br, GZIP;q=0.5", true],
  ["*", true],
])("Accept-Encoding %p is understood", async (accepted, isGzipped) => {
  const { headers } = await load("/client.js", { "Accept-Encoding": accepted });

  expect(headers.get("content-encoding")).toBe(isGzipped ? "gzip" : null);
  expect(headers.get("vary")).toBe("Accept-Encoding");
});

test("HEAD tells the same without the script, and nothing else is allowed", async () => {
  const head = await load("/client.js", {}, "HEAD");
  const post = await load("/client.js", {}, "POST");

  expect([head.status, await head.text()]).toEqual([200, ""]);
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
});

test("with --api-port it is where clients connect", async () => {
  await using divided = await startServer({ "api-port": "0" });

  expect((await fetch(`${divided.url}/client.js`)).status).toBe(200);
  expect((await fetch(`${divided.apiUrl}/client.js`)).status).toBe(404);
});
