/**
 * Pages that listen with the library, and the small site that has them, on another port than the server.
 *
 *   await using site = openSite();
 *   await using page = await openPage();
 *   await page.show(site.add(toLibraryPage(server, { userid: "123", compid: "inbox" })));
 *   await page.until(`received.length === 3`);
 */
import type { MessageContent } from "../../src/protocol.ts";
import type { Page } from "./browser.ts";

/** Where a browser finds the server under the name that people write. */
export function toLocal({ port }: { readonly port: number }): string {
  return `http://localhost:${port}`;
}

/** What a page was told of its connection, beside messages. */
export interface Told {
  readonly type: "open" | "close" | "reset" | "error";
  readonly session?: string;
  readonly transport?: string;
  readonly resumed?: boolean;
  readonly code?: number | string;
  readonly reason?: string;
  readonly detail?: string;
  readonly status?: number;
  readonly willReconnect?: boolean;
}

/** Keeps what was received, over a reload where the page may, and what was told of the connection. */
export const recorder = `
const received = [], told = [];
let kept = {};
try {
  kept = sessionStorage;
} catch {}
for (let one; (one = kept["received " + received.length]); ) received.push(JSON.parse(one));
const take = ({ type, data, lastEventId: id }) => {
  const message = type === "message" ? { id, data } : { id, event: type, data };
  kept["received " + received.length] = JSON.stringify(message);
  received.push(message);
};
function record(push) {
  push.onmessage = take;
  push.addEventListener("order", take);
  for (const type of ["open", "close", "reset", "error"])
    push.addEventListener(type, ({ session, transport, resumed, code, reason, detail, status, willReconnect }) =>
      told.push({ type, session, transport, resumed, code, reason, detail, status, willReconnect }));
  return push;
}
`;

/** A page that records what its connection, `push`, gets. */
export function toLibraryPage(server: { readonly port: number }, options: object): string {
  return toPage(toLocal(server), JSON.stringify(options));
}

/** @param options as the page writes them */
export function toPage(url: string, options: string): string {
  return `<!doctype html>
<script src="${url}/client.js"></script>
<script>${recorder}
const push = record(ServerPush.connect(${options}));
</script>`;
}

export interface Site extends AsyncDisposable {
  readonly url: string;
  /** Has this page from now on, and gives its URL. */
  add(page: string, headers?: Readonly<Record<string, string>>): string;
}

export function openSite(): Site {
  const files = new Map<string, { text: string; headers: Readonly<Record<string, string>> }>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const file = files.get(new URL(request.url).pathname);
      // A browser asks for an icon by itself.
      return file
        ? new Response(file.text, { headers: file.headers })
        : new Response(undefined, { status: 204 });
    },
  });
  const url = `http://localhost:${server.port}`;
  return {
    url,
    add(text, headers = {}) {
      const path = `/${files.size}`;
      files.set(path, { text, headers: { "Content-Type": "text/html; charset=utf-8", ...headers } });
      return url + path;
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

/** What the page has, once it has the message with this id. */
export async function receivedUntil(page: Page, id: string | undefined): Promise<readonly MessageContent[]> {
  await page.until(`received.at(-1)?.id === "${id}"`);
  return await page.evaluate<MessageContent[]>("received");
}

export async function toldOf(page: Page, ...types: readonly Told["type"][]): Promise<readonly Told[]> {
  const told = await page.evaluate<Told[]>("told");
  return told.filter(({ type }) => types.includes(type));
}

/** What the browser says by itself of a connection that fails; nobody can keep it from that. */
const ofNetwork = /^(WebSocket connection to |Failed to load resource: )/;

/** What the console says beside that. */
export function complaintsOf(page: Page): readonly string[] {
  return page.complaints.filter((complaint) => !ofNetwork.test(complaint));
}
