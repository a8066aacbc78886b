/**
 * What is said to browsers: which pages may connect and read (CORS, the Fetch standard), and which may push.
 *
 *                          `Host` not loopback   page of another site   page of another loopback name, or of a file
 *   open, on loopback      refused               refused                may connect; only the former may push
 *   with an API key        –                     refused                refused
 *
 * "Another" is whatever is neither of the same host, whatever its port, nor in the list of those that are allowed. What no browser
 * sent has no `Origin` and no `Sec-Fetch-Site`, and passes: these checks protect people from the pages that they visit.
 */
import { type ErrorCode, PushError, quote } from "../errors.ts";

/** A name that leads to this very machine, with a port or without; RFC 6761 has the names below localhost too. */
const loopbackHost = /^(([\w-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])\.?(:\d{1,5})?$/i;

/** The same of a URL, which has it in lower case and the port apart. */
const loopback = /^(([\w-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** The headers of requests, and no more of them. */
type Incoming = Pick<Request, "headers">;

export interface OriginsOptions {
  /** Origins, as `https://app.example.com`, or `https://*.example.com` for all below that. */
  readonly allowed: readonly string[];
  /** Nobody needs a token to listen. */
  readonly isOpen: boolean;
  /** Publishers need a key. */
  readonly hasKeys: boolean;
  /** Only programs on this machine can connect. */
  readonly isLoopback: boolean;
}

export class Origins {
  readonly #isOpen: boolean;
  readonly #guardsHost: boolean;
  /** The newest that was found to be a loopback name. */
  #lastHost: string | undefined;
  readonly #exact: ReadonlySet<string>;
  readonly #below: readonly { readonly scheme: string; readonly suffix: string }[];

  constructor({ allowed, isOpen, hasKeys, isLoopback }: OriginsOptions) {
    this.#isOpen = isOpen;
    this.#guardsHost = !hasKeys && isLoopback;
    this.#exact = new Set(allowed.filter((origin) => !origin.includes("*")));
    this.#below = allowed
      .filter((origin) => origin.includes("*"))
      .map((origin) => {
        const [scheme = "", suffix = ""] = origin.split("*");
        return { scheme, suffix };
      });
  }

  /**
   * A name that its owner lets lead to this machine (DNS rebinding) makes a foreign page one of the same host.
   *
   * @throws PushError `foreign_host`
   */
  checkHost({ headers }: Incoming): void {
    if (!this.#guardsHost) return;
    const host = headers.get("host");
    // The same nearly always; and as it is, since parsing it would cost each push a tenth.
    if (host === null || host === this.#lastHost) return;
    if (loopbackHost.test(host)) {
      this.#lastHost = host;
      return;
    }
    throw new PushError(
      "foreign_host",
      `Host is ${quote(host)}, expected a loopback name such as localhost; with an API key, any host may call`,
    );
  }

  /**
   * An `<img>` is enough for a GET. So a page pushes only where it may read as well, and says so.
   *
   * @throws PushError `foreign_origin` or `foreign_host`
   */
  checkPublisher(request: Incoming): void {
    this.checkHost(request);
    const origin = request.headers.get("origin");
    // Of one site are also the ports of this machine, and the hosts below one name, of which some may be strangers'.
    if (origin === null) return checkSite(request.headers, this.#guardsHost ? ["same-site"] : []);
    // Any page can make a frame whose origin is null.
    if (origin === "null" || !this.#mayRead(origin, request.headers)) refuse(origin);
  }

  /**
   * Cookies play no part here, but a page that connects could read what is for whoever visits it, from inside their network.
   *
   * @throws PushError `foreign_origin` or `foreign_host`
   */
  checkClient(request: Incoming): void {
    this.checkHost(request);
    const origin = request.headers.get("origin");
    if (origin === null) return checkSite(request.headers, ["same-site"]);
    if (!this.#mayRead(origin, request.headers)) refuse(origin);
  }

  /** The headers that let the page that made this request read the answer, none where it may not; but any may read that it may not. */
  toCorsHeaders(request: Incoming, refusal?: ErrorCode): Record<string, string> {
    if (refusal === "foreign_origin") return forAnyPage;
    return this.#toHeaders(request, {
      "Access-Control-Expose-Headers": "Last-Event-ID, Server-Push-Resumed, Retry-After, WWW-Authenticate",
    });
  }

  /**
   * The headers that answer a browser that asks before its request whether a script may give it these headers. A page that may not
   * connect may ask to, and so learns why not: otherwise it would see a server that is not there.
   */
  toPreflightHeaders(request: Incoming): Record<string, string> {
    if (!request.headers.has("origin")) return {};
    const more = { "Access-Control-Allow-Headers": "Authorization, Last-Event-ID" };
    return { ...forAnyPage, ...more, ...this.#toHeaders(request, {}) };
  }

  #toHeaders({ headers }: Incoming, more: Readonly<Record<string, string>>): Record<string, string> {
    const origin = headers.get("origin");
    if (origin === null || !this.#mayRead(origin, headers)) return {};
    return { "Access-Control-Allow-Origin": origin, Vary: "Origin", ...more };
  }

  #mayRead(origin: string, headers: Headers): boolean {
    if (this.#isAllowed(origin)) return true;
    const own = toHostname(`http://${headers.get("host") ?? ""}`);
    if (own === undefined) return false;
    const opensLoopback = this.#isOpen && loopback.test(own);
    if (opensLoopback && origin === "null") return true;
    // The host of any other scheme is no host: chrome-extension://localhost is an extension of that name.
    const hostname = /^https?:/.test(origin) && isOrigin(origin) ? toHostname(origin) : undefined;
    return hostname !== undefined && (hostname === own || (opensLoopback && loopback.test(hostname)));
  }

  #isAllowed(origin: string): boolean {
    if (this.#exact.has(origin)) return true;
    return this.#below.some(
      ({ scheme, suffix }) =>
        origin.startsWith(scheme) &&
        origin.endsWith(suffix) &&
        /^[\w-]+(\.[\w-]+)*$/.test(origin.slice(scheme.length, -suffix.length)),
    );
  }
}

const forAnyPage = { "Access-Control-Allow-Origin": "*" };

function refuse(origin: string): never {
  throw new PushError(
    "foreign_origin",
    `the page at ${quote(origin)} may not do this, expected one of the same host, or of an allowed origin`,
  );
}

/** Where a browser says who made it do this, and there is no origin; it says nothing where it is old, or none. */
function checkSite(headers: Headers, more: readonly string[]): void {
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "none" || site === "same-origin" || more.includes(site)) return;
  throw new PushError(
    "foreign_origin",
    `a page of another site made the browser do this (Sec-Fetch-Site: ${quote(site)}), expected one that may`,
  );
}

/** Whether it is nothing but an origin: a user or a path in it would be somebody's trick. */
function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

function toHostname(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}
