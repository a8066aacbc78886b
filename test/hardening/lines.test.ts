/**
 * Attacks with the end of a line: where text stands between line breaks, as in the head of an answer, an event stream, a log or the
 * figures, whoever can write one can write what follows it.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { push, toReceipt, untilLogged } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { openEventStream, type TestEventStream } from "../support/event-stream.ts";
import { toHandshake } from "../support/frames.ts";
import { exchange } from "../support/raw.ts";
import { openSiege, rejections, type Siege } from "../support/siege.ts";

let siege: Siege;

beforeAll(async () => {
  siege = await openSiege({ "log-level": "debug" });
});

afterAll(async () => {
  await siege[Symbol.asyncDispose]();
});

const toQuery = (ids: Readonly<Record<string, string>>) => new URLSearchParams(ids).toString();

function toGet(path: string, query: Readonly<Record<string, string>>): string {
  return `GET ${path}?${toQuery(query)} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

/** A request whose characters are bytes. */
function toPost(target: string, type: string, text: string): string {
  const body = Buffer.from(text).toString("latin1");
  const head = [`POST ${target} HTTP/1.1`, "Host: localhost", `Content-Type: ${type}`];
  return `${head.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** A stream for this user, the welcome taken from it. */
async function openStream(userid: string): Promise<TestEventStream> {
  const stream = await openEventStream(siege.server, { query: toQuery({ userid }) });
  await stream.event();
  return stream;
}

/** What the format of event streams makes of the line breaks of a text: its own. */
function toData(text: string): string {
  return text.replaceAll(/\r\n|\r/g, "\n");
}

/** What ends a line somewhere: in HTTP, in an event stream, in a terminal, in the eyes of a careless parser. */
const breaks = ["\r\n", "\n", "\r", "\u0000", "\u000b", "\u000c", "\u0085", "\u001b[2J"];
const forgery = "X-Forged: 1";

describe("a line break", () => {
  // In an id or the name of an event it would begin another field of the stream, or another header of the answer.
  test("in an id or in the name of an event is refused, on every call that takes one", async () => {
    const texts = breaks.map((text) => `a${text}${forgery}${text}${text}`);
    const inIds = texts.flatMap((text) =>
      ["userid", "compid"].flatMap((name) => [
        toGet("/push", { [name]: text, message: "m" }),
        toPost(`/push?${toQuery({ [name]: text })}`, "text/plain", "m"),
        toPost("/batch", "application/json", JSON.stringify([{ [name]: text, message: "m" }])),
        toHandshake(toQuery({ [name]: text })),
        toGet("/sse", { [name]: text }),
        toGet("/poll", { [name]: text, wait: "0" }),
      ]),
    );
    const inEvents = texts.flatMap((event) => [
      toGet("/push", { userid: "1", event, message: "m" }),
      toGet("/pushtoall", { event, message: "m" }),
      toPost(`/pushtoall?${toQuery({ event })}`, "text/plain", "m"),
      toPost("/batch", "application/x-ndjson", JSON.stringify({ all: true, event, message: "m" })),
    ]);
    const requests = [...inIds, ...inEvents];

    await siege.withstand(
      async (server) => {
        for (let turn = 0; turn < 3; turn++)
          for (const { status, headers } of await Promise.all(
            requests.map((request) => exchange(server, request)),
          ))
            expect([status, headers.has("x-forged")]).toEqual([400, false]);
      },
      { [rejections("invalid_parameter")]: 3 * requests.length, server_push_sessions_opened_total: 0 },
    );
  });

  // An id that a client brings is not what its answer says.
  test("in the id that a client had last is in no header of the answer", async () => {
    const texts = breaks.map((text) => `k3f9a0zq-1${text}${forgery}${text}${text}`);

    await siege.withstand(async (server) => {
      for (const text of texts)
        for (const request of [
          toHandshake(toQuery({ last_event_id: text })),
          toGet("/sse", { last_event_id: text }),
          toGet("/poll", { last_event_id: text, wait: "0" }),
        ]) {
          const { headers } = await exchange(server, request);
          expect(JSON.stringify([...headers])).not.toMatch(/forged/i);
        }
    }, {});
  });
});

describe("an event stream", () => {
  const forgeries = [
    "x\n\nid: forged-9\nevent: push.welcome\ndata: forged\n\n",
    "x\r\rid: forged-9\rdata: forged\r\r",
    "\r\n\r\nevent: forged\r\ndata: forged\r\n\r\n",
    "\n\nretry: 1\n\n",
    ":\n\n:",
    "\ufeffdata: x",
    "\u2028\u2029\u0085id: forged",
    "data: x\n data: y\n\tid: z",
    "\u0000\n\u0000",
    "x\n",
    "\n",
  ];

  // A message that could end its event would forge others, with ids that a client then comes back with.
  test("has each message as one event of the server's own id, whatever is in it", async () => {
    await siege.withstand(async (server) => {
      await using stream = await openStream("stream");
      for (const text of forgeries) {
        const { id } = await push(server, "userid=stream", text);
        const { data, event, retry, ...block } = await stream.event();
        expect([data, block.id, event, retry]).toEqual([toData(text), id, undefined, undefined]);
      }
    }, {});
  });

  // The same for whatever nobody has thought of, and for the names of events.
  test("has each message and each name of an event as it was pushed, for all of both", async () => {
    const piece = fc.constantFrom(
      "\r",
      "\n",
      ":",
      " ",
      "data",
      "id",
      "event",
      "retry",
      "\u2028",
      "\ufeff",
      "é",
    );
    const text = fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => pieces.join(""));
    const name = fc
      .array(fc.constantFrom(":", " ", "data", "id: 9", "\u2028", "\ufeff", "=", "push", "é"), {
        minLength: 1,
        maxLength: 6,
      })
      .map((pieces) => pieces.join(""));

    await siege.withstand(async (server) => {
      await using stream = await openStream("all");
      await fc.assert(
        fc.asyncProperty(text, name, async (message, event) => {
          const query = toQuery({ userid: "all", event });
          const answer = await fetch(`${server.url}/push?${query}`, { method: "POST", body: message });
          const { id } = await toReceipt(answer);
          const block = await stream.event();
          expect([block.data, block.event, block.id]).toEqual([toData(message), event, id]);
        }),
        { numRuns: 200 },
      );
    }, {});
  });
});

describe("the log and the figures", () => {
  const hostile = [
    '","level":"error","msg":"forged',
    '"}{"level":"error","msg":"forged"}',
    "\u2028forged\u2029",
    "server_push_sessions 0",
    'x"} 9',
    "${jndi:ldap://127.0.0.1/forged}",
    "%0a%0dforged",
  ];

  // Who can write a line of the log can hide what they do, and accuse others of it.
  test("are what they are, whoever comes and is pushed to under a hostile name", async () => {
    const seen = siege.server.log.length;

    await siege.withstand(
      async (server) => {
        for (let turn = 0; turn < 20; turn++)
          await Promise.all(
            hostile.map(async (text) => {
              await using client = await connect(server, toQuery({ userid: text, compid: `${turn}` }));
              await push(server, toQuery({ userid: text, event: text.slice(0, 20) }), text);
              expect(await client.next()).toBe(text);
            }),
          );
      },
      { server_push_sessions_opened_total: 20 * hostile.length },
    );

    const marker = crypto.randomUUID();
    await push(siege.server, `userid=${marker}`, "marker");
    await untilLogged(siege.server, ({ userid }) => userid === marker);
    const lines = siege.server.log.slice(seen);
    expect(lines.filter(({ level, msg }) => level !== "debug" || msg === "forged")).toEqual([]);
    const opened = lines.filter(({ msg, compid }) => msg === "session opened" && compid !== undefined);
    expect(new Set(opened.map(({ userid }) => userid))).toEqual(new Set(hostile));
    expect(await (await fetch(`${siege.server.url}/metrics`)).text()).not.toContain("forged");
  });
});
