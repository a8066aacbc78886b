/**
 * The only wiring: settings → parts → listen → close in reverse order.
 *
 *   await using server = await openServer({ settings, logger, build });
 */
import { Access } from "./auth/access.ts";
import { type ClientTokens, deriveSecret, openClientTokens } from "./auth/client.ts";
import { createApp } from "./http/app.ts";
import { type Certificate, type CertificateFiles, CertificateWatch, readCertificate } from "./http/tls.ts";
import { Events } from "./events.ts";
import { EventReaders } from "./http/event-reader.ts";
import { Hub } from "./hub.ts";
import { rememberedMs } from "./idempotency.ts";
import { openMemoryJournal } from "./journal/memory.ts";
import { openSqliteJournal } from "./journal/sqlite.ts";
import type { Journal } from "./journal.ts";
import { openListeners } from "./listeners.ts";
import type { Logger } from "./logger.ts";
import { DescriptorWatch } from "./descriptors.ts";
import { createMetrics, maxFileDescriptors } from "./metrics.ts";
import { type Networks, toAddressKey, toPeer } from "./peer.ts";
import { openPolls } from "./receive/poll.ts";
import { openEventStreams } from "./receive/sse.ts";
import { Presence } from "./presence.ts";
import { PushRates, Quotas } from "./quotas.ts";
import { createAdmit, type ToAddress, toReplayedAtOnce } from "./receive/start.ts";
import { openWebSockets } from "./receive/websocket.ts";
import { openWebhooks } from "./webhook/webhooks.ts";
import { createSessionIds, Sessions, startProbing } from "./session.ts";
import { isLoopback, type Settings } from "./settings.ts";
import { UnclaimedPushes } from "./unclaimed.ts";

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
  /** From now on these API keys are valid, and no others. */
  replaceKeys(keys: readonly string[]): void;
  /** Reads the certificate again; the log says what came of it. */
  reloadCertificate(): Promise<void>;
  /**
   * Reads the public keys of tokens again.
   *
   * @throws Error when they cannot be used: they stay as they were
   */
  reloadTokenKeys(): Promise<void>;
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

/** @throws UnusableFile, UnusableTokens, UnusableCertificate or CannotListen */
export async function openServer(parts: ServerParts): Promise<Server> {
  const { settings, logger } = parts;
  const tokens = await openTokens(parts);
  const certificate =
    settings.tlsCert === "" ? undefined : await readCertificate(toCertificateFiles(settings));
  const opened = new AsyncDisposableStack();
  try {
    const journal = opened.adopt(await openJournal(settings, logger), (one) => one.close());
    const log = opened.adopt(await openEventLog(settings, logger), (one) => one.close());
    const server = await listen(parts, { journal, log, tokens, certificate });
    opened.move();
    return server;
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

/** What is opened before anybody listens. */
interface Opened {
  readonly journal: Journal;
  /** The log of events. */
  readonly log: Journal;
  readonly tokens: ClientTokens | undefined;
  readonly certificate: Certificate | undefined;
}

async function listen(
  { settings, keys, logger, build }: ServerParts,
  { journal, log, tokens, certificate }: Opened,
): Promise<Server> {
  const access = new Access({
    keys,
    tokens,
    anonymous: settings.anonymous,
    allowedOrigins: settings.allowOrigin,
    isLoopback: !settings.insecure && isLoopback(settings.host),
    publicMetrics: settings.publicMetrics,
    publicDocs: settings.publicDocs,
  });
  const found = journal.kept.count;
  const metrics = createMetrics(build);
  const sessions = new Sessions();
  const events = new Events({ log, onLost: (count) => (metrics.eventsLost += count) });
  const presence = new Presence({
    onOnline: (userid) => events.record("user.online", { userid }),
    onOffline(userid) {
      unclaimed.tellKept(userid);
      events.record("user.offline", { userid });
    },
  });
  const unclaimed = new UnclaimedPushes({
    presence,
    sessions,
    epoch: journal.epoch,
    isCatchingUp: (session) => hub.replays.has(session),
    tell: (push) => events.record("message.unclaimed", push),
  });
  presence.expect(events.readOnline(), comeBackMs);
  const webhooks = await openWebhooks({
    urls: settings.webhook,
    events,
    types: settings.webhookEvents,
    cursorsPath: settings.data === "" ? undefined : `${settings.data}-webhooks`,
    logger,
    secrets: settings.webhookSecret,
    timeoutMs: settings.webhookTimeout,
    retryMs: settings.webhookRetryTime,
    maxBytes: settings.maxWebhookQueue,
    maxReply: settings.maxMessage,
    onReply: (session, reply) => sessions.get(session)?.reply?.(reply),
    onOutcome: (outcome, count) => metrics.webhook(outcome, count),
  });
  const eventReaders = new EventReaders();
  const limit = maxFileDescriptors();
  const descriptors = Number.isFinite(limit) ? new DescriptorWatch({ limit, logger }) : undefined;
  const { maxSessions, maxIdempotencyKeys, maxMessage, maxQueued, maxBatch, maxBatchCount, ping } = settings;
  const quotas = new Quotas({
    maxPerUser: settings.maxSessionsPerUser,
    maxPerAddress: settings.maxSessionsPerAddress,
    perSecond: settings.maxSessionRate,
  });
  const pushRates =
    settings.maxPushRate === 0 ? undefined : new PushRates({ perSecond: settings.maxPushRate });
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
    events,
    unclaimed,
    hasRoom: (bytes) => webhooks.hasRoom(bytes),
    isCrowded: () => descriptors?.areScarce === true,
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
    clientPush: settings.clientPush,
  });
  const eventStreams = openEventStreams(shared);
  const polls = openPolls(shared);
  for (const { outlet } of [eventStreams, polls]) hub.addOutlet(outlet);

  const appParts = {
    hub,
    sessions,
    presence,
    events,
    eventReaders,
    ping,
    metrics,
    logger,
    maxMessage,
    maxBatch,
    maxBatchCount,
    maxTokenTime: settings.maxTokenTime,
    hasWebhooks: settings.webhook.length > 0,
    version: build.version,
  };
  const { clients, publishers } = openListeners(settings, certificate, {
    access,
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
    webhookWaiting: () => webhooks.size,
    eventReaders: () => eventReaders.size,
    journalMessages: () => journal.kept.count,
    journalBytes: () => journal.kept.bytes,
    journalAgeMs: () => journal.ageMs,
    journalWritable: () => journal.problem === undefined,
    eventsWritable: () => log.problem === undefined,
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
    replaceKeys(valid) {
      access.replaceKeys(valid);
      tokens?.replaceSecrets(toSecrets(settings.jwtSecret, valid));
    },
    reloadCertificate: async () => await watch?.check(),
    reloadTokenKeys: async () => await tokens?.reload(),
    drain,
    close,
    [Symbol.asyncDispose]: close,
  };

  async function drain(): Promise<void> {
    const deadline = performance.now() + settings.drain;
    const left = () => Math.max(0, deadline - performance.now());
    // Who is only away would come back, but is not let in any more.
    presence.hold();
    await hub.drain(settings.drain, Bun.sleep);
    // Sessions that still have something to read end by themselves.
    while (sessions.size > 0 && left() > farewellMs) await Bun.sleep(pollMs);
    // With --data they are expected back after the restart; without it, nobody would ever tell that they have gone.
    if (settings.data === "") presence.endAll();
    unclaimed.tellAll();
    // Readers are told of the ends that there were just now.
    await Promise.race([events.written(), Bun.sleep(Math.max(0, left() - farewellMs))]);
    eventReaders.close();
    await webhooks.flush(Math.max(0, left() - farewellMs));
    // The last to be told still answer, and who calls meanwhile is told to come back.
    await Bun.sleep(Math.min(farewellMs, left()));
    const stopping = Promise.all(listeners.map((listener) => listener.stop()));
    await Promise.race([stopping, Bun.sleep(left())]);
    await close();
  }

  async function closeAll(): Promise<void> {
    stopProbing();
    watch?.stop();
    descriptors?.stop();
    eventReaders.close();
    for (const listener of listeners) await listener.close();
    await webhooks.close();
    await log.close();
    await journal.close();
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

/** A journal of its own, so that it is kept as the messages are: with `--data` in a file beside theirs. */
async function openEventLog(settings: Settings, logger: Logger): Promise<Journal> {
  const { data, retainEvents, retainBytes } = settings;
  const retention = { time: eventsMs, bytes: retainBytes, count: retainEvents };
  // It is no more in a turn than what has happened in it, and goes to no socket as it is.
  if (data === "") return openMemoryJournal({ retention, turnBytes: Number.POSITIVE_INFINITY });
  const path = `${data}-events`;
  const onDisk = { ...retention, count: eventsOnDisk * retainEvents };
  const words = { name: "the log of events", refused: "messages of clients" };
  return await openSqliteJournal({
    path,
    retention: onDisk,
    maxOnce: 1,
    onceMs: rememberedMs,
    logger,
    words,
  });
}

/** How many are kept on disk, where they cost little, for each that is kept in memory. */
const eventsOnDisk = 100;
const eventsMs = 24 * 3_600_000;
/** After a restart clients come back within their longest pause, which is 20 s in our own library, and a little more. */
const comeBackMs = 30_000;
const pollMs = 10;
const farewellMs = 250;
