/**
 * The only wiring: settings → parts → listen → close in reverse order.
 *
 *   await using server = await openServer({ settings, logger, build });
 */
import { createApp } from "./http/app.ts";
import { Hub } from "./hub.ts";
import { openMemoryJournal } from "./journal/memory.ts";
import type { Logger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { openWebSockets } from "./receive/websocket.ts";
import { createSessionIds, Sessions, startProbing } from "./session.ts";
import type { Settings } from "./settings.ts";

export interface ServerParts {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly build: { readonly version: string; readonly commit: string };
}

export interface Server extends AsyncDisposable {
  /** Where it listens: `http://127.0.0.1:8888`. */
  readonly url: string;
  readonly port: number;
  /**
   * Stops in good order, within the time of `--drain`: not ready, no new sessions and pushes, requests in flight are answered,
   * sessions are closed with 1012 in batches. Then it is as closed as after `close`.
   */
  drain(): Promise<void>;
  /** Stops at once. */
  close(): Promise<void>;
}

/** @throws an error with `code` EADDRINUSE, EACCES, … when it cannot listen */
export async function openServer({ settings, logger, build }: ServerParts): Promise<Server> {
  const metrics = createMetrics(build);
  const sessions = new Sessions();
  const journal = openMemoryJournal({
    retention: { time: settings.retainTime, bytes: settings.retainBytes, count: settings.retainCount },
  });
  const hub = new Hub({ journal, sessions, metrics, logger, maxSessions: settings.maxSessions });
  metrics.watch({
    sessions: () => sessions.size,
    journalMessages: () => journal.kept.count,
    journalBytes: () => journal.kept.bytes,
  });
  const webSockets = openWebSockets({
    hub,
    logger,
    sessions,
    createSessionId: createSessionIds(),
    maxMessage: settings.maxMessage,
    maxQueued: settings.maxQueued,
  });
  const app = createApp({
    hub,
    metrics,
    logger,
    maxMessage: settings.maxMessage,
    version: build.version,
    receivers: [webSockets.routes],
  });
  app.listen({
    hostname: settings.host,
    port: settings.port,
    reusePort: false,
    development: false,
    idleTimeout: settings.httpTimeout / 1000,
    // The limit is ours, in http/push.ts: Bun's own answer to a body that is too large says nothing.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    websocket: webSockets.websocket,
  });
  const listener = app.server;
  if (listener === null) throw new Error("the listener did not start");
  hub.addOutlet(webSockets.createOutlet(listener));
  const stopProbing = startProbing(sessions, settings.ping);

  let closed: Promise<void> | undefined;
  const close = () => (closed ??= closeAll());
  return { url: listener.url.origin, port: listener.port ?? 0, drain, close, [Symbol.asyncDispose]: close };

  async function drain(): Promise<void> {
    const deadline = performance.now() + settings.drain;
    const left = () => Math.max(0, deadline - performance.now());
    await hub.drain(settings.drain, Bun.sleep);
    // Sessions that still have something to read end by themselves.
    while (sessions.size > 0 && left() > farewellMs) await Bun.sleep(pollMs);
    // The last to be told still answer, and who calls meanwhile is told to come back.
    await Bun.sleep(Math.min(farewellMs, left()));
    await Promise.race([listener?.stop(), Bun.sleep(left())]);
    await close();
  }

  async function closeAll(): Promise<void> {
    stopProbing();
    await listener?.stop(true);
    await journal.close();
  }
}

const pollMs = 10;
const farewellMs = 250;
