/**
 * Who may do what, by the kind of call: the one place that a route asks.
 */
import { Origins, type OriginsOptions } from "./origin.ts";
import { PublisherKeys } from "./publisher.ts";

export interface AccessOptions extends Omit<OriginsOptions, "isOpen" | "allowed"> {
  readonly keys: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly publicMetrics: boolean;
  readonly publicDocs: boolean;
}

export class Access {
  readonly #keys: PublisherKeys;
  readonly #origins: Origins;
  readonly #publicMetrics: boolean;
  readonly #publicDocs: boolean;

  constructor({ keys, allowedOrigins, isLoopback, publicMetrics, publicDocs }: AccessOptions) {
    this.#keys = new PublisherKeys(keys);
    this.#origins = new Origins({ allowed: allowedOrigins, isOpen: keys.length === 0, isLoopback });
    this.#publicMetrics = publicMetrics;
    this.#publicDocs = publicDocs;
  }

  /** From now on these API keys are valid, and no others. */
  replaceKeys(keys: readonly string[]): void {
    this.#keys.replace(keys);
  }

  /** @throws PushError `unauthorized`, `foreign_host` or `foreign_origin` */
  checkPublisher(request: Request): void {
    this.#origins.checkPublisher(request);
    this.#keys.check(request.headers);
  }

  /** @throws PushError `foreign_host` or `foreign_origin` */
  checkClient(request: Request): void {
    this.#origins.checkClient(request);
  }

  /** @throws PushError `foreign_host` */
  checkHost(request: Request): void {
    this.#origins.checkHost(request);
  }

  /** @throws PushError `unauthorized` or `foreign_host` */
  checkMetrics(request: Request): void {
    this.#origins.checkHost(request);
    if (!this.#publicMetrics) this.#keys.check(request.headers);
  }

  /** @throws PushError `unauthorized` or `foreign_host` */
  checkDocs(request: Request): void {
    this.#origins.checkHost(request);
    if (!this.#publicDocs) this.#keys.check(request.headers);
  }

  toCorsHeaders(request: Request): Record<string, string> {
    return this.#origins.toCorsHeaders(request);
  }

  toPreflightHeaders(request: Request): Record<string, string> {
    return this.#origins.toPreflightHeaders(request);
  }
}
