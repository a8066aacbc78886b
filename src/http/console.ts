/**
 * The console, the page at `/`: its HTML, its script and its style. Nothing on it comes from anywhere else, and neither a script nor a
 * style is inline, so that the policy can forbid all of that.
 */
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { Asset } from "./asset.ts";
import { bundle } from "./bundle.ts" with { type: "macro" };
import type { Elsewhere } from "./openapi-elsewhere.ts";

export interface ConsoleRoutesParts {
  readonly access: Access;
  /** Where clients connect to, when it is not here. */
  readonly elsewhere?: Elsewhere;
  /** Whether events are posted to anybody. */
  readonly hasWebhooks: boolean;
}

const script = bundle("console/main.tsx", "esm");
const style = bundle("console/style.css", "esm");

const icon =
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#0a5ab0'/><path d='M8 16h13m-5-6 6 6-6 6' fill='none' stroke='#fff' stroke-width='3.5' stroke-linecap='round' stroke-linejoin='round'/></svg>";

const page = (attributes: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>server-push console</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon)}">
<link rel="stylesheet" href="/console.css">
<script type="module" src="/console.js"></script>
</head>
<body>
<div id="app"${attributes}>
<p class="blank">This page needs JavaScript, which does not run here. The server does, and takes pushes as ever.</p>
</div>
</body>
</html>
`;

const hidden = { detail: { hide: true } };

export function consoleRoutes({ access, elsewhere, hasWebhooks }: ConsoleRoutesParts) {
  const scriptFile = new Asset(script, "text/javascript");
  const styleFile = new Asset(style, "text/css");
  /** By what they say of the server; where clients connect to is as many as there are names for this machine. */
  const pages = new Map<string, Asset>();
  return new Elysia()
    .onBeforeHandle(({ request }) => access.checkHost(request))
    .get(
      "/",
      async ({ request }) => {
        const clients = elsewhere === undefined ? "" : toClientOrigin(elsewhere.url, request.url);
        const attributes = toAttributes(clients);
        let file = pages.get(attributes);
        if (file === undefined) {
          file = new Asset(page(attributes), "text/html");
          if (pages.size < maxPages) pages.set(attributes, file);
        }
        return await file.answer(request, { "Content-Security-Policy": toPolicy(clients) });
      },
      hidden,
    )
    .get("/console.js", async ({ request }) => await scriptFile.answer(request), hidden)
    .get("/console.css", async ({ request }) => await styleFile.answer(request), hidden);

  /** What the page must know of the server before it asks for anything: a key that it has to ask a person for, first of all. */
  function toAttributes(clients: string): string {
    return [
      // As its figures have it, so that a page knows whether they are of this start of the server.
      ` data-start="${performance.timeOrigin / 1000}"`,
      ...(clients === "" ? [] : [` data-clients="${clients}"`]),
      ...(access.needsKey ? [" data-key"] : []),
      ...(access.needsToken ? [" data-token"] : []),
      ...(access.takesAnonymous ? [" data-anonymous"] : []),
      ...(hasWebhooks ? [" data-webhooks"] : []),
    ].join("");
  }
}

/** Anybody can make up names. */
const maxPages = 16;

function toPolicy(clients: string): string {
  const connect = clients === "" ? "" : ` ${clients} ${clients.replace("http", "ws")}`;
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `connect-src 'self'${connect}`,
    "img-src data:",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

/** On all addresses, or on this machine alone. */
const anyName = /^(0\.0\.0\.0|\[::\]|\[::1\]|localhost|127(\.\d{1,3}){3})$/;

/**
 * Where clients connect to, as an origin. Where no name leads there but those of this machine, it is the name that the page was asked
 * for by: with any other name, the page would be a foreign one there.
 */
function toClientOrigin(url: string, asked: string): string {
  const clients = new URL(url);
  if (anyName.test(clients.hostname) && URL.canParse(asked)) clients.hostname = new URL(asked).hostname;
  return clients.origin;
}
