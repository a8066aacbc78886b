/**
 * The pages for people. They must work where there is no network but this server, and let nothing else in.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Everything that a page refers to. */
async function referencesOf(page: Response): Promise<string[]> {
  const references: string[] = [];
  const rewriter = new HTMLRewriter().on("*", {
    element(element) {
      for (const [name, value] of element.attributes)
        if (["src", "href", "action", "data", "poster", "srcset"].includes(name)) references.push(value);
    },
  });
  await rewriter.transform(page).text();
  return references;
}

test("the documentation is a page of HTML in UTF-8", async () => {
  const answer = await fetch(`${server.url}/swagger`);

  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
});

test("the documentation refers to nothing outside of this server", async () => {
  const references = await referencesOf(await fetch(`${server.url}/swagger`));

  expect(references.length).toBeGreaterThan(2);
  for (const reference of references) expect(reference).toMatch(/^(\/(?!\/)|data:)/);
});

test("everything that the documentation refers to is there, and is what its name says", async () => {
  const references = await referencesOf(await fetch(`${server.url}/swagger`));

  for (const reference of references.filter((path) => path.startsWith("/swagger"))) {
    const answer = await fetch(server.url + reference);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe(
      reference.endsWith(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8",
    );
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect((await answer.text()).length).toBeGreaterThan(50);
  }
});

test("the documentation shows the document of this server", async () => {
  const script = await (await fetch(`${server.url}/swagger/start.js`)).text();

  expect(script).toContain('url: "/swagger/json"');
});

test("the style of the documentation loads nothing from elsewhere", async () => {
  const style = await (await fetch(`${server.url}/swagger/ui.css`)).text();

  const loaded = [...style.matchAll(/(?:url\(\s*["']?|@import\s+["']?)([^"')\s]+)/g)].map(
    ([, target]) => target,
  );
  for (const target of loaded) expect(target).toMatch(/^(data:|#)/);
});

test("the policy of the documentation allows scripts and connections of this server only", async () => {
  const { headers } = await fetch(`${server.url}/swagger`);

  const policy = new Map(
    headers
      .get("content-security-policy")
      ?.split("; ")
      .map((directive) => [directive.split(" ")[0], directive.split(" ").slice(1).join(" ")]),
  );
  expect(policy.get("default-src")).toBe("'none'");
  expect(policy.get("script-src")).toBe("'self'");
  expect(policy.get("connect-src")).toBe("'self'");
  expect(policy.get("frame-ancestors")).toBe("'none'");
});

test("the documentation has no script inside the page, which its policy would not run", async () => {
  const html = await (await fetch(`${server.url}/swagger`)).text();

  expect(html).not.toMatch(/<script(?![^>]*\ssrc=)/);
  expect(html).not.toMatch(/\son[a-z]+=/);
});

test("who is asked for a key is asked in the colours of their system, and finds the console", async () => {
  const html = await (await fetch(`${server.url}/swagger`)).text();

  expect(html).toContain("color-scheme: light dark");
  expect(html).toContain('<a href="/">');
});
