/**
 * The calls of publishers for one message: /push and /pushtoall, each as GET with the message in the query and as POST with it as the
 * body.
 */
import { Elysia } from "elysia";
import type { Access } from "../auth/access.ts";
import type { Publisher } from "../auth/publisher.ts";
import { type Address, toTopic, topicOfAll } from "../address.ts";
import { PushError } from "../errors.ts";
import type { Hub } from "../hub.ts";
import type { Receipt } from "../idempotency.ts";
import { type Body, checkBody, checkEvent, type Draft, readTtl } from "../message.ts";
import type { Metrics } from "../metrics.ts";
import { readQuery, refuseHead } from "../query.ts";
import { checkSessionId } from "../session.ts";
import { readMessage } from "./body.ts";
import type { Connections } from "./listener.ts";
import { describePush } from "./openapi.ts";
import { headersOf, readIdempotencyKey, readWait } from "./publish.ts";

export interface PushRoutesParts {
  readonly access: Access;
  readonly hub: Hub;
  readonly metrics: Metrics;
  /** The largest message, in bytes. */
  readonly maxMessage: number;
  /** What is answered when a push fails after its handler has returned. */
  readonly answerError: (error: unknown, request: Request) => Response;
  readonly connections: Connections;
  /** Lets the connection of a request be silent for so many seconds. */
  readonly allowSilence: (request: Request, seconds: number) => void;
}

/** What every form of a push may have. */
const options = ["event", "key", "ttl", "except", "wait"] as const;

type Options = { readonly [name in (typeof options)[number]]?: string };

// Made once: a list for each push would be a twentieth of what the push costs.
const parameters = {
  push: {
    query: ["userid", "compid", "message", ...options],
    body: ["userid", "compid", ...options],
  },
  pushToAll: { query: ["message", ...options], body: options },
} as const;

/** A push that is under way. */
interface Call {
  readonly request: Request;
  readonly publisher: Publisher;
  readonly began: number;
}

export function pushRoutes({
  access,
  hub,
  metrics,
  maxMessage,
  answerError,
  allowSilence,
  connections,
}: PushRoutesParts) {
  // Elysia takes a handler with "return f(…)" in its source for one that is async, and awaits it, which costs every push 3 %. These end
  // with a condition, so their answer goes out as it is; and a promise that is rejected is theirs to answer.
  return new Elysia()
    .get(
      "/push",
      ({ request }) => {
        refuseHead(request);
        const call = begin(request);
        const query = readQuery(request.url, parameters.push.query);
        const { message } = query;
        return message === undefined ? refuseMissing() : publish(call, toPushTopic(query), message, query);
      },
      { detail: describePush({ form: "query", toAll: false }) },
    )
    .post(
      "/push",
      async ({ request }) => {
        const call = begin(request);
        const query = readQuery(request.url, parameters.push.body);
        const topic = toPushTopic(query);
        return publish(call, topic, await readMessage(request, maxMessage), query);
      },
      { parse: "none", detail: describePush({ form: "body", toAll: false }) },
    )
    .get(
      "/pushtoall",
      ({ request }) => {
        refuseHead(request);
        const call = begin(request);
        const query = readQuery(request.url, parameters.pushToAll.query);
        const { message } = query;
        return message === undefined ? refuseMissing() : publish(call, topicOfAll, message, query);
      },
      { detail: describePush({ form: "query", toAll: true }) },
    )
    .post(
      "/pushtoall",
      async ({ request }) => {
        const call = begin(request);
        const query = readQuery(request.url, parameters.pushToAll.body);
        return publish(call, topicOfAll, await readMessage(request, maxMessage), query);
      },
      { parse: "none", detail: describePush({ form: "body", toAll: true }) },
    );

  function begin(request: Request): Call {
    const began = performance.now();
    return { request, publisher: access.checkPublisher(request), began };
  }

  function publish(call: Call, topic: string, body: Body, query: Options): Response | Promise<Response> {
    const { request, publisher } = call;
    checkBody(body, maxMessage);
    const draft = toDraft(topic, body, query);
    const idempotencyKey = readIdempotencyKey(request.headers);
    if (query.wait !== undefined)
      return publishAndWait(call, draft, readWait(query.wait), idempotencyKey).catch((error: unknown) =>
        answerError(error, request),
      );
    if (idempotencyKey !== undefined)
      return hub
        .publishAll([draft], { idempotencyKey, publisher })
        .then(({ receipts: [receipt], repeated }) => answer(call, receipt, repeated))
        .catch((error: unknown) => answerError(error, request));
    const receipt = hub.publish(draft, publisher);
    if (!(receipt instanceof Promise)) return answer(call, receipt);
    return receipt
      .then((given) => answer(call, given))
      .catch((error: unknown) => answerError(error, request));
  }

  async function publishAndWait(
    call: Call,
    draft: Draft,
    seconds: number,
    idempotencyKey: string | undefined,
  ): Promise<Response> {
    const { request, publisher } = call;
    const { receipts } = hub;
    receipts.takePlace();
    let waiting: Promise<number> | undefined;
    try {
      allowSilence(request, seconds + graceSeconds);
      const outcome = await hub.publishAll([draft], {
        idempotencyKey,
        publisher,
        // Its first client may have handled it before all else about it is settled.
        // A publisher that has hung up needs its place no longer.
        onTaken: (offset) => (waiting = receipts.wait({ ...draft, offset }, seconds * 1000, request.signal)),
      });
      const [receipt] = outcome.receipts;
      // What came of the first push is not known any more.
      if (waiting === undefined) return answer(call, receipt, outcome.repeated);
      const published = performance.now();
      const received = await waiting;
      const waited = performance.now() - published;
      return answer({ ...call, began: call.began + waited }, receipt, false, received);
    } finally {
      if (waiting === undefined) receipts.giveBack();
    }
  }

  function answer(
    { request, began }: Call,
    receipt: Receipt | undefined,
    repeated = false,
    received?: number,
  ): Response {
    if (receipt === undefined) throw new TypeError("expected a receipt for every message");
    const { id, sessions } = receipt;
    metrics.pushed((performance.now() - began) / 1000);
    // An id is letters, digits and a hyphen: nothing to escape.
    const more = received === undefined ? "" : `,"received":${received}`;
    return new Response(`{"id":"${id}","sessions":${sessions}${more}}`, {
      status: sessions > 0 || received === 1 ? 200 : 202,
      headers: headersOf(request, repeated, connections.areLeaving),
    });
  }
}

/** For how much longer than the wait the connection may be silent. */
const graceSeconds = 10;

function toDraft(topic: string, body: Body, { event, key, ttl, except }: Options): Draft {
  // Nearly all have none of these, and a literal is made several times as fast.
  if (event === undefined && key === undefined && ttl === undefined && except === undefined)
    return { topic, body };
  return {
    topic,
    body,
    ...(event !== undefined && { event: checkEvent(event) }),
    ...(key !== undefined && { key }),
    ...(ttl !== undefined && { ttl: readTtl(ttl) }),
    ...(except !== undefined && { except: checkSessionId("except", except) }),
  };
}

function toPushTopic(address: Address): string {
  if (address.userid === undefined && address.compid === undefined)
    throw new PushError(
      "missing_address",
      "no address is given, expected userid, compid or both; to reach everyone, call /pushtoall",
    );
  return toTopic(address);
}

function refuseMissing(): never {
  throw new PushError("missing_parameter", "parameter message is missing, expected the text to push");
}
