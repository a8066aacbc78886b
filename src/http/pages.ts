/**
 * The pages for people: the API's documentation, complete without a network. Nothing on them comes from anywhere else, and no
 * script is inline, so that the policy can forbid both.
 */
import uiScript from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import uiStyle from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { securityHeaders } from "../headers.ts";
import start from "./documentation.js" with { type: "file" };

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>server-push API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger/ui.css">
<style>
html { color-scheme: light dark }
body { margin: 0 }
nav { padding: .75rem 1.25rem; font: 1rem/1.5 sans-serif }
nav a { color: #0a5ab0; color: light-dark(#0a5ab0, #74b4ff) }
form#ask { max-width: 26rem; margin: 4rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif }
form#ask label { display: block; font-weight: bold }
form#ask input, form#ask button { font: inherit; padding: .4rem .6rem }
form#ask input { width: 100%; box-sizing: border-box; margin-bottom: .6rem }
#problem { color: #a00000; color: light-dark(#a00000, #ff9389) }
</style>
</head>
<body>
<nav><a href="/">The console of this server</a></nav>
<form id="ask" hidden>
<h1>server-push API</h1>
<p>The documentation of this server needs one of its API keys. The key is kept in memory alone, until this page is closed.</p>
<label for="key">API key</label>
<input id="key" type="password" autocomplete="off" spellcheck="false" required aria-describedby="problem">
<button>Show the documentation</button>
<p id="problem" role="alert"></p>
</form>
<div id="ui"></div>
<script src="/swagger/ui.js"></script>
<script type="module" src="/swagger/start.js"></script>
</body>
</html>
`;

const hidden = { detail: { hide: true } };
const headers = { ...securityHeaders, "Cache-Control": "no-cache" };

/** Swagger UI sets styles on its elements and shows its own icons as data; all else is from here. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * These come after the documentation's plugin, which brings a page for /swagger too, whose scripts come from elsewhere: of two handlers
 * the later wins. Each makes its answer anew, as an answer that was read cannot be given again.
 */
export function pageRoutes({ access }: { readonly access: Access }) {
  return new Elysia()
    .onBeforeHandle(({ request }) => access.checkHost(request))
    .get("/swagger", () => toAnswer(page, "text/html", { "Content-Security-Policy": policy }), hidden)
    .get("/swagger/start.js", () => toAnswer(Bun.file(start), "text/javascript"), hidden)
    .get("/swagger/ui.js", () => toAnswer(Bun.file(uiScript), "text/javascript"), hidden)
    .get("/swagger/ui.css", () => toAnswer(Bun.file(uiStyle), "text/css"), hidden);
}

function toAnswer(body: string | Bun.BunFile, type: string, more: Record<string, string> = {}): Response {
  return new Response(body, { headers: { ...headers, "Content-Type": `${type}; charset=utf-8`, ...more } });
}
