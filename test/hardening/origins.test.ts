/**
 * Attacks by way of somebody's browser: a page on another site makes it push (CSRF), makes it connect (cross-site WebSocket hijacking), or
 * lets a name of its own lead to this machine (DNS rebinding). Every Host with every Origin with every Sec-Fetch-Site, on every call.
 *
 * What is expected is written down from the table in the README, by what each host and origin is, and reads none of them.
 */
import { describe, expect, test } from "bun:test";
import { toHandshake } from "../support/frames.ts";
import { openRaw, type RawAnswer } from "../support/raw.ts";
import { openSiege, rejections } from "../support/siege.ts";
import { apiKey } from "../support/tokens.ts";

interface Host {
  readonly text: string;
  readonly name: string;
  readonly isLoopback: boolean;
}

const hosts: readonly Host[] = [
  { text: "localhost:8888", name: "localhost", isLoopback: true },
  { text: "127.0.0.1", name: "127.0.0.1", isLoopback: true },
  { text: "[::1]:8888", name: "[::1]", isLoopback: true },
  { text: "push.example.com:8888", name: "push.example.com", isLoopback: false },
  { text: "evil.example", name: "evil.example", isLoopback: false },
  { text: "127.0.0.1.evil.example:8888", name: "127.0.0.1.evil.example", isLoopback: false },
];

interface Origin {
  /** Without one, none is sent. */
  readonly text?: string;
  /** Of what is an http or https origin, and nothing else. */
  readonly name?: string;
  readonly isLoopback?: boolean;
  readonly isAllowed?: boolean;
}

const origins: readonly Origin[] = [
  {},
  { text: "null" },
  { text: "http://localhost:5173", name: "localhost", isLoopback: true },
  { text: "http://127.0.0.1:8888", name: "127.0.0.1", isLoopback: true },
  { text: "http://push.example.com:3000", name: "push.example.com" },
  { text: "https://push.example.com", name: "push.example.com" },
  { text: "https://app.example.com", name: "app.example.com", isAllowed: true },
  { text: "https://a.partner.example.com", name: "a.partner.example.com", isAllowed: true },
  { text: "https://partner.example.com", name: "partner.example.com" },
  { text: "https://app.example.com.evil.example", name: "app.example.com.evil.example" },
  { text: "http://evil.example:8888", name: "evil.example" },
  { text: "http://127.0.0.1.evil.example:8888", name: "127.0.0.1.evil.example" },
  { text: "chrome-extension://localhost" },
  { text: "file://" },
  { text: "http://evil.example@localhost" },
  { text: "http://localhost/" },
];

const sites = [undefined, "none", "same-origin", "same-site", "cross-site", "CROSS-SITE"] as const;

interface Policy {
  readonly settings: Readonly<Record<string, string>>;
  /** Only loopback names lead to it. */
  readonly guardsHost: boolean;
  readonly isOpen: boolean;
}

const policies: Readonly<Record<string, Policy>> = {
  "with no settings": { settings: {}, guardsHost: true, isOpen: true },
  "with --insecure": { settings: { insecure: "true" }, guardsHost: false, isOpen: true },
  "with an API key": {
    settings: {
      "api-key": apiKey,
      "public-metrics": "true",
      anonymous: "true",
      "allow-origin": "https://app.example.com,https://*.partner.example.com",
      "max-token-time": "1h",
    },
    guardsHost: false,
    isOpen: false,
  },
};

type Verdict = "may" | "foreign_host" | "foreign_origin";
interface Asking {
  readonly host: Host;
  readonly origin: Origin;
  readonly site: (typeof sites)[number];
}

/** Whether the page may read what is for whoever visits it. */
function mayRead({ host, origin }: Asking, { isOpen, settings }: Policy): boolean {
  if (origin.isAllowed === true && settings["allow-origin"] !== undefined) return true;
  if (origin.name === host.name) return true;
  return isOpen && host.isLoopback && (origin.isLoopback === true || origin.text === "null");
}

function judge(asking: Asking, policy: Policy, kind: "publisher" | "client"): Verdict {
  const { host, origin, site } = asking;
  if (policy.guardsHost && !host.isLoopback) return "foreign_host";
  if (origin.text !== undefined) {
    if (kind === "publisher" && origin.text === "null") return "foreign_origin";
    return mayRead(asking, policy) ? "may" : "foreign_origin";
  }
  if (site === undefined || site === "none" || site === "same-origin") return "may";
  // A page at another port of this machine is one of the same site.
  return site === "same-site" && (kind === "client" || policy.guardsHost) ? "may" : "foreign_origin";
}

interface Call {
  readonly kind: "publisher" | "client";
  /** The request, with these headers. */
  readonly toRequest: (headers: readonly string[]) => string;
  /** Its status when it may. */
  readonly may: readonly number[];
  /** Whether the connection is not for another request afterwards. */
  readonly isLast?: boolean;
}

const request = (line: string, headers: readonly string[], body = "") =>
  [`${line} HTTP/1.1`, ...headers, `Content-Length: ${body.length}`, "", body].join("\r\n");
const withType = (headers: readonly string[], type: string) => [...headers, `Content-Type: ${type}`];

const calls: Readonly<Record<string, Call>> = {
  "GET /push": {
    kind: "publisher",
    toRequest: (headers) => request("GET /push?userid=1&message=m", headers),
    may: [202],
  },
  "POST /push": {
    kind: "publisher",
    toRequest: (headers) => request("POST /push?userid=1", withType(headers, "text/plain"), "m"),
    may: [202],
  },
  "GET /pushtoall": {
    kind: "publisher",
    toRequest: (headers) => request("GET /pushtoall?message=m", headers),
    may: [200],
  },
  "POST /batch": {
    kind: "publisher",
    toRequest: (headers) =>
      request("POST /batch", withType(headers, "application/json"), '[{"userid":"1","message":"m"}]'),
    may: [202],
  },
  "POST /tokens": {
    kind: "publisher",
    toRequest: (headers) => request("POST /tokens?userid=1", headers),
    // Without a key there are none to be had.
    may: [200, 403],
  },
  "GET /ws": {
    kind: "client",
    toRequest: (headers) => headers.reduce(addHeader, toHandshake().replace("Host: 127.0.0.1\r\n", "")),
    may: [101],
    isLast: true,
  },
  "GET /sse": {
    kind: "client",
    toRequest: (headers) => request("GET /sse", headers),
    may: [200],
    isLast: true,
  },
  "GET /poll": {
    kind: "client",
    toRequest: (headers) => request("GET /poll?wait=0", headers),
    may: [200],
  },
};

function addHeader(head: string, header: string): string {
  return head.replace("\r\n", `\r\n${header}\r\n`);
}

const askings: readonly Asking[] = hosts.flatMap((host) =>
  origins.flatMap((origin) => sites.map((site) => ({ host, origin, site }))),
);

function toHeaders({ host, origin, site }: Asking, { kind }: Call): string[] {
  return [
    `Host: ${host.text}`,
    ...(origin.text === undefined ? [] : [`Origin: ${origin.text}`]),
    ...(site === undefined ? [] : [`Sec-Fetch-Site: ${site}`]),
    ...(kind === "publisher" ? [`Authorization: Bearer ${apiKey}`] : []),
  ];
}

function isAsJudged({ status, body }: RawAnswer, verdict: Verdict, call: Call): boolean {
  if (verdict !== "may") return status === 403 && JSON.parse(body).code === verdict;
  return call.may.includes(status) && !body.includes("foreign_");
}

/** Makes the call in every way, one after the other, and gives those that were answered otherwise than they should. */
async function askAll(server: { readonly port: number }, call: Call, policy: Policy): Promise<string[]> {
  const wrong: string[] = [];
  let raw = await openRaw(server);
  for (const asking of askings) {
    const headers = toHeaders(asking, call);
    await raw.write(call.toRequest(headers));
    const answer = await raw.answer();
    const verdict = judge(asking, policy, call.kind);
    if (!isAsJudged(answer, verdict, call))
      wrong.push(`${answer.status}, not ${verdict}: ${headers.join(", ")}`);
    if (call.isLast !== true || verdict !== "may") continue;
    raw.reset();
    raw = await openRaw(server);
  }
  raw.reset();
  return wrong;
}

describe.each(Object.entries(policies))("a server %s", (_, policy) => {
  test(`answers every page as it should, in ${askings.length} ways for each call`, async () => {
    await using siege = await openSiege(policy.settings);
    const verdicts = Object.values(calls).flatMap(({ kind }) =>
      askings.map((asking) => judge(asking, policy, kind)),
    );
    const count = (wanted: Verdict) => verdicts.filter((verdict) => verdict === wanted).length;

    await siege.withstand(
      async (server) => {
        const wrong = await Promise.all(Object.values(calls).map((call) => askAll(server, call, policy)));
        expect(Object.fromEntries(Object.keys(calls).map((name, index) => [name, wrong[index]]))).toEqual(
          Object.fromEntries(Object.keys(calls).map((name) => [name, []])),
        );
      },
      {
        [rejections("foreign_host")]: count("foreign_host"),
        [rejections("foreign_origin")]: count("foreign_origin"),
      },
    );
  }, 20_000);
});
