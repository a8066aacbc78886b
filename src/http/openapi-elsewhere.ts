/**
 * What the OpenAPI document says of the clients' calls where they are on another port than the document.
 */
import type { AnyElysia } from "elysia";
import type { OpenAPIV3 } from "openapi-types";

export interface Elsewhere {
  readonly receivers: readonly AnyElysia[];
  /** Where they are: `http://127.0.0.1:8888`. */
  readonly url: string;
}

/** Listening on all addresses, which is no place to call. */
const anyAddress = /\/\/(0\.0\.0\.0|\[::\])(?=:|$)/;

export function describeElsewhere({ receivers, url }: Elsewhere): OpenAPIV3.PathsObject {
  const servers = [
    { url: url.replace(anyAddress, "//localhost"), description: "The clients' port, `--port`" },
  ];
  const routes = receivers.flatMap((receiver) => receiver.routes);
  return Object.fromEntries(
    routes.map(({ path, method, hooks }) => [path, { servers, [method.toLowerCase()]: hooks.detail }]),
  );
}
