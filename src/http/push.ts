/**
 * The calls of publishers: /push and /pushtoall, each as GET with the message in the query and as POST with it as the body.
 */
import { Elysia } from "elysia";
import { type Address, toTopic, topicOfAll } from "../address.ts";
import { PushError, quote } from "../errors.ts";
import type { Hub, Receipt } from "../hub.ts";
import { type Body, checkBody } from "../message.ts";
import type { Metrics } from "../metrics.ts";
import { readQuery } from "../query.ts";
import { describePush } from "./openapi.ts";

export interface PushRoutesParts {
  readonly hub: Hub;
  readonly metrics: Metrics;
  /** The largest message, in bytes. */
  readonly maxMessage: number;
}

export function pushRoutes({ hub, metrics, maxMessage }: PushRoutesParts) {
  return new Elysia()
    .get(
      "/push",
      ({ request }) => {
        const began = performance.now();
        refuseHead(request);
        const query = readQuery(request.url, ["userid", "compid", "message", "event"]);
        return publish(toPushTopic(query), requireMessage(query.message), query.event, began);
      },
      { detail: describePush({ form: "query", toAll: false }) },
    )
    .post(
      "/push",
      async ({ request }) => {
        const began = performance.now();
        const query = readQuery(request.url, ["userid", "compid", "event"]);
        const topic = toPushTopic(query);
        return publish(topic, await readBody(request, maxMessage), query.event, began);
      },
      { parse: "none", detail: describePush({ form: "body", toAll: false }) },
    )
    .get(
      "/pushtoall",
      ({ request }) => {
        const began = performance.now();
        refuseHead(request);
        const { message, event } = readQuery(request.url, ["message", "event"]);
        return publish(topicOfAll, requireMessage(message), event, began);
      },
      { detail: describePush({ form: "query", toAll: true }) },
    )
    .post(
      "/pushtoall",
      async ({ request }) => {
        const began = performance.now();
        const { event } = readQuery(request.url, ["event"]);
        return publish(topicOfAll, await readBody(request, maxMessage), event, began);
      },
      { parse: "none", detail: describePush({ form: "body", toAll: true }) },
    );

  function publish(
    topic: string,
    body: Body,
    event: string | undefined,
    began: number,
  ): Response | Promise<Response> {
    checkBody(body, maxMessage);
    const receipt = hub.publish(event === undefined ? { topic, body } : { topic, body, event });
    return receipt instanceof Promise
      ? receipt.then((given) => answer(given, began))
      : answer(receipt, began);
  }

  function answer({ id, sessions }: Receipt, began: number): Response {
    metrics.pushed((performance.now() - began) / 1000);
    // An id is letters, digits and a hyphen: nothing to escape.
    return new Response(`{"id":"${id}","sessions":${sessions}}`, sessions > 0 ? delivered : kept);
  }
}

// An instance is copied; an object would be read and checked name by name, at every push.
const headers = new Headers({ "Content-Type": "application/json", "Cache-Control": "no-store" });
const delivered = { status: 200, headers };
const kept = { status: 202, headers };

/** Bun answers HEAD by running the handler of GET, which here would push. */
function refuseHead(request: Request): void {
  if (request.method === "HEAD")
    throw new PushError("method_not_allowed", "HEAD is not allowed here, expected GET or POST");
}

function toPushTopic(address: Address): string {
  if (address.userid === undefined && address.compid === undefined)
    throw new PushError(
      "missing_address",
      "no address is given, expected userid, compid or both; to reach everyone, call /pushtoall",
    );
  return toTopic(address);
}

function requireMessage(message: string | undefined): string {
  if (message !== undefined) return message;
  throw new PushError("missing_parameter", "parameter message is missing, expected the text to push");
}

/**
 * The body of a POST as a message: text of any text type or JSON, bytes of `application/octet-stream`. Reads no more than
 * the limit, whatever the client announces or goes on to send.
 */
async function readBody(request: Request, limit: number): Promise<Body> {
  const kind = readBodyKind(request.headers);
  const bytes = await readBytes(request, limit);
  if (kind === "bytes") return bytes;
  try {
    return utf8.decode(bytes);
  } catch {
    throw new PushError(
      "malformed_body",
      "the body is not UTF-8, expected UTF-8; to push bytes, send Content-Type: application/octet-stream",
    );
  }
}

/** Without `ignoreBOM`, which means "leave it in", a leading byte order mark would be lost. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  const announced = request.headers.get("content-length");
  if (announced !== null) {
    if (Number(announced) > limit)
      throw new PushError("too_large", `message is ${Number(announced)} bytes, the limit is ${limit}`);
    return await request.bytes();
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > limit) throw new PushError("too_large", `message is larger than the limit, ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** No type at all counts as text: many HTTP libraries send a string so. */
function readBodyKind(given: Headers): "text" | "bytes" {
  const encoding = given.get("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity")
    throw new PushError(
      "unsupported_media_type",
      `Content-Encoding ${quote(encoding)} is not supported, expected none`,
    );
  const contentType = given.get("content-type");
  if (contentType === null) return "text";
  const [type = "", ...parameters] = contentType
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  if (type === "application/octet-stream") return "bytes";
  if (!/^(text\/.+|application\/(.+\+)?json)$/.test(type))
    throw new PushError(
      "unsupported_media_type",
      `Content-Type ${quote(type)} is not supported, expected text/plain, application/json or application/octet-stream`,
    );
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (charset !== undefined && !["utf-8", "utf8", "us-ascii"].includes(charset))
    throw new PushError(
      "unsupported_media_type",
      `charset ${quote(charset)} is not supported, expected utf-8`,
    );
  return "text";
}
