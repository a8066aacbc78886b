/**
 * Who may do what, by the kind of call: the one place that a route asks.
 */
import type { Address } from "../address.ts";
import { type ErrorCode, PushError, quote, Unauthorized } from "../errors.ts";
import type { ClientTokens, Identity, Mintage } from "./client.ts";
import { Origins, type OriginsOptions } from "./origin.ts";
import { type Publisher, PublisherKeys, readBearer } from "./publisher.ts";

export interface AccessOptions extends Pick<OriginsOptions, "isLoopback"> {
  readonly keys: readonly string[];
  /** What clients' tokens are verified with; without it, anyone may be any user. */
  readonly tokens: ClientTokens | undefined;
  /** Whether who has no token may listen to what is pushed to all. */
  readonly anonymous: boolean;
  readonly allowedOrigins: readonly string[];
  readonly publicMetrics: boolean;
  readonly publicDocs: boolean;
}

/** Whom a client may be, and until when. */
export interface Admission extends Address {
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
  /** What it may push to: components, and `*` for all of its own user. */
  readonly push?: readonly string[];
}

/** What a client says of itself in its query. */
interface Claim extends Address {
  readonly token?: string;
}

/** How a WebSocket in a browser, which can send no header, brings a token without having it in a URL: beside its subprotocol. */
const bearerProtocol = "bearer.";

export class Access {
  readonly #keys: PublisherKeys;
  readonly #origins: Origins;
  readonly #options: AccessOptions;

  constructor(options: AccessOptions, shared = new PublisherKeys(options.keys)) {
    const { keys, tokens, allowedOrigins, isLoopback } = options;
    this.#options = options;
    this.#keys = shared;
    const isOpen = keys.length === 0 && tokens === undefined;
    this.#origins = new Origins({
      allowed: allowedOrigins,
      isOpen,
      hasKeys: keys.length > 0,
      isLoopback,
    });
  }

  /** The same for those who come by another listener: with the same keys, also when they are replaced, and the same tokens. */
  forListener({ isLoopback }: Pick<AccessOptions, "isLoopback">): Access {
    return new Access({ ...this.#options, isLoopback }, this.#keys);
  }

  /** From now on these API keys are valid, and no others, on every listener. */
  replaceKeys(keys: readonly string[]): void {
    this.#keys.replace(keys);
  }

  /** Whether publishers and operators need a key. */
  get needsKey(): boolean {
    return this.#keys.areRequired;
  }

  /** Whether clients need a token, be it only to be somebody. */
  get needsToken(): boolean {
    return this.#options.tokens !== undefined;
  }

  /** Whether who has no token may listen to what is pushed to all. */
  get takesAnonymous(): boolean {
    return this.#options.anonymous;
  }

  /**
   * Who it is that pushes.
   *
   * @throws PushError `unauthorized`, `foreign_host` or `foreign_origin`
   */
  checkPublisher(request: Request): Publisher {
    this.#origins.checkPublisher(request);
    return this.#keys.check(request.headers);
  }

  /**
   * Whom the client may be that makes this request.
   *
   * @throws PushError `unauthorized`, `forbidden`, `foreign_host`, `foreign_origin` or `unavailable`; also as a rejection
   */
  admit(request: Request, claim: Claim): Admission | Promise<Admission> {
    this.#origins.checkClient(request);
    const token = claim.token ?? readToken(request.headers);
    const { tokens } = this.#options;
    if (tokens === undefined) {
      if (claim.token === undefined) return claim;
      throw new PushError(
        "invalid_parameter",
        "parameter token is given, but the server has no API key and no keys to verify it with; expected none",
      );
    }
    if (token === undefined) return this.#admitAnonymous(claim);
    const identity = tokens.verify(token);
    return identity instanceof Promise
      ? identity.then((verified) => toAdmission(verified, claim))
      : toAdmission(identity, claim);
  }

  /**
   * Until when, and with which rights, a session may go on that shows this token.
   *
   * @throws PushError `unauthorized`, `forbidden` or `unavailable`, as a rejection
   */
  async renew({ userid, compid }: Address, token: string): Promise<Pick<Identity, "expiresAt" | "push">> {
    const { tokens } = this.#options;
    if (tokens === undefined || userid === undefined)
      throw new PushError("forbidden", "the session began without a token, expected none");
    const identity = await tokens.verify(token);
    if (identity.userid !== userid || (identity.compid !== undefined && identity.compid !== compid))
      throw new PushError(
        "forbidden",
        "the token is another one's, expected one of the session's user and component",
      );
    return identity;
  }

  /** @throws PushError `invalid_parameter` or `forbidden`, as a rejection */
  async mint(mintage: Mintage): Promise<string> {
    const { tokens } = this.#options;
    // Whoever could ask for a token without a key could be anyone.
    if (tokens !== undefined && this.#keys.areRequired) return await tokens.mint(mintage);
    throw new PushError("forbidden", "the server has no API key, and without one it gives out no tokens");
  }

  /** @throws PushError `foreign_host` */
  checkHost(request: Request): void {
    this.#origins.checkHost(request);
  }

  /** @throws PushError `unauthorized` or `foreign_host` */
  checkMetrics(request: Request): void {
    this.#origins.checkHost(request);
    if (!this.#options.publicMetrics) this.#keys.check(request.headers);
  }

  /** @throws PushError `unauthorized` or `foreign_host` */
  checkDocs(request: Request): void {
    this.#origins.checkHost(request);
    if (!this.#options.publicDocs) this.#keys.check(request.headers);
  }

  toCorsHeaders(request: Request, refusal?: ErrorCode): Record<string, string> {
    return this.#origins.toCorsHeaders(request, refusal);
  }

  toPreflightHeaders(request: Request): Record<string, string> {
    return this.#origins.toPreflightHeaders(request);
  }

  #admitAnonymous({ userid, compid }: Address): Admission {
    if (!this.#options.anonymous)
      throw new Unauthorized(
        "missing",
        "a token is missing, expected it as the parameter token, or as Authorization: Bearer TOKEN",
      );
    if (userid === undefined && compid === undefined) return {};
    throw new Unauthorized(
      "missing",
      "a token is missing, without which only what is pushed to all can be listened to",
    );
  }
}

function readToken(headers: Headers): string | undefined {
  return (
    readBearer(headers, "TOKEN") ??
    headers
      .get("sec-websocket-protocol")
      ?.split(",")
      .map((name) => name.trim())
      .find((name) => name.startsWith(bearerProtocol))
      ?.slice(bearerProtocol.length)
  );
}

function toAdmission({ userid, compid, expiresAt, push }: Identity, claim: Claim): Admission {
  if (claim.userid !== undefined && claim.userid !== userid)
    throw new PushError("forbidden", `userid is ${quote(claim.userid)}, expected that of the token, or none`);
  if (compid !== undefined && claim.compid !== undefined && claim.compid !== compid)
    throw new PushError("forbidden", `compid is ${quote(claim.compid)}, expected that of the token, or none`);
  const own = compid ?? claim.compid;
  return {
    userid,
    ...(own !== undefined && { compid: own }),
    expiresAt,
    ...(push !== undefined && { push }),
  };
}
