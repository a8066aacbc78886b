/**
 * What an operator asks: alive, ready, and the figures.
 */
import { Elysia } from "elysia";
import type { Hub } from "../hub.ts";
import type { Metrics } from "../metrics.ts";
import { describeProblems } from "./openapi.ts";

export function statusRoutes({ hub, metrics }: { hub: Hub; metrics: Metrics }) {
  return new Elysia()
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
    )
    .get(
      "/metrics",
      async () =>
        new Response(await metrics.render(), {
          headers: { "Content-Type": metrics.contentType, "Cache-Control": "no-store" },
        }),
      {
        detail: {
          operationId: "getMetrics",
          tags: ["operators"],
          summary: "The figures, in the text format of Prometheus",
          responses: {
            200: {
              description: "The figures",
              content: { "text/plain": { schema: { type: "string" }, example: "server_push_sessions 3\n" } },
            },
            ...describeProblems(always),
          },
        },
      },
    );
}

/** What every call can answer. */
const always = ["method_not_allowed", "internal"] as const;

function json(status: string): Response {
  return new Response(JSON.stringify({ status }), {
    headers: { "Content-Type": "application/json", "Cache-Control": "no-store" },
  });
}
