/**
 * The pages for people: the API's documentation, complete without a network. Nothing on them comes from anywhere else, and no
 * script is inline, so that the policy can forbid both.
 */
import uiScript from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import uiStyle from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import { Elysia } from "elysia";
import { securityHeaders } from "../headers.ts";

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>server-push API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger/ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/swagger/ui.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
`;

const start = `SwaggerUIBundle({ url: "/swagger/json", dom_id: "#ui", validatorUrl: null, deepLinking: true });\n`;

const hidden = { detail: { hide: true } };
const headers = { ...securityHeaders, "Cache-Control": "no-cache" };

/** Swagger UI sets styles on its elements and shows its own icons as data; all else is from here. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * These come after the documentation's plugin, which brings a page for /swagger too, whose scripts come from elsewhere: of two handlers
 * the later wins. Each makes its answer anew, as an answer that was read cannot be given again.
 */
export function pageRoutes() {
  return new Elysia()
    .get(
      "/",
      () => new Response(null, { status: 302, headers: { ...headers, Location: "/swagger" } }),
      hidden,
    )
    .get("/swagger", () => toAnswer(page, "text/html", { "Content-Security-Policy": policy }), hidden)
    .get("/swagger/start.js", () => toAnswer(start, "text/javascript"), hidden)
    .get("/swagger/ui.js", () => toAnswer(Bun.file(uiScript), "text/javascript"), hidden)
    .get("/swagger/ui.css", () => toAnswer(Bun.file(uiStyle), "text/css"), hidden);
}

function toAnswer(body: string | Bun.BunFile, type: string, more: Record<string, string> = {}): Response {
  return new Response(body, { headers: { ...headers, "Content-Type": `${type}; charset=utf-8`, ...more } });
}
