/**
 * Where a server listens: one port for everybody, or one for clients and one for those who push.
 */
import type { AnyElysia } from "elysia";
import type { Access } from "./auth/access.ts";
import type { AppParts } from "./http/app.ts";
import { Listener, type ListenerParts } from "./http/listener.ts";
import type { Certificate } from "./http/tls.ts";
import type { WebSocketSession } from "./receive/socket.ts";
import { isLoopback, type Settings } from "./settings.ts";

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

/** What of an application depends on where it is called. */
type ListenerAppParts = Pick<
  AppParts,
  "access" | "receivers" | "elsewhere" | "takesPublishers" | "connections"
>;

export interface ListenersParts extends Required<
  Pick<ListenerParts<WebSocketSession>, "websocket" | "onBegin">
> {
  readonly access: Access;
  readonly createApp: (parts: ListenerAppParts) => AnyElysia;
  readonly receivers: AppParts["receivers"];
}

/** @throws CannotListen */
export function openListeners(
  { host, port, apiHost, apiPort, http2, httpTimeout }: Settings,
  certificate: Certificate | undefined,
  { access, createApp: create, receivers, websocket, onBegin }: ListenersParts,
) {
  const common = { http2, idleSeconds: httpTimeout / 1000 };
  const tls = certificate === undefined ? {} : { certificate };
  const clients = openListener(["--host", "--port"], {
    ...common,
    ...tls,
    hostname: host,
    port,
    createApp: (connections) =>
      create({ access, receivers, takesPublishers: apiPort === "none", connections }),
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
      createApp: (connections) =>
        create({
          // What --insecure opens is the other one, unless this one is open too.
          access: access.forListener({ isLoopback: isLoopback(apiHost) }),
          receivers: [],
          elsewhere: { receivers, url: clients.url },
          takesPublishers: true,
          connections,
        }),
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
