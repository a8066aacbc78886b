/**
 * The console as files: small, kept by browsers as long as they are the same, and under a policy that lets nothing else in.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ServerProcess } from "../support/process.ts";
import { startServer } from "./console.ts";

const files = [
  ["/", "text/html; charset=utf-8"],
  ["/console.js", "text/javascript; charset=utf-8"],
  ["/console.css", "text/css; charset=utf-8"],
] as const;

/** In bytes, of all of it together, as it goes over the wire. */
const limit = 150_000;

let server: ServerProcess;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const ask = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  fetch(server.url + path, { headers, decompress: false });

describe.each(files)("%s", (path, type) => {
  test("is what its name says, and is asked for again each time", async () => {
    const { status, headers } = await ask(path);

    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe(type);
    expect(headers.get("cache-control")).toBe("no-cache");
    expect(headers.get("vary")).toBe("Accept-Encoding");
  });

  test("is not sent again to who has it", async () => {
    for (const encoding of ["gzip", "identity"]) {
      const tag = (await ask(path, { "Accept-Encoding": encoding })).headers.get("etag") ?? "";
      for (const known of [tag, `"other", W/${tag}`, "*"]) {
        const answer = await ask(path, { "Accept-Encoding": encoding, "If-None-Match": known });
        expect(answer.status).toBe(304);
        expect(answer.headers.get("etag")).toBe(tag);
        expect(await answer.text()).toBe("");
      }
    }
  });

  test("is sent to who has something else, such as the other representation", async () => {
    const tag = (await ask(path, { "Accept-Encoding": "gzip" })).headers.get("etag") ?? "";

    const answer = await ask(path, { "Accept-Encoding": "identity", "If-None-Match": tag });

    expect(answer.status).toBe(200);
  });

  test("is compressed for who takes it so, and is the same", async () => {
    const [plain, compressed] = [
      await ask(path, { "Accept-Encoding": "identity" }),
      await ask(path, { "Accept-Encoding": "br, gzip" }),
    ];

    expect(plain.headers.get("content-encoding")).toBeNull();
    expect(compressed.headers.get("content-encoding")).toBe("gzip");
    expect(new TextDecoder().decode(Bun.gunzipSync(await compressed.arrayBuffer()))).toBe(await plain.text());
  });

  test("is not compressed for who refuses that", async () => {
    const answer = await ask(path, { "Accept-Encoding": "gzip;q=0, identity" });

    expect(answer.headers.get("content-encoding")).toBeNull();
  });
});

test(`all of it is less than ${limit} bytes`, async () => {
  const sizes = await Promise.all(
    files.map(
      async ([path]) => (await (await ask(path, { "Accept-Encoding": "gzip" })).arrayBuffer()).byteLength,
    ),
  );

  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(limit);
});

test("the policy lets in nothing but what this server has", async () => {
  const policy = (await ask("/")).headers.get("content-security-policy")?.split("; ").toSorted();

  expect(policy).toEqual(
    [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "img-src data:",
      "form-action 'none'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].toSorted(),
  );
});

test("neither a script nor a style stands in the page, and it refers to nothing outside", async () => {
  const html = await (await fetch(`${server.url}/`)).text();

  expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/);
  for (const [, target = ""] of html.matchAll(/(?:src|href)="([^"]*)"/g))
    expect(target).toMatch(/^(\/(?!\/)|data:)/);
});

test("what was built names no file of the machine that has built it", async () => {
  const script = await (await fetch(`${server.url}/console.js`)).text();

  expect(script).not.toMatch(/node_modules|\.tsx\b/);
});

test.each([
  [{}, []],
  [{ "api-key": "0123456789abcdef" }, ["key", "token"]],
  [{ "jwt-secret": "s".repeat(32) }, ["token"]],
  [{ "jwt-secret": "s".repeat(32), anonymous: "true" }, ["token", "anonymous"]],
  [{ webhook: "http://127.0.0.1:9/" }, ["webhooks"]],
] as const)("of a server with the settings %p the page says %p", async (settings, said) => {
  await using other = await startServer(settings);

  const html = await (await fetch(`${other.url}/`)).text();

  const names = Array.from(html.matchAll(/ data-(\w+)/g), ([, name = ""]) => name);
  expect(names).toEqual(["start", ...said]);
});

test("when the server has started is said by the page as by its figures", async () => {
  const [html, figures] = await Promise.all(
    ["/", "/metrics"].map(async (path) => await (await fetch(`${server.url}${path}`)).text()),
  );

  const [, said] = /data-start="([^"]+)"/.exec(html ?? "") ?? [];
  expect(figures).toContain(`\nprocess_start_time_seconds ${said}\n`);
});

async function readPage(url: string, host: string) {
  const answer = await fetch(url, { headers: { Host: host } });
  const [, clients] = /data-clients="([^"]*)"/.exec(await answer.text()) ?? [];
  const policy = answer.headers.get("content-security-policy")?.split("; ") ?? [];
  return { clients, connect: policy.find((directive) => directive.startsWith("connect-src")) };
}

describe("with a port of their own for publishers, the page", () => {
  test("may connect to where clients do, under the name that it was asked for by", async () => {
    await using apart = await startServer({ "api-port": "0" });

    for (const name of ["localhost", "127.0.0.1"]) {
      const { clients, connect } = await readPage(`${apart.apiUrl}/`, `${name}:1234`);
      expect(clients).toBe(`http://${name}:${apart.port}`);
      expect(connect).toBe(`connect-src 'self' http://${name}:${apart.port} ws://${name}:${apart.port}`);
    }
  });

  test.each(["push.example.com;script-src *", 'x"><script>', "a b", "", "[::1"])(
    "says nothing of a name that is none: %p",
    async (host) => {
      await using apart = await startServer({ "api-port": "0", "api-key": "0123456789abcdef" });

      const answer = await fetch(`${apart.apiUrl}/`, { headers: { Host: host } }).catch(() => undefined);
      const policy = answer?.headers.get("content-security-policy") ?? "";

      expect(policy).not.toContain("example.com");
      expect(policy.match(/script-src/g)?.length ?? 1).toBe(1);
      expect((await answer?.text()) ?? "").not.toContain('"><script>"');
    },
  );
});
