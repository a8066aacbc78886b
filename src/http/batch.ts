/**
 * Many messages in one call: /batch, with a JSON array or a line of JSON for each. All of them are taken, or none: one item that
 * cannot be pushed refuses the whole batch, and the answer names it.
 */
import { Elysia } from "elysia";
import { setImmediate } from "node:timers/promises";
import { maxIdBytes, toTopic, topicOfAll } from "../address.ts";
import type { Access } from "../auth/access.ts";
import { PushError, quote, show } from "../errors.ts";
import type { Hub } from "../hub.ts";
import { checkBody, checkEvent, checkTtl, type Draft, maxEventBytes, maxKeyBytes } from "../message.ts";
import type { Metrics } from "../metrics.ts";
import { checkName, readQuery } from "../query.ts";
import { checkSessionId } from "../session.ts";
import { readArray, readLines } from "./batch-items.ts";
import { readBatch } from "./body.ts";
import type { Connections } from "./listener.ts";
import { describeBatch } from "./openapi.ts";
import { headersOf, readIdempotencyKey } from "./publish.ts";

export interface BatchRoutesParts {
  readonly access: Access;
  readonly hub: Hub;
  readonly metrics: Metrics;
  /** The largest message, in bytes. */
  readonly maxMessage: number;
  /** The largest batch, in bytes and in messages. */
  readonly maxBatch: number;
  readonly maxBatchCount: number;
  readonly connections: Connections;
}

export function batchRoutes(parts: BatchRoutesParts) {
  const { access, hub, metrics, maxMessage, maxBatch, maxBatchCount, connections } = parts;
  return new Elysia().post(
    "/batch",
    async ({ request }) => {
      const began = performance.now();
      const publisher = access.checkPublisher(request);
      readQuery(request.url, []);
      const { type, text } = await readBatch(request, maxBatch);
      const drafts = await toDrafts((type === "application/json" ? readArray : readLines)(text, maxMessage));
      const idempotencyKey = readIdempotencyKey(request.headers);
      const { receipts, repeated } = await hub.publishAll(drafts, { idempotencyKey, publisher });
      metrics.pushed((performance.now() - began) / 1000);
      return new Response(JSON.stringify(receipts), {
        status: receipts.some(({ sessions }) => sessions > 0) ? 200 : 202,
        headers: headersOf(request, repeated, connections.areLeaving),
      });
    },
    { parse: "none", detail: describeBatch() },
  );

  async function toDrafts(given: Iterable<readonly unknown[]>): Promise<Draft[]> {
    const drafts: Draft[] = [];
    for (const items of given) {
      for (const item of items) {
        const index = drafts.length;
        if (index === maxBatchCount)
          throw new PushError("too_large", `the batch has more items than the limit, ${maxBatchCount}`);
        drafts.push(inItem(index, () => toDraft(item, maxMessage)));
      }
      await setImmediate();
    }
    if (drafts.length === 0)
      throw new PushError("malformed_body", "the batch is empty, expected at least 1 item");
    return drafts;
  }
}

/** Does it, and names the item in what goes wrong. */
function inItem<Result>(index: number, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (error instanceof PushError) throw new PushError(error.code, `item ${index}: ${error.detail}`, index);
    throw error;
  }
}

interface Item {
  readonly userid?: string;
  readonly compid?: string;
  readonly all?: true;
  readonly message: string;
  readonly event?: string;
  readonly key?: string;
  readonly ttl?: number;
  readonly except?: string;
}

const properties = ["userid", "compid", "all", "message", "event", "key", "ttl", "except"] as const;

function toDraft(value: unknown, maxMessage: number): Draft {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new PushError("malformed_body", "it is not an object, expected one such as {userid, message}");
  for (const name in value) if (!properties.some((known) => known === name)) refuseUnknown(name);
  const given: { readonly [name in keyof Item]?: unknown } = value;
  const { userid, compid, all, message, event, key, ttl, except } = given;
  if (message === undefined)
    throw new PushError("missing_parameter", "message is missing, expected the text to push");
  const body = checkText("message", message);
  checkBody(body, maxMessage);
  const ids = {
    ...(userid !== undefined && { userid: checkId("userid", userid, maxIdBytes) }),
    ...(compid !== undefined && { compid: checkId("compid", compid, maxIdBytes) }),
  };
  return {
    topic: toItemTopic(ids, all),
    body,
    ...(event !== undefined && { event: checkEvent(checkId("event", event, maxEventBytes)) }),
    ...(key !== undefined && { key: checkId("key", key, maxKeyBytes) }),
    ...(ttl !== undefined && { ttl: checkTtl(ttl) }),
    ...(except !== undefined && { except: checkSessionId("except", checkText("except", except)) }),
  };
}

function toItemTopic(ids: { readonly userid?: string; readonly compid?: string }, all: unknown): string {
  const hasIds = ids.userid !== undefined || ids.compid !== undefined;
  if (all === undefined) {
    if (hasIds) return toTopic(ids);
    throw new PushError(
      "missing_address",
      "no address is given, expected userid, compid or both, or all: true to reach everyone",
    );
  }
  if (all !== true) throw new PushError("invalid_parameter", `all is ${show(all)}, expected true or nothing`);
  if (!hasIds) return topicOfAll;
  throw new PushError("invalid_parameter", "all is given beside userid or compid, expected one or the other");
}

function checkText(name: string, value: unknown): string {
  if (typeof value !== "string")
    throw new PushError("invalid_parameter", `${name} is ${show(value)}, expected a string`);
  if (value.isWellFormed()) return value;
  throw new PushError("invalid_parameter", `${name} has half of a surrogate pair, expected whole characters`);
}

function checkId(name: string, value: unknown, limit: number): string {
  const text = checkText(name, value);
  if (text === "") throw new PushError("empty_parameter", `${name} is empty, expected at least 1 byte`);
  checkName(name, text, limit);
  return text;
}

function refuseUnknown(name: string): never {
  throw new PushError(
    "unknown_parameter",
    `property ${quote(name)} is unknown here, expected ${properties.join(", ")}`,
  );
}
