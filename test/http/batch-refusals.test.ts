/**
 * What a batch is refused for: one message that cannot be pushed refuses all of them, and is named.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { batchForms, postBatch } from "../support/batches.ts";
import { pushToAll, receiveUntil, toOffset, toProblem } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({ "max-message": "1KiB" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

type Wrong = readonly [what: string, json: string, code: string, names: readonly string[]];

/** Messages that cannot be pushed, as JSON. */
const wrong: readonly Wrong[] = [
  ["a number", "1", "malformed_body", ["not an object"]],
  ["a text", '"hello"', "malformed_body", ["not an object"]],
  ["null", "null", "malformed_body", ["not an object"]],
  ["an array", '[{"all":true,"message":"m"}]', "malformed_body", ["not an object"]],
  ["an array in five thousand others", nested(5000), "malformed_body", ["not an object"]],
  [
    "an unknown property",
    '{"userid":"1","comp":"x","message":"m"}',
    "unknown_parameter",
    ['"comp"', "compid"],
  ],
  ["a property in capitals", '{"UserID":"1","message":"m"}', "unknown_parameter", ['"UserID"']],
  [
    "the property __proto__",
    '{"__proto__":{"all":true},"message":"m"}',
    "unknown_parameter",
    ['"__proto__"'],
  ],
  [
    "the property constructor",
    '{"all":true,"constructor":1,"message":"m"}',
    "unknown_parameter",
    ["constructor"],
  ],
  [
    "a property with an escape",
    '{"all":true,"message":"m","\\u001b[2J":1}',
    "unknown_parameter",
    ["\\u001b[2J"],
  ],
  ["nothing in it", "{}", "missing_parameter", ["message"]],
  ["no message", '{"userid":"1"}', "missing_parameter", ["message", "text to push"]],
  [
    "a message that is a number",
    '{"all":true,"message":17}',
    "invalid_parameter",
    ["message is 17", "string"],
  ],
  [
    "a message that is null",
    '{"all":true,"message":null}',
    "invalid_parameter",
    ["message is null", "string"],
  ],
  ["a message that is an object", '{"all":true,"message":{}}', "invalid_parameter", ["message is an object"]],
  [
    "a message that is an array",
    '{"all":true,"message":["m"]}',
    "invalid_parameter",
    ["message is an array"],
  ],
  [
    "a message that is deeply nested",
    `{"all":true,"message":${nested(5000)}}`,
    "invalid_parameter",
    ["array"],
  ],
  ["an empty message", '{"all":true,"message":""}', "empty_message", ["empty", "1 byte"]],
  ["a large message", `{"all":true,"message":"${"x".repeat(1025)}"}`, "too_large", ["1025", "1024"]],
  ["a large message in UTF-8", `{"all":true,"message":"${"é".repeat(513)}"}`, "too_large", ["1026", "1024"]],
  [
    "half of a surrogate pair",
    '{"all":true,"message":"\\ud83d"}',
    "invalid_parameter",
    ["message", "surrogate"],
  ],
  ["the other half", '{"all":true,"message":"a\\ude00"}', "invalid_parameter", ["message", "surrogate"]],
  ["no address", '{"message":"m"}', "missing_address", ["userid", "compid", "all: true"]],
  ["all beside userid", '{"all":true,"userid":"1","message":"m"}', "invalid_parameter", ["all", "userid"]],
  ["all beside compid", '{"all":true,"compid":"x","message":"m"}', "invalid_parameter", ["all", "compid"]],
  ["all: false", '{"all":false,"message":"m"}', "invalid_parameter", ["all is false", "true"]],
  [
    "all: false beside userid",
    '{"all":false,"userid":"1","message":"m"}',
    "invalid_parameter",
    ["all is false"],
  ],
  ["all: null", '{"all":null,"message":"m"}', "invalid_parameter", ["all is null"]],
  ["all: 1", '{"all":1,"message":"m"}', "invalid_parameter", ["all is 1"]],
  ['all: "true"', '{"all":"true","message":"m"}', "invalid_parameter", ['all is "true"']],
  ["an empty userid", '{"userid":"","message":"m"}', "empty_parameter", ["userid", "1 byte"]],
  ["an empty compid", '{"userid":"1","compid":"","message":"m"}', "empty_parameter", ["compid"]],
  ["a userid that is a number", '{"userid":1,"message":"m"}', "invalid_parameter", ["userid is 1", "string"]],
  [
    "a compid that is null",
    '{"userid":"1","compid":null,"message":"m"}',
    "invalid_parameter",
    ["compid is null"],
  ],
  [
    "a long userid",
    `{"userid":"${"x".repeat(129)}","message":"m"}`,
    "invalid_parameter",
    ["userid", "129", "128"],
  ],
  [
    "a long compid",
    `{"compid":"${"é".repeat(65)}","message":"m"}`,
    "invalid_parameter",
    ["compid", "130", "128"],
  ],
  [
    "a line break in an id",
    '{"userid":"a\\r\\nb","message":"m"}',
    "invalid_parameter",
    ["userid", "control"],
  ],
  ["a NUL in an id", '{"compid":"\\u0000","message":"m"}', "invalid_parameter", ["compid", "control"]],
  ["C1 in an id", '{"userid":"\\u009b","message":"m"}', "invalid_parameter", ["userid", "control"]],
  ["U+FFFD in an id", '{"userid":"\\ufffd","message":"m"}', "invalid_parameter", ["userid", "U+FFFD"]],
  [
    "half of a pair in an id",
    '{"userid":"\\ud83d","message":"m"}',
    "invalid_parameter",
    ["userid", "surrogate"],
  ],
  ["an empty event", '{"all":true,"message":"m","event":""}', "empty_parameter", ["event"]],
  [
    "a long event",
    `{"all":true,"message":"m","event":"${"x".repeat(65)}"}`,
    "invalid_parameter",
    ["event", "65", "64"],
  ],
  [
    "an event of the server",
    '{"all":true,"message":"m","event":"push.x"}',
    "invalid_parameter",
    ['"push.x"', "push."],
  ],
  [
    "an event that is no text",
    '{"all":true,"message":"m","event":true}',
    "invalid_parameter",
    ["event is true"],
  ],
  [
    "an escape in an event",
    '{"all":true,"message":"m","event":"\\u001b"}',
    "invalid_parameter",
    ["event", "control"],
  ],
  ["an empty key", '{"all":true,"message":"m","key":""}', "empty_parameter", ["key"]],
  [
    "a long key",
    `{"all":true,"message":"m","key":"${"x".repeat(129)}"}`,
    "invalid_parameter",
    ["key", "129", "128"],
  ],
  [
    "a key that is a number",
    '{"all":true,"message":"m","key":1}',
    "invalid_parameter",
    ["key is 1", "string"],
  ],
  ["a tab in a key", '{"all":true,"message":"m","key":"a\\tb"}', "invalid_parameter", ["key", "control"]],
  [
    "a ttl below 0",
    '{"all":true,"message":"m","ttl":-1}',
    "invalid_parameter",
    ['ttl is "-1"', "0 to 31536000"],
  ],
  [
    "a ttl of a fraction",
    '{"all":true,"message":"m","ttl":0.5}',
    "invalid_parameter",
    ['ttl is "0.5"', "whole"],
  ],
  [
    "a ttl that is a text",
    '{"all":true,"message":"m","ttl":"60"}',
    "invalid_parameter",
    ['ttl is "60"', "number"],
  ],
  [
    "a ttl that is null",
    '{"all":true,"message":"m","ttl":null}',
    "invalid_parameter",
    ["ttl is null", "number"],
  ],
  [
    "a ttl of more than a year",
    '{"all":true,"message":"m","ttl":31536001}',
    "invalid_parameter",
    ["31536001", "31536000"],
  ],
  [
    "a ttl beyond all numbers",
    '{"all":true,"message":"m","ttl":1e999}',
    "invalid_parameter",
    ["ttl", "31536000"],
  ],
];

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

const good = '{"all":true,"message":"good"}';

/** The message at this place of a batch, with good ones before and after. */
function around(json: string, index: number, type: string): string {
  const items = [...Array.from({ length: index }, () => good), json, good];
  return type === "application/json" ? `[${items.join(",")}]` : items.join("\n");
}

describe.each(batchForms)("a batch as $name", ({ toBatch }) => {
  const { type } = toBatch([]);

  test.each(wrong)("is refused for %s, and names it", async (_, json, code, names) => {
    for (const index of [0, 2]) {
      const answer = await postBatch(server, { body: around(json, index, type), type });

      const problem = await toProblem(answer);
      expect(problem).toMatchObject({ status: answer.status, code, item: index });
      expect(answer.status).toBe(code === "too_large" ? 413 : 400);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      expect(problem.detail).toStartWith(`item ${index}: `);
      for (const name of names) expect(problem.detail).toContain(name);
    }
  });

  test("names the first of several that are wrong", async () => {
    const answer = await postBatch(server, toBatch([{ all: true, message: "m" }, { message: "m" }, 17]));

    expect(await toProblem(answer)).toMatchObject({ code: "missing_address", item: 1 });
  });

  test("is delivered to nobody and takes no id when it is refused", async () => {
    await using own = await startServer({ "max-message": "1KiB" });
    await using everyone = await connect(own, "userid=1&compid=x");

    for (const [, json] of wrong) await postBatch(own, { body: around(json, 2, type), type });
    const next = await pushToAll(own, "end");

    expect(await receiveUntil(everyone, "end")).toEqual([]);
    expect(toOffset(next)).toBe(1);
  });
});

describe("a line of NDJSON that is not JSON", () => {
  test.each([
    ["is cut off", '{"all":true,"message":"m"'],
    ["is two objects", `${good}${good}`],
    ["is two objects with a carriage return between them", `${good}\r${good}`],
    ["has a comma after it", `${good},`],
    ["is text", "hello"],
    ["has a line break in a string", '{"all":true,"message":"a'],
  ])("refuses the batch by its number when it %s", async (_, line) => {
    // What counts are the lines with something on them.
    const body = `\n${good}\r\n\n${good}\n${line}\n${good}`;

    const answer = await postBatch(server, { body, type: "application/x-ndjson" });

    expect(answer.status).toBe(400);
    expect(await toProblem(answer)).toMatchObject({
      code: "malformed_body",
      detail: "item 2: it is not JSON",
      item: 2,
    });
  });
});

test.each([
  ["a comma after the last", `${good},${good},`],
  ["two commas", `${good},${good},,${good}`],
  ["no comma", `${good},${good},${good}${good}`],
  ["a bracket of the other kind", `${good},${good},{"message":[}]`],
  ["a line break in a string", `${good},${good},"\n"`],
  ["text", `${good},${good},hello`],
])("an array with %s is refused by the number of that item", async (_, items) => {
  const answer = await postBatch(server, { body: `[${items}]`, type: "application/json" });

  expect(answer.status).toBe(400);
  expect(await toProblem(answer)).toMatchObject({
    code: "malformed_body",
    detail: "item 2: it is not JSON",
    item: 2,
  });
});

test.each(["userid=1", "ttl=60", "event=order", "key=progress", "message=m"])(
  "the query %s is refused: what it could say, each message says itself",
  async (query) => {
    const answer = await fetch(`${server.url}/batch?${query}`, {
      method: "POST",
      body: `[${good}]`,
      headers: { "Content-Type": "application/json" },
    });

    expect(answer.status).toBe(400);
    expect(await toProblem(answer)).toMatchObject({
      code: "unknown_parameter",
      detail: `parameter "${query.split("=")[0]}" is unknown here, expected none`,
    });
  },
);
