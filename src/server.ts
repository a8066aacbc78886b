/**
 * The only wiring: settings → parts → listen → close in reverse order.
 *
 *   await using server = await openServer({ settings, logger, build });
 */
import type { AnyElysia } from "elysia";
import { Access } from "./auth/access.ts";
import { type ClientTokens, deriveSecret, openClientTokens } from "./auth/client.ts";
import { type AppParts, createApp } from "./http/app.ts";
import { Listener, type ListenerParts } from "./http/listener.ts";
import { type Certificate, type CertificateFiles, CertificateWatch, readCertificate } from "./http/tls.ts";
import { Hub } from "./hub.ts";
import { rememberedMs } from "./idempotency.ts";
import { openMemoryJournal } from "./journal/memory.ts";
import { openSqliteJournal } from "./journal/sqlite.ts";
import type { Journal } from "./journal.ts";
import type { Logger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { type Networks, toAddressKey, toPeer } from "./peer.ts";
import { openPolls } from "./receive/poll.ts";
import { openEventStreams } from "./receive/sse.ts";
import { Presence } from "./presence.ts";
import { PushRates, Quotas } from "./quotas.ts";
import { createAdmit, type ToAddress, toReplayedAtOnce } from "./receive/start.ts";
import type { WebSocketSession } from "./receive/socket.ts";
import { openWebSockets } from "./receive/websocket.ts";
import { createSessionIds, Sessions, startProbing } from "./session.ts";
import { hostsOf, isLoopback, type Settings } from "./settings.ts";

export interface ServerParts {
  readonly settings: Settings;
  /** The API keys: those in the settings, and those of the file. Without any, it is open. */
  readonly keys: readonly string[];
  readonly logger: Logger;
  readonly build: { readonly version: string; readonly commit: string };
}

export interface Server extends AsyncDisposable {
  /** Where it listens: `http://127.0.0.1:8888`. */
  readonly url: string;
  readonly port: number;
  /** Where publishers and operators call, when it is a port of their own. */
  readonly apiUrl?: string;
  /** How many messages the journal had when it was opened. */
  readonly found: number;
  /**
   * From now on these API keys are valid, and no others; and the certificate and the public keys of tokens are read again.
   *
   * @throws Error when those cannot be used: they stay as they were
   */
  reload(keys: readonly string[]): Promise<void>;
  /**
   * Stops in good order, within the time of `--drain`: not ready, no new sessions and pushes, requests in flight are answered,
   * sessions are closed with 1012 in batches. Then it is as closed as after `close`.
   */
  drain(): Promise<void>;
  /** Stops at once. */
  close(): Promise<void>;
}

/** The keys of tokens cannot be used: the message says which, why, and what was expected. */
export class UnusableTokens extends Error {
  override readonly name = "UnusableTokens";
}

export interface ListeningPlace {
  readonly hostname: string;
  readonly port: number;
  /** The settings that they come from. */
  readonly hostFlag: string;
  readonly portFlag: string;
}

/** Nothing can listen there; the cause is what the system says, with `code` EADDRINUSE, EACCES, … */
export class CannotListen extends Error {
  override readonly name = "CannotListen";

  constructor(
    readonly place: ListeningPlace,
    options: ErrorOptions,
  ) {
    super(`cannot listen on ${place.hostname}:${place.port}`, options);
  }
}

/** @throws UnusableFile, UnusableTokens, UnusableCertificate or CannotListen */
export async function openServer(parts: ServerParts): Promise<Server> {
  const { settings, logger } = parts;
  const tokens = await openTokens(parts);
  const certificate =
    settings.tlsCert === "" ? undefined : await readCertificate(toCertificateFiles(settings));
  const journal = await openJournal(settings, logger);
  try {
    return listen(parts, journal, tokens, certificate);
  } catch (error) {
    await journal.close();
    throw error;
  }
}

function listen(
  { settings, keys, logger, build }: ServerParts,
  journal: Journal,
  tokens: ClientTokens | undefined,
  certificate: Certificate | undefined,
): Server {
  const access = new Access({
    keys,
    tokens,
    anonymous: settings.anonymous,
    allowedOrigins: settings.allowOrigin,
    isLoopback: !settings.insecure && hostsOf(settings).every(isLoopback),
    publicMetrics: settings.publicMetrics,
    publicDocs: settings.publicDocs,
  });
  const found = journal.kept.count;
  const metrics = createMetrics(build);
  const sessions = new Sessions();
  const presence = new Presence();
  const { maxSessions, maxIdempotencyKeys, maxMessage, maxQueued, maxBatch, maxBatchCount, ping } = settings;
  const quotas = new Quotas({
    maxPerUser: settings.maxSessionsPerUser,
    maxPerAddress: settings.maxSessionsPerAddress,
    perSecond: settings.maxSessionRate,
  });
  const pushRates =
    settings.maxPushRate === 0
      ? undefined
      : new PushRates({ perSecond: settings.maxPushRate, maxCount: maxBatchCount });
  const hub = new Hub({
    journal,
    sessions,
    presence,
    metrics,
    logger,
    maxSessions,
    quotas,
    pushRates,
    maxIdempotencyKeys,
    maxReceiptWaits: settings.maxReceiptWaits,
  });
  const admit = createAdmit({ access, hub, toAddress: createToAddress(settings.trustedProxies) });
  const shared = {
    metrics,
    admit,
    access,
    hub,
    logger,
    createSessionId: createSessionIds(),
    maxQueued,
    ping,
  };
  const webSockets = openWebSockets({
    ...shared,
    sessions,
    maxMessage,
    receiveRate: settings.maxReceiveRate,
  });
  const eventStreams = openEventStreams(shared);
  const polls = openPolls(shared);
  for (const { outlet } of [eventStreams, polls]) hub.addOutlet(outlet);

  const appParts = {
    access,
    hub,
    sessions,
    presence,
    metrics,
    logger,
    maxMessage,
    maxBatch,
    maxBatchCount,
    maxTokenTime: settings.maxTokenTime,
    version: build.version,
  };
  const { clients, publishers } = openListeners(settings, certificate, {
    createApp: (parts) => createApp({ ...appParts, ...parts }),
    receivers: [webSockets.routes, eventStreams.routes, polls.routes],
    websocket: webSockets.websocket,
    onBegin: (server) => hub.addOutlet(webSockets.createOutlet(server)),
  });
  const listeners = publishers === undefined ? [clients] : [clients, publishers];
  const watch =
    certificate === undefined
      ? undefined
      : new CertificateWatch(certificate, {
          files: toCertificateFiles(settings),
          logger,
          onChange: async (renewed) => {
            await Promise.all(listeners.map((listener) => listener.renew(renewed)));
          },
        });
  metrics.watch({
    sessions: () => sessions.size,
    replays: () => hub.replays.size,
    idempotencyKeys: () => hub.idempotency.size,
    receiptWaits: () => hub.receipts.size,
    usersOnline: () => presence.users,
    journalMessages: () => journal.kept.count,
    journalBytes: () => journal.kept.bytes,
    journalWritable: () => journal.problem === undefined,
    ...(watch !== undefined && { certificateEnd: () => watch.expiresAt }),
  });
  const stopProbing = startProbing(sessions, ping, () => hub.toId(hub.head));

  let closed: Promise<void> | undefined;
  const close = () => (closed ??= closeAll());
  return {
    url: clients.url,
    port: clients.port,
    ...(publishers !== undefined && { apiUrl: publishers.url }),
    found,
    async reload(valid) {
      access.replaceKeys(valid);
      tokens?.replaceSecrets(toSecrets(settings.jwtSecret, valid));
      await watch?.check();
      await tokens?.reload();
    },
    drain,
    close,
    [Symbol.asyncDispose]: close,
  };

  async function drain(): Promise<void> {
    const deadline = performance.now() + settings.drain;
    const left = () => Math.max(0, deadline - performance.now());
    await hub.drain(settings.drain, Bun.sleep);
    // Sessions that still have something to read end by themselves.
    while (sessions.size > 0 && left() > farewellMs) await Bun.sleep(pollMs);
    // The last to be told still answer, and who calls meanwhile is told to come back.
    await Bun.sleep(Math.min(farewellMs, left()));
    const stopping = Promise.all(listeners.map((listener) => listener.stop()));
    await Promise.race([stopping, Bun.sleep(left())]);
    await close();
  }

  async function closeAll(): Promise<void> {
    stopProbing();
    watch?.stop();
    for (const listener of listeners) await listener.close();
    await journal.close();
  }
}

interface ListenersParts extends Required<Pick<ListenerParts<WebSocketSession>, "websocket" | "onBegin">> {
  readonly createApp: (parts: Pick<AppParts, "receivers" | "takesPublishers">) => AnyElysia;
  readonly receivers: AppParts["receivers"];
}

/** One listener for everybody, or one for clients and one for those who push. @throws CannotListen */
function openListeners(
  { host, port, apiHost, apiPort, http2, httpTimeout }: Settings,
  certificate: Certificate | undefined,
  { createApp: create, receivers, websocket, onBegin }: ListenersParts,
) {
  const common = { http2, idleSeconds: httpTimeout / 1000 };
  const tls = certificate === undefined ? {} : { certificate };
  const clients = openListener(["--host", "--port"], {
    ...common,
    ...tls,
    hostname: host,
    port,
    createApp: () => create({ receivers, takesPublishers: apiPort === "none" }),
    websocket,
    onBegin,
  });
  if (apiPort === "none") return { clients };
  try {
    const publishers = openListener(["--api-host", "--api-port"], {
      ...common,
      // Within a machine nobody listens in, and no certificate is for a loopback name.
      ...(isLoopback(apiHost) ? {} : tls),
      hostname: apiHost,
      port: apiPort,
      createApp: () => create({ receivers: [], takesPublishers: true }),
    });
    return { clients, publishers };
  } catch (error) {
    void clients.close();
    throw error;
  }
}

function openListener<Session>(
  [hostFlag, portFlag]: readonly [string, string],
  parts: ListenerParts<Session>,
): Listener<Session> {
  try {
    return new Listener(parts);
  } catch (cause) {
    const { hostname, port } = parts;
    throw new CannotListen({ hostname, port, hostFlag, portFlag }, { cause });
  }
}

function toCertificateFiles({ tlsCert, tlsKey }: Settings): CertificateFiles {
  return { certPath: tlsCert, keyPath: tlsKey };
}

/** What clients' tokens are verified with, where anything is locked at all. */
async function openTokens({ settings, keys, logger }: ServerParts): Promise<ClientTokens | undefined> {
  const { jwtSecret, jwks, jwtIssuer, jwtAudience, jwtLeeway, maxTokenTime } = settings;
  const secrets = toSecrets(jwtSecret, keys);
  if (secrets.length === 0 && jwks === "") return undefined;
  try {
    return await openClientTokens({
      secrets,
      jwks: jwks || undefined,
      issuer: jwtIssuer || undefined,
      audience: jwtAudience || undefined,
      leewayMs: jwtLeeway,
      maxLifetimeMs: maxTokenTime,
      logger,
    });
  } catch (error) {
    throw new UnusableTokens(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** Which address a request counts for at the limits. */
function createToAddress(proxies: Networks): ToAddress {
  return (request, server) => {
    const nearest = server?.requestIP(request)?.address;
    if (nearest === undefined) return undefined;
    const address = toPeer({ address: nearest, headers: request.headers }, proxies);
    // With proxies on this machine, a client can bring about that it is taken for one of them.
    return proxies.isEmpty && isLoopback(address) ? undefined : toAddressKey(address);
  };
}

/** Several nodes with the same API keys agree on them, also while one key is replaced by another. */
function toSecrets(jwtSecret: string, keys: readonly string[]): readonly Uint8Array[] {
  return jwtSecret === "" ? keys.map(deriveSecret) : [new TextEncoder().encode(jwtSecret)];
}

async function openJournal(settings: Settings, logger: Logger): Promise<Journal> {
  const { data, retainTime, retainBytes, retainCount, maxIdempotencyKeys, maxQueued } = settings;
  const retention = { time: retainTime, bytes: retainBytes, count: retainCount };
  // So much that no session that reads at once is taken for a slow one.
  const turnBytes = toReplayedAtOnce(maxQueued);
  if (data === "") return openMemoryJournal({ retention, turnBytes });
  return await openSqliteJournal({
    path: data,
    retention,
    turnBytes,
    maxOnce: maxIdempotencyKeys,
    onceMs: rememberedMs,
    logger,
  });
}

const pollMs = 10;
const farewellMs = 250;
