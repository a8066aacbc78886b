/**
 * Where a browser keeps something from the page: it says so, or does without it, and is never blank.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { openPage } from "../support/browser.ts";
import { mustSkip } from "../support/system.ts";
import { apiKey } from "../support/tokens.ts";
import { startServer } from "./console.ts";

setDefaultTimeout(60_000);

/** The page of this server as a site of its own, which a browser may do less with. */
function serve(server: { readonly url: string }, more: Readonly<Record<string, string>>) {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const answer = await fetch(server.url + new URL(request.url).pathname);
      const type = answer.headers.get("Content-Type") ?? "";
      return new Response(await answer.arrayBuffer(), { headers: { "Content-Type": type, ...more } });
    },
  });
}

test.skipIf(mustSkip("chromium")).each(["sandbox", "sandbox allow-scripts", "script-src 'none'"])(
  "a page whose script does not run says so: %s",
  async (policy) => {
    await using server = await startServer();
    await using site = serve(server, { "Content-Security-Policy": policy });
    await using page = await openPage();

    await page.show(site.url.href);

    // What runs no scripts of the page still answers.
    await page.until(`getComputedStyle(document.querySelector(".blank")).visibility === "visible"`);
    expect(await page.evaluate<string>(`document.body.innerText`)).toContain("This page needs JavaScript");
  },
);

test.skipIf(mustSkip("chromium"))("a page without a storage of its own asks for the key", async () => {
  await using server = await startServer({ "api-key": apiKey });
  await using site = serve(server, {
    "Content-Security-Policy": "sandbox allow-scripts",
    "Access-Control-Allow-Origin": "*",
  });
  await using page = await openPage();

  await page.show(site.url.href);

  await page.until(`document.querySelector("#key") !== null`);
  expect(await page.evaluate<boolean>(`document.querySelector(".blank") === null`)).toBe(true);
});
