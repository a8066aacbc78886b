/**
 * The assembly of the HTTP side: the routes, the document of the API, and the one place where an error becomes an answer.
 */
import { swagger } from "@elysiajs/swagger";
import { type AnyElysia, Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { PushError, quote } from "../errors.ts";
import { securityHeaders, unkeptHeaders } from "../headers.ts";
import type { Events } from "../events.ts";
import type { Hub } from "../hub.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics.ts";
import type { Presence } from "../presence.ts";
import { readPath } from "../query.ts";
import type { Sessions } from "../session.ts";
import { batchRoutes } from "./batch.ts";
import { consoleRoutes } from "./console.ts";
import { toResponse } from "./errors.ts";
import type { Connections } from "./listener.ts";
import { describeElsewhere, type Elsewhere } from "./openapi-elsewhere.ts";
import { describeApi } from "./openapi.ts";
import { libraryRoutes } from "./library.ts";
import { pageRoutes } from "./pages.ts";
import { pushRoutes } from "./push.ts";
import { healthRoutes, metricsRoutes } from "./status.ts";
import type { EventReaders } from "./event-reader.ts";
import { eventRoutes } from "./events.ts";
import { sessionsRoutes } from "./sessions.ts";
import { tokenRoutes } from "./tokens.ts";

export interface AppParts {
  readonly access: Access;
  readonly hub: Hub;
  readonly sessions: Sessions;
  readonly presence: Presence;
  readonly events: Events;
  readonly eventReaders: EventReaders;
  /** How often who listens hears something, in milliseconds. */
  readonly ping: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** The largest message, in bytes. */
  readonly maxMessage: number;
  /** The largest batch, in bytes and in messages. */
  readonly maxBatch: number;
  readonly maxBatchCount: number;
  /** How far away the end of a token may be, in milliseconds. */
  readonly maxTokenTime: number;
  readonly version: string;
  /** The ways to receive: none, where only publishers and operators call. */
  readonly receivers: readonly AnyElysia[];
  /** The ways to receive that another port has, and where: the document describes them all the same. */
  readonly elsewhere?: Elsewhere;
  /** Whether events are posted to anybody. */
  readonly hasWebhooks: boolean;
  /** Whether publishers and operators call here. */
  readonly takesPublishers: boolean;
  readonly connections: Connections;
}

/** Where GET does more than to read. */
const withoutHead = new Set(["/push", "/pushtoall", "/sse", "/poll", "/events"]);

export function createApp(parts: AppParts): AnyElysia {
  const { access, metrics, logger, version, receivers, elsewhere, takesPublishers } = parts;
  const paths = elsewhere === undefined ? {} : describeElsewhere(elsewhere);
  // Compiled at its first request, a handler would stay behind the check whether it is; that costs every push 2 %.
  // And an answer that Bun holds as a value would be the plugin's for /swagger, and could not be given at /swagger/ at all.
  const app: AnyElysia = new Elysia({ normalize: false, precompile: true, nativeStaticResponse: false })
    .onError(
      { as: "global" },
      ({ code, error, request }) =>
        answerForeignHost(request) ??
        (code === "NOT_FOUND" ? answerUnrouted(request) : answerError(error, request)),
    )
    .use(healthRoutes(parts));
  if (takesPublishers)
    app
      .use(
        new Elysia()
          .onBeforeHandle(({ request, set }) => {
            access.checkDocs(request);
            Object.assign(set.headers, unkeptHeaders);
          })
          .use(swagger({ path: "/swagger", documentation: { ...describeApi(version), paths } })),
      )
      .use(pageRoutes(parts))
      .use(consoleRoutes(parts))
      .use(metricsRoutes(parts))
      .use(pushRoutes({ ...parts, answerError, allowSilence }))
      .use(batchRoutes(parts))
      .use(sessionsRoutes(parts))
      .use(eventRoutes({ ...parts, allowSilence }))
      .use(tokenRoutes(parts));
  for (const receiver of receivers) app.use(receiver);
  if (receivers.length > 0) app.use(libraryRoutes(parts));

  /** What pages call, so that those that may read the answer can also read why there is none. */
  const forPages = new Set(receivers.flatMap(({ routes }) => routes.map(({ path }) => path)));
  const methods = new Map<string, string>();
  for (const [path, routes = []] of Object.entries(Object.groupBy(app.routes, (route) => route.path))) {
    const own = new Set(routes.map((route) => route.method));
    if (own.has("GET") && !withoutHead.has(path)) own.add("HEAD");
    methods.set(path, [...own, "OPTIONS"].join(", "));
  }
  return app;

  function allowSilence(request: Request, seconds: number): void {
    app.server?.timeout(request, seconds);
  }

  function answerError(error: unknown, request: Request): Response {
    if (error instanceof PushError) return refuse(error, request);
    // The client went away while its body was being read: nobody is there to answer.
    if (error instanceof Error && error.name === "AbortError")
      return refuse(new PushError("malformed_body", "the body ended before its announced length"), request);
    logger.error("request failed", {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    return refuse(new PushError("internal", "the server made a mistake, and has logged it"), request);
  }

  function refuse(error: PushError, request: Request): Response {
    metrics.rejected(error);
    const path = readPath(request.url);
    const allowed = error.code === "method_not_allowed" ? methods.get(path) : undefined;
    return toResponse(error, {
      ...(allowed !== undefined && { Allow: allowed }),
      ...(forPages.has(path) && error.code !== "foreign_host" && access.toCorsHeaders(request, error.code)),
    });
  }

  /** A page whose name leads here is told nothing else, not even what is where: what has no route has asked nobody yet. */
  function answerForeignHost(request: Request): Response | undefined {
    try {
      access.checkHost(request);
      return undefined;
    } catch (error) {
      return answerError(error, request);
    }
  }

  function answerUnrouted(request: Request): Response {
    const path = readPath(request.url);
    const allowed = methods.get(path);
    if (allowed === undefined)
      return refuse(
        new PushError(
          "not_found",
          `nothing is at ${quote(path)}; ${takesPublishers ? "the API is documented at /swagger" : "publishers and operators call the port of --api-port"}`,
        ),
        request,
      );
    if (request.method === "OPTIONS") {
      const preflight = forPages.has(path) ? access.toPreflightHeaders(request) : {};
      return new Response(null, {
        status: 204,
        headers: { ...securityHeaders, Allow: allowed, ...preflight },
      });
    }
    return refuse(
      new PushError("method_not_allowed", `${request.method} is not allowed here, expected ${allowed}`),
      request,
    );
  }
}
