/**
 * The browser's library: a classic script, the same as a module, and what the few pages load that share a connection. For pages of any
 * origin: it is no secret, and does nothing by itself.
 */
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { Asset } from "./asset.ts";
import { bundleSmall } from "./bundle.ts" with { type: "macro" };

const files = {
  "/client.js": bundleSmall("client/script.ts", "iife"),
  "/client.mjs": bundleSmall("client/module.ts", "esm"),
  "/client-shared.mjs": bundleSmall("client/shared.ts", "esm"),
};

const headers = {
  "Access-Control-Allow-Origin": "*",
  "Cross-Origin-Resource-Policy": "cross-origin",
};

export function libraryRoutes({ access }: { readonly access: Access }) {
  const routes = new Elysia().onBeforeHandle(({ request }) => access.checkHost(request));
  for (const [path, text] of Object.entries(files)) {
    const file = new Asset(text, "text/javascript");
    routes.get(path, async ({ request }) => await file.answer(request, headers), { detail: { hide: true } });
  }
  return routes;
}
