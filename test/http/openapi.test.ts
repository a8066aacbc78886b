/**
 * The document of the API, held against the server that it describes: what is in it is right, and what the server does is in it.
 */
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { OpenAPIV3 } from "openapi-types";
import { postBatch, toArray } from "../support/batches.ts";
import { type Problem, toProblem, toReceipt } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { exchange } from "../support/raw.ts";
import { toHandshake } from "../support/frames.ts";
import { type Refusal, refusals, send } from "../support/refusals.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let document: OpenAPIV3.Document;

beforeAll(async () => {
  server = await startServer({ "max-message": "1KiB" });
  document = await readDocument(server);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** The document with a copy of what it refers to in the place of every reference. */
async function readDocument({ url }: TestServer): Promise<OpenAPIV3.Document> {
  const validator = new Validator();
  const validity = await validator.validate(JSON.parse(await (await fetch(`${url}/swagger/json`)).text()));
  expect(validity).toEqual({ valid: true });
  // It is a valid document, as was found just above.
  return validator.resolveRefs() as unknown as OpenAPIV3.Document;
}

const methods = ["get", "post", "put", "delete", "patch"] as const;

interface Operation extends OpenAPIV3.OperationObject {
  readonly method: string;
  readonly path: string;
}

function operations(): Operation[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item?.[method];
      return operation === undefined ? [] : [{ ...operation, method: method.toUpperCase(), path }];
    }),
  );
}

function operationOf({ method, target }: Pick<Refusal, "method" | "target">): Operation | undefined {
  const [path] = target.split("?");
  return operations().find((operation) => operation.method === method && operation.path === path);
}

// References are resolved: what could be one in the types is none here.
const responsesOf = (operation: Operation) =>
  Object.entries(operation.responses) as [string, OpenAPIV3.ResponseObject][];

/** The problems that a response has as examples, by code. */
function examplesOf(response: OpenAPIV3.ResponseObject | undefined): Record<string, Problem> {
  const examples = response?.content?.["application/problem+json"]?.examples ?? {};
  return Object.fromEntries(
    Object.entries(examples).map(([code, example]) => [code, "value" in example ? example.value : undefined]),
  );
}

function allResponses(): [string, OpenAPIV3.ResponseObject][] {
  // As above: resolved.
  const shared = Object.entries(document.components?.responses ?? {}) as [string, OpenAPIV3.ResponseObject][];
  return [...operations().flatMap(responsesOf), ...shared];
}

describe("the document", () => {
  test("is valid by the schema of the OpenAPI version that it names", async () => {
    const specification = JSON.parse(await (await fetch(`${server.url}/swagger/json`)).text());
    const validator = new Validator();

    expect(await validator.validate(specification)).toEqual({ valid: true });
    expect(specification.openapi).toStartWith(validator.version);
  });

  test("has every call of the API, and no other", () => {
    expect(
      operations()
        .map(({ method, path }) => `${method} ${path}`)
        .toSorted(),
    ).toEqual([
      "DELETE /sessions",
      "GET /events",
      "GET /healthz",
      "GET /metrics",
      "GET /poll",
      "GET /presence",
      "GET /push",
      "GET /pushtoall",
      "GET /readyz",
      "GET /sessions",
      "GET /sse",
      "GET /ws",
      "POST /batch",
      "POST /push",
      "POST /pushtoall",
      "POST /tokens",
    ]);
  });

  test("has the methods of each path that the server itself names for it", async () => {
    for (const path of Object.keys(document.paths)) {
      const answer = await fetch(server.url + path, { method: "OPTIONS" });

      const named = answer.headers.get("allow")?.split(", ") ?? [];
      expect({ path, methods: named.filter((method) => !["HEAD", "OPTIONS"].includes(method)) }).toEqual({
        path,
        methods: operations()
          .filter((operation) => operation.path === path)
          .map(({ method }) => method),
      });
    }
  });

  test("names every operation once, and says what it does and for whom", () => {
    const known = new Set(document.tags?.map(({ name }) => name));

    expect(new Set(operations().map(({ operationId }) => operationId)).size).toBe(operations().length);
    for (const { summary, tags = [] } of operations()) {
      expect(summary).toMatch(/^[A-Z].{10,}$/);
      expect(tags.filter((tag) => known.has(tag))).toHaveLength(1);
    }
  });

  test("has exactly the parameters that a call takes in its query", async () => {
    for (const { method, path, parameters = [] } of operations()) {
      const documented = parameters.flatMap((parameter) =>
        "name" in parameter && parameter.in === "query" ? [parameter.name] : [],
      );
      const answer = await fetch(`${server.url}${path}?unknown=1`, { method });
      if (documented.length === 0) continue;

      const problem = await toProblem(answer);
      const example = examplesOf(responseOf(answer.status, method, path))[problem.code];
      expect(example?.detail.replace(/"\w+"/, '"unknown"')).toBe(problem.detail);
      const { detail } = problem;
      expect({ method, path, parameters: detail.split("expected ")[1] }).toEqual({
        method,
        path,
        parameters: documented.join(", "),
      });
    }
  });

  test("gives every parameter a description, an example and the limits that hold", () => {
    const limits = Object.entries(document.components?.parameters ?? {}).map(([name, parameter]) => {
      if (!("name" in parameter) || parameter.schema === undefined || "$ref" in parameter.schema)
        return [name];
      expect(parameter.description).toBeString();
      const { type, minLength, maxLength, minimum, maximum } = parameter.schema;
      const types = { integer: "number", boolean: "boolean" } as const;
      expect(typeof parameter.example).toBe(types[type as keyof typeof types] ?? "string");
      return type === "integer" ? [name, minimum, maximum] : [name, minLength, maxLength];
    });

    expect(limits).toEqual([
      ["userid", 1, 128],
      ["compid", 1, 128],
      ["message", 1, undefined],
      ["event", 1, 64],
      ["key", 1, 128],
      ["ttl", 0, 31_536_000],
      ["except", 22, 22],
      ["session", 22, 22],
      ["receiptWait", 1, 60],
      ["back", undefined, undefined],
      ["limit", 1, 1000],
      ["after", 1, undefined],
      ["idempotencyKey", 1, 255],
      ["types", 1, undefined],
      ["since", 1, undefined],
      ["last_event_id", 1, undefined],
      ["lastEventIdHeader", undefined, undefined],
      ["push", 1, undefined],
      ["expires", 1, undefined],
      ["token", 1, undefined],
      ["wait", 0, 120],
    ]);
  });

  test("says of every answer what it means", () => {
    for (const [, { description }] of allResponses()) expect(description).toMatch(/^.{5,}$/);
  });

  test("has an example of every error", () => {
    const shown = new Set(allResponses().flatMap(([, response]) => Object.keys(examplesOf(response))));

    const problem = document.components?.schemas?.["Problem"];
    const codes = problem && "properties" in problem ? problem.properties?.["code"] : undefined;
    expect([...shown].toSorted()).toEqual((codes && "enum" in codes ? codes.enum : [])?.toSorted() ?? []);
  });

  test("has examples of errors that are consistent with the place where they stand", () => {
    for (const operation of operations())
      for (const [status, response] of responsesOf(operation))
        for (const [code, example] of Object.entries(examplesOf(response)))
          expect(example).toEqual({
            type: "about:blank",
            title: expect.any(String),
            status: Number(status),
            // A sentence that is whole: a list of what was expected has something in it.
            detail: expect.stringMatching(/[^ ]$/),
            code,
          });
  });
});

describe("the document of a batch", () => {
  test("has the properties that a message in it takes, each with the limits that hold", async () => {
    const answer = await postBatch(server, toArray([{ unknown: 1 }]));

    const { properties = {}, required, additionalProperties } = schemaOf("Item");
    const taken = (await toProblem(answer)).detail.split("expected ")[1];
    expect(Object.keys(properties).join(", ")).toBe(taken ?? "");
    expect([required, additionalProperties]).toEqual([["message"], false]);
    const limits = Object.entries(properties).map(([name, property]) => {
      if ("$ref" in property) return [name];
      const { type, minLength, maxLength, minimum, maximum } = property;
      return type === "integer" ? [name, minimum, maximum] : [name, minLength, maxLength];
    });
    expect(limits).toEqual([
      ["userid", 1, 128],
      ["compid", 1, 128],
      ["all", undefined, undefined],
      ["message", 1, undefined],
      ["event", 1, 64],
      ["key", 1, 128],
      ["ttl", 0, 31_536_000],
      ["except", 22, 22],
    ]);
  });

  test("says which types a batch may have, as its refusal does", async () => {
    const answer = await postBatch(server, { body: "[]", type: "text/plain" });

    const body = operationOf({ method: "POST", target: "/batch" })?.requestBody;
    const types = Object.keys(body !== undefined && "content" in body ? body.content : {});
    expect(types.join(" or ")).toBe((await toProblem(answer)).detail.split("expected ")[1] ?? "");
  });

  test("has the answers to one that reached nobody, that reached somebody, and that used a key again", async () => {
    const pushOnce = (message: string) =>
      postBatch(server, toArray([{ userid: "1", message }]), { "Idempotency-Key": "documented" });

    const answers = [await pushOnce("a"), await pushOnce("b")];
    await using client = await connect(server, "userid=1");
    answers.push(await postBatch(server, toArray([{ userid: "1", message: "c" }])));

    expect(await client.next()).toBe("c");
    expect(answers.map(({ status }) => status)).toEqual([202, 422, 200]);
    for (const { status } of answers) expect(isDocumented(status, "POST", "/batch")).toBe(true);
  });
});

test("the schema of a problem has every member that a problem can have, and requires those of all", async () => {
  const ofItem = await toProblem(await postBatch(server, toArray([{}])));
  const ofAll = await toProblem(await postBatch(server, toArray([])));

  const { properties = {}, required } = schemaOf("Problem");
  expect(Object.keys(properties)).toEqual(Object.keys(ofItem));
  expect(required).toEqual(Object.keys(ofAll));
  expect(properties["item"]).toMatchObject({ type: "integer", minimum: 0 });
});

test.each([
  [
    "an Idempotency-Key",
    "Idempotency-Key",
    "GET /push GET /pushtoall POST /batch POST /push POST /pushtoall",
  ],
  ["a Last-Event-ID", "Last-Event-ID", "GET /events GET /poll GET /sse GET /ws"],
])("the calls that take %s are those for which it means something", (_, header, expected) => {
  const taking = operations().filter(({ parameters = [] }) =>
    parameters.some((parameter) => "name" in parameter && parameter.name === header),
  );

  const calls = taking.map(({ method, path }) => `${method} ${path}`);
  expect(calls.toSorted().join(" ")).toBe(expected);
});

test("the headers that say where a stream begins are in the document, for whom they are sent to", async () => {
  const { id } = await toReceipt(await fetch(`${server.url}/push?userid=1&message=m`));
  const names = ["Last-Event-ID", "Server-Push-Resumed"];

  for (const [path, answer] of [
    ["/ws", await exchange(server, toHandshake(`since=${id}`))],
    ["/sse", await exchange(server, `GET /sse?since=${id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)],
    ["/poll", await exchange(server, `GET /poll?since=${id}&wait=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)],
  ] as const) {
    const documented = Object.keys(responseOf(answer.status, "GET", path)?.headers ?? {});
    expect([path, documented]).toEqual([path, names.filter((name) => answer.headers.has(name))]);
  }
});

describe.each(refusals.map((refusal) => [refusal.what, refusal] as const))(
  "the refusal of %s",
  (_, refusal) => {
    test("is in the document, under its status and its code, with its title", async () => {
      const { title } = await toProblem(await send(server, refusal));

      // What is no operation has no place among them: its answer is one of those that all paths share.
      const operation = operationOf(refusal);
      const place =
        operation === undefined
          ? allResponses().find(([, response]) => refusal.code in examplesOf(response))?.[1]
          : responsesOf(operation).find(([status]) => status === `${refusal.status}`)?.[1];
      expect(examplesOf(place)[refusal.code]).toMatchObject({ status: refusal.status, title });
    });
  },
);

describe("the answer", () => {
  test.each([
    "/healthz",
    "/readyz",
    "/metrics",
    "/ws?userid=1",
    "/poll?wait=0",
    "/push?userid=1&message=m",
    "/pushtoall?message=m",
  ])("to GET %s is in the document", async (target) => {
    const { status } = await fetch(server.url + target);

    expect(isDocumented(status, "GET", target)).toBe(true);
  });

  test.each(["GET", "POST"])("to a %s that reached somebody is in the document", async (method) => {
    await using client = await connect(server, "userid=1");
    const target = method === "GET" ? "/push?userid=1&message=m" : "/push?userid=1";

    const { status } = await fetch(server.url + target, { method, ...(method === "POST" && { body: "m" }) });

    expect(await client.next()).toBe("m");
    expect(isDocumented(status, method, target)).toBe(true);
  });

  test("to a handshake is in the document", async () => {
    const { status } = await exchange(server, toHandshake("userid=1"));

    expect(isDocumented(status, "GET", "/ws")).toBe(true);
  });

  test("to a session too many is in the document, with its Retry-After", async () => {
    await using full = await startServer({ "max-sessions": "1" });
    await using only = await connect(full);

    const { status } = await fetch(`${full.url}/ws`);

    expect(only.socket.readyState).toBe(WebSocket.OPEN);
    expect(Object.keys(responseOf(status, "GET", "/ws")?.headers ?? {})).toEqual(["Retry-After"]);
  });

  // Bun itself gives this one, before the request is the server's.
  test.each(["/push?userid=1&message=", "/pushtoall?message=", "/ws?userid="])(
    "to GET %s with 300 KB is in the document",
    async (target) => {
      const { status } = await exchange(
        server,
        `GET ${target}${"x".repeat(300_000)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
      );

      expect(status).toBe(431);
      expect(isDocumented(status, "GET", target)).toBe(true);
    },
  );

  test("to a push has the form that the document gives it", async () => {
    const receipt = await toReceipt(await fetch(`${server.url}/push?userid=1&message=m`));

    const schema = document.components?.schemas?.["Receipt"];
    expect(Object.keys(receipt)).toEqual(schema && "required" in schema ? (schema.required ?? []) : []);
    expect(receipt).toEqual({ id: expect.any(String), sessions: expect.any(Number) });
  });
});

/** A schema of the components, which are objects. */
function schemaOf(name: string): OpenAPIV3.SchemaObject {
  const schema = document.components?.schemas?.[name];
  if (schema === undefined || "$ref" in schema) throw new Error(`there is no schema ${name}`);
  return schema;
}

function isDocumented(status: number, method: string, target: string): boolean {
  return responseOf(status, method, target) !== undefined;
}

function responseOf(status: number, method: string, target: string): OpenAPIV3.ResponseObject | undefined {
  const operation = operationOf({ method, target });
  return operation && responsesOf(operation).find(([known]) => known === `${status}`)?.[1];
}
