/**
 * What an operator asks: alive, ready, and the figures.
 */
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import { unkeptHeaders } from "../headers.ts";
import type { Hub } from "../hub.ts";
import type { Metrics } from "../metrics.ts";
import { withKey } from "./openapi.ts";
import { describeProblems } from "./problems.ts";

export interface HealthRoutesParts {
  readonly access: Access;
  readonly hub: Hub;
}

export interface MetricsRoutesParts {
  readonly access: Access;
  readonly metrics: Metrics;
}

export function healthRoutes({ access, hub }: HealthRoutesParts) {
  return new Elysia()
    .onBeforeHandle(({ request }) => access.checkHost(request))
    .get("/healthz", () => json("ok"), {
      detail: {
        operationId: "getHealth",
        tags: ["operators"],
        summary: "Whether the process is alive",
        responses: {
          200: { description: "It is", content: { "application/json": { example: { status: "ok" } } } },
          ...describeProblems(always),
        },
      },
    })
    .get(
      "/readyz",
      () => {
        hub.checkReady();
        return json("ready");
      },
      {
        detail: {
          operationId: "getReadiness",
          tags: ["operators"],
          summary: "Whether messages can be taken and delivered",
          responses: {
            200: {
              description: "They can",
              content: { "application/json": { example: { status: "ready" } } },
            },
            ...describeProblems([...always, "shutting_down", "unavailable"]),
          },
        },
      },
    );
}

export function metricsRoutes({ access, metrics }: MetricsRoutesParts) {
  return new Elysia().get(
    "/metrics",
    async ({ request }) => {
      access.checkMetrics(request);
      return new Response(await metrics.render(), {
        headers: { ...unkeptHeaders, "Content-Type": metrics.contentType },
      });
    },
    {
      detail: {
        operationId: "getMetrics",
        tags: ["operators"],
        security: withKey,
        summary: "The figures, in the text format of Prometheus",
        responses: {
          200: {
            description: "The figures",
            content: { "text/plain": { schema: { type: "string" }, example: "server_push_sessions 3\n" } },
          },
          ...describeProblems([...always, "unauthorized"]),
        },
      },
    },
  );
}

/** What every call can answer. */
const always = ["foreign_host", "method_not_allowed", "internal"] as const;

function json(status: string): Response {
  return new Response(JSON.stringify({ status }), {
    headers: { ...unkeptHeaders, "Content-Type": "application/json" },
  });
}
