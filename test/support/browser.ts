/**
 * Pages of a real browser: headless Chromium, by Bun's own WebView.
 *
 *   await using page = await openPage();
 *   await page.show("http://127.0.0.1:8888/swagger");
 *   await page.until("document.body.textContent === 'hello'");
 */
import { eventually } from "./eventually.ts";

export interface Page extends AsyncDisposable {
  /** Loads this URL, in place of what the page showed before. */
  show(url: string): Promise<void>;
  /** The value of an expression in the page; a promise is awaited. */
  evaluate<Value>(expression: string): Promise<Value>;
  /** Waits until an expression is true in the page. */
  until(expression: string): Promise<void>;
  /** The URL of everything that the page has asked for. */
  readonly requests: readonly string[];
  /** What the browser's console says is wrong: errors, warnings, and what was thrown and not caught. */
  readonly complaints: readonly string[];
  screenshot(): Promise<Uint8Array>;
}

/** No name but localhost can be found, so nothing leaves this machine. */
const offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost";

/** Root, as in a container, has no sandbox to run Chromium in. */
const asRoot = process.getuid?.() === 0 ? ["--no-sandbox"] : [];

async function openView(): Promise<Bun.WebView> {
  const view = new Bun.WebView({
    width: 1280,
    height: 2400,
    backend: {
      type: "chrome",
      path: Bun.which("chromium") ?? "chromium",
      argv: [...asRoot, "--disable-dev-shm-usage", offline],
    },
  });
  await view.navigate("about:blank");
  return view;
}

export async function openPage(): Promise<Page> {
  // A browser that another suite has just closed takes with it what is opened before it has gone.
  const view = await openView().catch(openView);
  const requests: string[] = [];
  const complaints: string[] = [];
  view.addEventListener<{ request: { url: string } }>("Network.requestWillBeSent", ({ data }) => {
    requests.push(data.request.url);
  });
  view.addEventListener<{ url: string }>("Network.webSocketCreated", ({ data }) => {
    requests.push(data.url);
  });
  view.addEventListener<{ entry: { level: string; text: string } }>("Log.entryAdded", ({ data }) => {
    if (data.entry.level === "error" || data.entry.level === "warning") complaints.push(data.entry.text);
  });
  view.addEventListener<{ type: string; args: unknown[] }>("Runtime.consoleAPICalled", ({ data }) => {
    if (data.type === "error" || data.type === "warning") complaints.push(JSON.stringify(data.args));
  });
  view.addEventListener<{ exceptionDetails: unknown }>("Runtime.exceptionThrown", ({ data }) => {
    complaints.push(JSON.stringify(data.exceptionDetails));
  });
  for (const domain of ["Network", "Log", "Runtime"]) await view.cdp(`${domain}.enable`);
  return {
    show: (url) => view.navigate(url),
    evaluate: (expression) => view.evaluate(expression),
    until: (expression) => eventually(expression, () => view.evaluate<boolean>(expression)),
    requests,
    complaints,
    screenshot: () => view.screenshot({ encoding: "buffer" }),
    async [Symbol.asyncDispose]() {
      view.close();
    },
  };
}

/** Ends the browser itself, which all pages share. */
export function closeBrowser(): void {
  Bun.WebView.closeAll();
}
