/**
 * Requests that the server refuses, each with the answer that it must get. The suites on errors and on the document
 * of the API walk through the one list.
 *
 * They are meant for a server with `--max-message 1KiB`.
 */
export interface Refusal {
  /** As it reads in the name of a test. */
  readonly what: string;
  readonly method: string;
  /** The path and the query. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly status: number;
  readonly code: string;
  /** What `detail` must name: the thing, and the limit or what was expected. */
  readonly names: readonly string[];
  /** Of a batch: which of its messages is wrong, where it is one. */
  readonly item?: number;
}

type Short = readonly [
  what: string,
  request: string,
  code: string,
  names: readonly string[],
  more?: Pick<Refusal, "headers" | "body" | "item">,
];

const json = { headers: { "Content-Type": "application/json" } };

/** A batch of a good message and this one. */
const batchWith = (message: unknown) => ({
  body: JSON.stringify([{ all: true, message: "good" }, message]),
  ...json,
  item: 1,
});

const idempotencyKey = (key: string) => ({ headers: { "Idempotency-Key": key } });

const long = (character: string, times: number) => encodeURIComponent(character.repeat(times));

const badRequests: readonly Short[] = [
  ["an unknown parameter", "GET /push?userid=1&comp=x&message=m", "unknown_parameter", ['"comp"', "compid"]],
  ["a name in capitals", "GET /push?UserID=1&message=m", "unknown_parameter", ['"UserID"', "userid"]],
  ["a name with a space", "GET /push?userid%20=1&message=m", "unknown_parameter", ['"userid "', "userid"]],
  ["an array's brackets", "GET /push?userid[]=1&message=m", "unknown_parameter", ['"userid[]"', "userid"]],
  ["a name of nothing", "GET /push?=1&userid=1&message=m", "unknown_parameter", ['""', "userid"]],
  [
    "a name from every object",
    "GET /push?userid=1&__proto__=1&message=m",
    "unknown_parameter",
    ['"__proto__"'],
  ],
  ["an address to all", "GET /pushtoall?userid=1&message=m", "unknown_parameter", ['"userid"', "message"]],
  ["message for a body", "POST /push?userid=1&message=m", "unknown_parameter", ['"message"'], { body: "b" }],
  [
    "message for a body to all",
    "POST /pushtoall?message=m",
    "unknown_parameter",
    ['"message"'],
    { body: "b" },
  ],
  ["an event of a session", "GET /ws?userid=1&event=e", "unknown_parameter", ['"event"', "userid, compid"]],
  ["a repeated userid", "GET /push?userid=1&userid=2&message=m", "repeated_parameter", ["userid", "once"]],
  ["a repeat that is alike", "GET /push?userid=1&userid=1&message=m", "repeated_parameter", ["userid"]],
  ["a repeat in other letters", "GET /push?userid=1&%75serid=2&message=m", "repeated_parameter", ["userid"]],
  ["a repeated message", "GET /push?userid=1&message=m&message=n", "repeated_parameter", ["message"]],
  ["a repeated compid of a session", "GET /ws?compid=1&compid=2", "repeated_parameter", ["compid"]],
  ["an empty userid", "GET /push?userid=&message=m", "empty_parameter", ["userid", "1 byte"]],
  ["a userid without a value", "GET /push?userid&message=m", "empty_parameter", ["userid", "1 byte"]],
  ["an empty compid", "POST /push?userid=1&compid=", "empty_parameter", ["compid"], { body: "b" }],
  ["an empty message", "GET /push?userid=1&message=", "empty_parameter", ["message", "1 byte"]],
  ["an empty event", "GET /pushtoall?event=&message=m", "empty_parameter", ["event"]],
  ["an empty userid of a session", "GET /ws?userid=", "empty_parameter", ["userid"]],
  [
    "a long userid",
    `GET /push?userid=${long("x", 129)}&message=m`,
    "invalid_parameter",
    ["userid", "129", "128"],
  ],
  [
    "a long userid in UTF-8",
    `GET /push?userid=${long("é", 65)}&message=m`,
    "invalid_parameter",
    ["130", "128"],
  ],
  [
    "a long compid",
    `POST /push?compid=${long("x", 500)}`,
    "invalid_parameter",
    ["compid", "500"],
    { body: "b" },
  ],
  [
    "a long event",
    `GET /pushtoall?event=${long("x", 65)}&message=m`,
    "invalid_parameter",
    ["event", "65", "64"],
  ],
  [
    "a long userid of a session",
    `GET /ws?userid=${long("x", 129)}`,
    "invalid_parameter",
    ["userid", "129", "128"],
  ],
  [
    "a line break in an id",
    "GET /push?userid=a%0d%0ab&message=m",
    "invalid_parameter",
    ["userid", "control"],
  ],
  ["a NUL in an id", "GET /push?compid=%00&message=m", "invalid_parameter", ["compid", "control"]],
  ["DEL in an id", "GET /push?userid=a%7f&message=m", "invalid_parameter", ["userid", "control"]],
  ["C1 in an id", "GET /push?userid=%c2%9b31m&message=m", "invalid_parameter", ["userid", "control"]],
  [
    "an escape in an event",
    "GET /pushtoall?event=%1b[31m&message=m",
    "invalid_parameter",
    ["event", "control"],
  ],
  ["a tab in a session's id", "GET /ws?compid=a%09b", "invalid_parameter", ["compid", "control"]],
  ["%zz", "GET /push?userid=%zz&message=m", "invalid_parameter", ["userid", "percent"]],
  [
    "a percent sign at the end",
    "GET /push?userid=1&message=100%",
    "invalid_parameter",
    ["message", "percent"],
  ],
  ["half of an escape", "GET /push?userid=1&message=%4", "invalid_parameter", ["message", "percent"]],
  ["a byte that UTF-8 has not", "GET /push?userid=%ff&message=m", "invalid_parameter", ["userid", "UTF-8"]],
  ["an overlong form", "GET /push?userid=1&message=%c0%80", "invalid_parameter", ["message", "UTF-8"]],
  ["a lone surrogate", "GET /pushtoall?message=%ed%a0%80", "invalid_parameter", ["message", "UTF-8"]],
  ["a name badly encoded", "GET /push?user%zz=1&message=m", "invalid_parameter", ["name", "percent"]],
  ["%ff in a session's id", "GET /ws?userid=%ff", "invalid_parameter", ["userid", "UTF-8"]],
  ["no message", "GET /push?userid=1", "missing_parameter", ["message"]],
  ["no message to all", "GET /pushtoall", "missing_parameter", ["message"]],
  ["no address", "GET /push?message=m", "missing_address", ["userid", "compid", "/pushtoall"]],
  ["no address and an event", "GET /push?event=e&message=m", "missing_address", ["userid", "/pushtoall"]],
  ["no address for a body", "POST /push", "missing_address", ["userid", "/pushtoall"], { body: "b" }],
  ["an empty body", "POST /push?userid=1", "empty_message", ["empty", "1 byte"], { body: "" }],
  ["an empty body to all", "POST /pushtoall", "empty_message", ["empty", "1 byte"], { body: "" }],
  [
    "a body that is not UTF-8",
    "POST /push?userid=1",
    "malformed_body",
    ["UTF-8", "application/octet-stream"],
    { body: Uint8Array.of(0xff), headers: { "Content-Type": "text/plain" } },
  ],
];

const options: readonly Short[] = [
  ["an empty key", "GET /push?userid=1&message=m&key=", "empty_parameter", ["key", "1 byte"]],
  [
    "a long key",
    `POST /pushtoall?key=${long("x", 129)}`,
    "invalid_parameter",
    ["key", "129", "128"],
    { body: "b" },
  ],
  ["a NUL in a key", "GET /pushtoall?key=a%00&message=m", "invalid_parameter", ["key", "control"]],
  ["a repeated key", "GET /push?userid=1&key=a&key=a&message=m", "repeated_parameter", ["key", "once"]],
  [
    "an event of the server's own",
    "GET /push?userid=1&event=push.welcome&message=m",
    "invalid_parameter",
    ['"push.welcome"', "push."],
  ],
  ["such an event to all", "POST /pushtoall?event=push.", "invalid_parameter", ['"push."'], { body: "b" }],
  [
    "an event of every EventSource",
    "GET /push?userid=1&event=error&message=m",
    "invalid_parameter",
    ['"error"', "EventSource"],
  ],
  [
    "such an event for a body",
    "POST /pushtoall?event=open",
    "invalid_parameter",
    ['"open"', "EventSource"],
    { body: "b" },
  ],
  ["an empty ttl", "GET /push?userid=1&message=m&ttl=", "empty_parameter", ["ttl"]],
  ["a repeated ttl", "GET /pushtoall?message=m&ttl=1&ttl=2", "repeated_parameter", ["ttl", "once"]],
  ["a ttl below 0", "GET /push?userid=1&message=m&ttl=-1", "invalid_parameter", ['"-1"', "0 to 31536000"]],
  [
    "a ttl of a fraction",
    "GET /push?userid=1&message=m&ttl=0.5",
    "invalid_parameter",
    ['"0.5"', "whole seconds"],
  ],
  [
    "a ttl with a unit",
    "POST /push?userid=1&ttl=60s",
    "invalid_parameter",
    ['"60s"', "whole seconds"],
    { body: "b" },
  ],
  [
    "a ttl of more than a year",
    "POST /pushtoall?ttl=31536001",
    "invalid_parameter",
    ['"31536001"', "31536000"],
    { body: "b" },
  ],
  [
    "a ttl beyond all numbers",
    `GET /pushtoall?message=m&ttl=${"9".repeat(400)}`,
    "invalid_parameter",
    ["ttl", "31536000"],
  ],
  [
    "an empty Idempotency-Key",
    "GET /push?userid=1&message=m",
    "invalid_parameter",
    ["Idempotency-Key", "1 to 255"],
    idempotencyKey(""),
  ],
  [
    "a long Idempotency-Key",
    "GET /pushtoall?message=m",
    "invalid_parameter",
    ["Idempotency-Key", "1 to 255"],
    idempotencyKey("x".repeat(256)),
  ],
  [
    "an Idempotency-Key that is not ASCII",
    "GET /push?userid=1&message=m",
    "invalid_parameter",
    ["Idempotency-Key", "ASCII"],
    idempotencyKey("é"),
  ],
  [
    "an Idempotency-Key in the query",
    "GET /push?userid=1&message=m&idempotency-key=k",
    "unknown_parameter",
    ['"idempotency-key"'],
  ],
];

const batches: readonly Short[] = [
  ["a batch with a query", "POST /batch?userid=1", "unknown_parameter", ['"userid"', "none"]],
  ["a batch that is not whole", "POST /batch", "malformed_body", ["item 0", "array"], { ...json, body: "[" }],
  [
    "a batch that is one object",
    "POST /batch",
    "malformed_body",
    ["array"],
    { ...json, body: '{"all":true,"message":"m"}' },
  ],
  ["an empty batch", "POST /batch", "malformed_body", ["empty", "1 item"], { ...json, body: "[]" }],
  ["a batch of something else", "POST /batch", "malformed_body", ["item 1", "object"], batchWith(17)],
  [
    "a batch with an unknown property",
    "POST /batch",
    "unknown_parameter",
    ["item 1", '"comp"', "compid"],
    batchWith({ comp: "x", message: "m" }),
  ],
  [
    "a batch without a message",
    "POST /batch",
    "missing_parameter",
    ["item 1", "message"],
    batchWith({ all: true }),
  ],
  [
    "a batch with an empty message",
    "POST /batch",
    "empty_message",
    ["item 1", "1 byte"],
    batchWith({ all: true, message: "" }),
  ],
  [
    "a batch without an address",
    "POST /batch",
    "missing_address",
    ["item 1", "userid", "all: true"],
    batchWith({ message: "m" }),
  ],
  [
    "a batch with an empty id",
    "POST /batch",
    "empty_parameter",
    ["item 1", "userid"],
    batchWith({ userid: "", message: "m" }),
  ],
  [
    "a batch with an event of every EventSource",
    "POST /batch",
    "invalid_parameter",
    ["item 1", '"error"', "EventSource"],
    batchWith({ all: true, message: "m", event: "error" }),
  ],
  [
    "a batch with a ttl that is none",
    "POST /batch",
    "invalid_parameter",
    ["item 1", "ttl", "31536000"],
    batchWith({ all: true, message: "m", ttl: -1 }),
  ],
];

const receivers: readonly Short[] = ["/ws", "/sse", "/poll"].flatMap((path) => [
  [
    `an unknown parameter of ${path}`,
    `GET ${path}?message=m`,
    "unknown_parameter",
    ['"message"', "userid, compid"],
  ] as const,
  [
    `a since of ${path} that is none`,
    `GET ${path}?since=yesterday`,
    "invalid_parameter",
    ["since", '"yesterday"', "10m"],
  ] as const,
  [`an empty since of ${path}`, `GET ${path}?since=`, "empty_parameter", ["since"]] as const,
  [
    `a repeated last_event_id of ${path}`,
    `GET ${path}?last_event_id=a&last_event_id=a`,
    "repeated_parameter",
    ["last_event_id"],
  ] as const,
  [`an empty userid of ${path}`, `GET ${path}?userid=`, "empty_parameter", ["userid"]] as const,
]);

const waits: readonly Short[] = [
  ["a long wait", "GET /poll?wait=121", "invalid_parameter", ["wait", '"121"', "0 to 120"]],
  ["a wait below 0", "GET /poll?wait=-1", "invalid_parameter", ["wait", '"-1"', "0 to 120"]],
  ["a wait with a unit", "GET /poll?wait=25s", "invalid_parameter", ["wait", '"25s"', "whole seconds"]],
  ["a wait of what does not wait", "GET /sse?wait=25", "unknown_parameter", ['"wait"', "last_event_id"]],
];

const others: readonly (readonly [status: number, ...Short])[] = [
  [404, "a path that is not there", "GET /pish?userid=1", "not_found", ['"/pish"', "/swagger"]],
  [404, "a path in capitals", "GET /PUSH?userid=1&message=m", "not_found", ['"/PUSH"']],
  [404, "a path below another", "GET /push/1", "not_found", ['"/push/1"']],
  [404, "a method of a path that is not there", "DELETE /nothing", "not_found", ['"/nothing"']],
  [405, "a wrong method", "PUT /push?userid=1", "method_not_allowed", ["PUT", "GET, POST"], { body: "b" }],
  [405, "a POST to a GET", "POST /ws", "method_not_allowed", ["POST", "GET"], { body: "b" }],
  [405, "a GET of a batch", "GET /batch", "method_not_allowed", ["GET", "POST, OPTIONS"]],
  [405, "a DELETE of a batch", "DELETE /batch", "method_not_allowed", ["DELETE", "POST, OPTIONS"]],
  [405, "a POST to a stream", "POST /sse", "method_not_allowed", ["POST", "GET, OPTIONS"], { body: "b" }],
  [405, "a PUT to a poll", "PUT /poll", "method_not_allowed", ["PUT", "GET, OPTIONS"], { body: "b" }],
  [413, "a large message", `GET /push?userid=1&message=${long("x", 1025)}`, "too_large", ["1025", "1024"]],
  [413, "a large body", "POST /pushtoall", "too_large", ["1025", "1024"], { body: "x".repeat(1025) }],
  [
    413,
    "a batch with a large message",
    "POST /batch",
    "too_large",
    ["item 1", "1025", "1024"],
    batchWith({ all: true, message: "x".repeat(1025) }),
  ],
  [
    415,
    "a batch of a strange type",
    "POST /batch",
    "unsupported_media_type",
    ['"text/plain"', "application/json", "application/x-ndjson"],
    { body: "[]", headers: { "Content-Type": "text/plain" } },
  ],
  [
    415,
    "a body of a strange type",
    "POST /push?userid=1",
    "unsupported_media_type",
    ['"image/png"', "application/octet-stream"],
    { body: "b", headers: { "Content-Type": "image/png" } },
  ],
  [426, "a session without a handshake", "GET /ws?userid=1", "upgrade_required", ["WebSocket", "handshake"]],
];

export const refusals: readonly Refusal[] = [
  ...[...badRequests, ...options, ...batches, ...receivers, ...waits].map((row) => toRefusal(400, row)),
  ...others.map(([status, ...row]) => toRefusal(status, row)),
];

function toRefusal(status: number, [what, request, code, names, more]: Short): Refusal {
  const [method = "", target = ""] = request.split(" ");
  return { what, method, target, status, code, names, ...more };
}

/** Makes the request. */
export function send(
  { url }: { readonly url: string },
  { method, target, headers, body }: Refusal,
): Promise<Response> {
  return fetch(url + target, {
    method,
    redirect: "manual",
    ...(headers !== undefined && { headers }),
    ...(body !== undefined && { body }),
  });
}
