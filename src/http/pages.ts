/**
 * The pages for people: the API's documentation, complete without a network. Nothing on them comes from anywhere else, and no
 * script is inline, so that the policy can forbid both.
 */
import uiScript from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import uiStyle from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import { Elysia } from "elysia";

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
const day = "public, max-age=86400";
const common = { "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer" };

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

export function pageRoutes() {
  return new Elysia()
    .get("/", () => Response.redirect("/swagger", 302), hidden)
    .get(
      "/swagger",
      () => text(page, "text/html", { "Cache-Control": "no-cache", "Content-Security-Policy": policy }),
      hidden,
    )
    .get("/swagger/start.js", () => text(start, "text/javascript", { "Cache-Control": "no-cache" }), hidden)
    .get(
      "/swagger/ui.js",
      () => text(Bun.file(uiScript), "text/javascript", { "Cache-Control": day }),
      hidden,
    )
    .get("/swagger/ui.css", () => text(Bun.file(uiStyle), "text/css", { "Cache-Control": day }), hidden);
}

function text(body: string | Bun.BunFile, type: string, headers: Record<string, string>): Response {
  return new Response(body, { headers: { "Content-Type": `${type}; charset=utf-8`, ...common, ...headers } });
}
