/**
 * Which pages may read an answer: what is said to a browser with CORS (the Fetch standard).
 *
 * A page of the same host may, whatever its port. While the server is called by a loopback name, so may pages of other loopback
 * names, and those without an origin: a page that is opened from a file just works.
 */
const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** The headers that let the page that made this request read the answer, none where it may not. */
export function toCorsHeaders(request: Request): Record<string, string> {
  return toHeaders(request, {
    "Access-Control-Expose-Headers": "Last-Event-ID, Server-Push-Resumed, Retry-After",
  });
}

/** The headers that answer a browser that asks before its request whether a script may give it a Last-Event-ID. */
export function toPreflightHeaders(request: Request): Record<string, string> {
  return toHeaders(request, { "Access-Control-Allow-Headers": "Last-Event-ID" });
}

function toHeaders(request: Request, more: Readonly<Record<string, string>>): Record<string, string> {
  const origin = request.headers.get("origin");
  if (origin === null || !mayRead(origin, request.headers.get("host") ?? "")) return {};
  return { "Access-Control-Allow-Origin": origin, Vary: "Origin", ...more };
}

function mayRead(origin: string, host: string): boolean {
  const own = toHostname(`http://${host}`);
  if (own === undefined) return false;
  if (loopback.test(own) && origin === "null") return true;
  // The host of any other scheme is no host: chrome-extension://localhost is an extension of that name.
  const hostname = /^https?:/.test(origin) ? toHostname(origin) : undefined;
  return hostname !== undefined && (hostname === own || (loopback.test(own) && loopback.test(hostname)));
}

function toHostname(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}
