/**
 * Requests at random: right ones, nearly right ones, and bytes that are none. Each is text of which a character is a byte, so that one
 * that shows a defect can be read where it is printed.
 */
import fc from "fast-check";
import { type FramedBody, framedBatch, framedMessage } from "./fuzz-bodies.ts";

export interface FuzzedRequest {
  /** Everything that is sent. */
  readonly text: string;
  /** Whether it is an HTTP request with all of its body, so that an answer is due while the connection is open. */
  readonly isWhole: boolean;
}

/** Pieces that a query is made of, right and wrong. */
const piece = fc.oneof(
  fc.constantFrom("userid", "compid", "message", "event", "ttl", "key", "since", "last_event_id", "wait"),
  fc.constantFrom("_", "token", "expires", "__proto__", "constructor"),
  fc.constantFrom("=", "&", "+", "%", "?", "#", ";", "/", "\\", ",", "[", "]", '"', "'", "\\u0000"),
  fc.constantFrom("%00", "%0a", "%ff", "%c3%a9", "%ed%a0%80", "%zz", "%", "%u0041", "%25", "%26", "%3d"),
  fc.constantFrom("0", "-1", "1e3", "9".repeat(20), "10m", "all", "abc-1", "NaN", "Infinity"),
  fc.constantFrom("\xe9", "\xc3\xa9", "\xff", "\x7f", "\xe2\x80\xae"),
  fc.constantFrom("x".repeat(65), "x".repeat(129), "x".repeat(5000)),
  fc.string({ maxLength: 5 }).map((text) => text.replaceAll(/[^\x21-\x7e]/g, "")),
);

const freeQuery = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));

/** Queries that are nearly right, so that not all are refused for the same first mistake. */
const toQuery = (...starts: readonly string[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom(...starts),
      fc.oneof({ weight: 1, arbitrary: fc.constant("") }, { weight: 1, arbitrary: freeQuery }),
    )
    .map((parts) => parts.join(""));

/** The queries of a push. */
export const pushQuery = toQuery("userid=1&", "userid=1&message=m&", "compid=", "");

/** The queries of a handshake. */
export const clientQuery = toQuery("userid=1&", "userid=1&since=", "compid=", "userid=", "");

/** Any bytes that end no line: what a value of a header may be at the worst. */
const bytesInLine = fc.uint8Array({ maxLength: 40 }).map((bytes) =>
  Buffer.from(bytes)
    .toString("latin1")
    .replaceAll(/[\r\n]/g, "\t"),
);

/** A value that is one of these, a list of some of them, or nothing like them. */
const valueOf = (...examples: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...examples) },
    {
      weight: 1,
      arbitrary: fc.array(fc.constantFrom(...examples), { maxLength: 4 }).map((some) => some.join(",")),
    },
    { weight: 1, arbitrary: bytesInLine },
    { weight: 1, arbitrary: fc.constantFrom("", " ", ",", '"', "\t", "x".repeat(10_000), '"'.repeat(300)) },
  );

const headerValues: Readonly<Record<string, fc.Arbitrary<string>>> = {
  Origin: valueOf(
    "null",
    "http://localhost:3000",
    "https://evil.example.com",
    "http://127.0.0.1",
    "http://",
    "//",
  ),
  "Sec-Fetch-Site": valueOf("none", "same-origin", "same-site", "cross-site"),
  "Sec-Fetch-Mode": valueOf("no-cors", "cors", "navigate", "websocket"),
  "Sec-Fetch-Dest": valueOf("image", "empty", "document"),
  "Idempotency-Key": valueOf("a", "b", "c", "d".repeat(255), "e".repeat(256), "\xe9"),
  "Last-Event-ID": valueOf("abc-1", "all", "10m", "-", "-1", "a-b-c", `abc-${"9".repeat(30)}`, "0"),
  "Sec-WebSocket-Protocol": valueOf("push.v1", "bearer.x", "bearer.", "x", " push.v1 ", "PUSH.V1"),
  "Sec-WebSocket-Version": valueOf("13", "8", "99999999999", "013"),
  "Sec-WebSocket-Key": valueOf("dGhlIHNhbXBsZSBub25jZQ==", "x", "===="),
  "Sec-WebSocket-Extensions": valueOf(
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits=99",
    ";",
  ),
  "X-Forwarded-For": valueOf(
    "203.0.113.7",
    "::1",
    "fe80::1%eth0",
    "[::1]:80",
    "1.2.3",
    "unknown",
    "::ffff:1.2.3.4",
  ),
  Forwarded: valueOf(
    "for=203.0.113.7",
    'for="[2001:db8::1]:4711"',
    'for="\\',
    "for",
    "by=x;for=_hidden",
    ";;",
  ),
  "Content-Type": valueOf("text/plain", "application/json"),
  "Content-Encoding": valueOf("identity", "gzip", "br"),
  Accept: valueOf("text/event-stream", "*/*"),
  Range: valueOf("bytes=0-1", "bytes=9-1", "bytes=-"),
  "If-None-Match": valueOf("*", '"x"'),
  Cookie: valueOf("a=b", "a=b; a=b; =", "%"),
  "Access-Control-Request-Method": valueOf("GET", "PUT"),
  "Access-Control-Request-Headers": valueOf("authorization", "x"),
};

const hosts = fc.oneof(
  { weight: 9, arbitrary: fc.constant("127.0.0.1") },
  {
    weight: 1,
    arbitrary: valueOf(
      "localhost:1",
      "[::1]",
      "evil.example.com",
      "x",
      "a:b:c",
      "127.0.0.1:99999",
      "user@localhost",
      "%",
    ),
  },
);

const header = fc
  .constantFrom(...Object.keys(headerValues))
  .chain((name) => (headerValues[name] ?? fc.constant("")).map((value) => `${name}: ${value}`));

const upgrade =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly body: FramedBody | null;
}

const withoutBody = fc.oneof(
  { weight: 12, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: framedMessage },
);

const call = (
  method: string,
  path: string,
  starts: readonly string[],
  body: fc.Arbitrary<FramedBody | null> = withoutBody,
): fc.Arbitrary<Call> =>
  fc.record({ method: fc.constant(method), path: fc.constant(path), query: toQuery(...starts, ""), body });

const words = (text: string) => text.split(" ");

const paths = words(
  "/ /healthz /readyz /metrics /swagger /swagger/ /swagger/json /swagger/ui.css /sessions /presence /client.js " +
    "/push /pushtoall /batch /tokens /ws /sse /poll /push/ //push /%70ush /push;x /.. /% * /nothing /\xff " +
    `http://127.0.0.1/push /${"x".repeat(3000)}`,
);

const calls: fc.Arbitrary<Call> = fc.oneof(
  call("GET", "/push", ["userid=1&message=m&", "userid=1&compid=2&message=m&key=k&ttl="]),
  call("GET", "/pushtoall", ["message=m&", "message="]),
  call("POST", "/push", ["userid=1&", "compid=1&key=k&", "userid=1&ttl=0&"], framedMessage),
  call("POST", "/pushtoall", ["event=e&", "ttl="], framedMessage),
  call("POST", "/batch", [""], framedBatch),
  call("POST", "/tokens", ["userid=1&", "userid=1&expires=60&"]),
  call("GET", "/ws", ["userid=1&", "userid=1&since="]),
  call("GET", "/sse", ["userid=1&", "userid=1&since=all&", "userid=1&last_event_id="]),
  call("GET", "/poll", ["userid=1&wait=0&", "userid=1&wait=0&since=all&", "userid=1&wait="]),
  fc.record({
    method: fc.constantFrom(...words("GET GET GET POST HEAD PUT OPTIONS PATCH TRACE G\xe9T")),
    path: fc.constantFrom(...paths),
    query: toQuery("userid=1&", "userid=1&message=m&", ""),
    body: withoutBody,
  }),
);

export interface RequestOptions {
  /** What is said in Authorization, where anything is. */
  readonly authorizations: readonly string[];
  /** What a query may begin with, such as a token and an ampersand. */
  readonly queryStarts: readonly string[];
}

/** Requests of every kind to a server that takes these credentials, or none. */
export function requests({ authorizations, queryStarts }: RequestOptions): fc.Arbitrary<FuzzedRequest> {
  const authorization = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...authorizations) },
    {
      weight: 1,
      arbitrary: valueOf("Bearer", "Bearer x", "Basic eDp5", "bearer  x  ", "Bearer x y", "Bearer ,"),
    },
  );
  const whole = fc
    .record({
      call: calls,
      start: fc.constantFrom(...queryStarts),
      host: hosts,
      authorization: fc.option(authorization, { freq: 10 }),
      isUpgrade: fc.boolean(),
      headers: fc.array(header, { maxLength: 3 }),
    })
    .map(({ call: { method, path, query, body }, ...parts }): FuzzedRequest => {
      const lines = [
        `${method} ${path}?${parts.start}${query} HTTP/1.1`,
        `Host: ${parts.host}`,
        ...(parts.authorization === null ? [] : [`Authorization: ${parts.authorization}`]),
        ...(parts.isUpgrade && path === "/ws" ? [upgrade] : []),
        ...(body?.headers ?? []),
        ...parts.headers,
      ];
      return { text: `${lines.join("\r\n")}\r\n\r\n${body?.text ?? ""}`, isWhole: body?.isWhole ?? true };
    });
  return fc.oneof(
    { weight: 6, arbitrary: whole },
    { weight: 2, arbitrary: fc.tuple(whole, damages).map(([{ text }, damage]) => toDamaged(text, damage)) },
    {
      weight: 1,
      arbitrary: fc.tuple(whole, fc.nat()).map(([{ text }, at]) => ({
        text: text.slice(0, at % text.length),
        isWhole: false,
      })),
    },
    {
      weight: 1,
      arbitrary: fc
        .uint8Array({ minLength: 1, maxLength: 500 })
        .map((bytes) => ({ text: Buffer.from(bytes).toString("latin1"), isWhole: false })),
    },
  );
}

interface Damage {
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
}

const damages = fc.array(
  fc.record({ at: fc.nat(400), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) }),
  { minLength: 1, maxLength: 4 },
);

/** The request with bytes changed, taken out or put in. */
function toDamaged(text: string, all: readonly Damage[]): FuzzedRequest {
  let damaged = text;
  for (const { at, remove, insert } of all) {
    const start = at % (damaged.length + 1);
    damaged =
      damaged.slice(0, start) + Buffer.from(insert).toString("latin1") + damaged.slice(start + remove);
  }
  return { text: damaged, isWhole: false };
}
