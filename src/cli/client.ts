/**
 * What the commands that call a server share: their options, and the URL of a call.
 */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { apiKeyRule, isApiKey } from "../kinds.ts";
import { isLoopback } from "../settings.ts";

export const callOptions = {
  url: { type: "string", default: "http://127.0.0.1:8888" },
  help: { type: "boolean", short: "h", default: false },
} as const satisfies ParseArgsOptionsConfig;

export const addressOptions = {
  ...callOptions,
  userid: { type: "string" },
  compid: { type: "string" },
} as const satisfies ParseArgsOptionsConfig;

/** The arguments, or what is wrong with them. */
export function parse<const Options extends ParseArgsOptionsConfig>(
  argv: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (error) {
    // Node's sentence goes on with advice; the first part says what is wrong.
    const [problem = ""] = (error instanceof Error ? error.message : String(error)).split(/\. |\n/, 1);
    return `${problem}; --help lists the options`;
  }
}

export const countRule = "--count: expected a whole number from 1";

/** After how many it ends: never, without one. `undefined` when it is none. */
export function readCount(count: string | undefined): number | undefined {
  if (count === undefined) return Number.POSITIVE_INFINITY;
  return /^[1-9]\d{0,14}$/.test(count) ? Number(count) : undefined;
}

export const keyRule = `--api-key, or SERVER_PUSH_API_KEY: expected a key ${apiKeyRule}`;

/** The header with the API key, if there is one; `undefined` when it is none. Of several that are valid, any will do. */
export function readKey(given: string | undefined): { readonly Authorization?: string } | undefined {
  const [key] = (given ?? process.env["SERVER_PUSH_API_KEY"])?.split(",") ?? [];
  if (key === undefined) return {};
  return isApiKey(key) ? { Authorization: `Bearer ${key}` } : undefined;
}

export const urlRule = "--url: expected an http or https URL, such as http://127.0.0.1:8888";

/** `base` with this path and these parameters; `undefined` when `base` is not an http or https URL. */
export function toCallUrl(
  base: string,
  path: string,
  parameters: Readonly<Record<string, string | undefined>>,
): URL | undefined {
  const url = URL.parse(base);
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
  url.pathname = url.pathname.replace(/\/$/, "") + path;
  url.search = new URLSearchParams(
    Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined),
  ).toString();
  return url;
}

/** Makes the call. A proxy that the environment names is not for a server on this very machine, as it is not for a WebSocket. */
export async function call(url: URL, init?: BunFetchRequestInit): Promise<Response> {
  if (isLoopback(url.hostname.replace(/^\[|\]$/g, ""))) {
    // Where both are set, the one in small letters counts.
    const name = process.env["no_proxy"] ? "no_proxy" : "NO_PROXY";
    process.env[name] = [process.env[name] ?? "", url.hostname].filter(Boolean).join(",");
  }
  return await fetch(url, init);
}

/** What a refused call says: `too_large: message is 70210 bytes, the limit is 65536`. */
export async function readProblem(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { code, detail } = JSON.parse(text);
    if (typeof code === "string" && typeof detail === "string") return `${code}: ${detail}`;
  } catch {
    // Not from this server: a proxy's page, perhaps.
  }
  return `HTTP status ${response.status}`;
}

/** Why a call could not be made. */
export function describeFailure(url: URL, error: unknown): string {
  return `cannot reach ${url.origin}: ${error instanceof Error ? error.message : error}`;
}
