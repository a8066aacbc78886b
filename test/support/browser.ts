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
  until(expression: string, timeoutMs?: number): Promise<void>;
  /** The URL of everything that the page has asked for. */
  readonly requests: readonly string[];
  /** What the browser's console says is wrong: errors, warnings, and what was thrown and not caught. */
  readonly complaints: readonly string[];
  screenshot(): Promise<Uint8Array>;
  /** Shows it on such a screen. */
  emulate(screen: Screen): Promise<void>;
  /** All of it, as long as it is. */
  picture(): Promise<Uint8Array>;
  /** Clicks on an element, once it is there and still. */
  click(selector: string): Promise<void>;
  /** Presses a key, such as `Tab` or `Enter`. */
  press(key: string): Promise<void>;
  /** Writes a text in place of the one in a field. */
  fill(selector: string, text: string): Promise<void>;
  reload(): Promise<void>;
  /** As the browser does it to a page that nobody looks at: nothing in it runs, until it is thawed. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Lets nothing in the page run, without telling it, until it goes on. */
  halt(): Promise<void>;
  goOn(): Promise<void>;
  /** Takes the network away from the page, or gives it back. */
  setOffline(isOffline: boolean): Promise<void>;
  /** Kills the process that the page runs in. What it showed is gone, without a chance to say so. */
  crash(): Promise<void>;
}

export interface Screen {
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
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

/** A browser that another suite has just closed takes with it what is opened before it has gone, and may keep the next from starting. */
async function reopenView(): Promise<Bun.WebView> {
  const found: Bun.WebView[] = [];
  await eventually("a browser", async () => {
    closeBrowser();
    await openView().then(
      (view) => found.push(view),
      () => {},
    );
    return found.length > 0;
  });
  const [view] = found;
  if (view === undefined) throw new Error("the browser has gone again");
  return view;
}

/** One after another, as one that has to close the browser would take away what another has just opened. */
let opening: Promise<unknown> = Promise.resolve();

export async function openPage(): Promise<Page> {
  const opened = opening.then(() => openView().catch(reopenView));
  opening = opened.catch(() => {});
  const view = await opened;
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
  let statement: Promise<unknown> | undefined;
  for (const domain of ["Network", "Log", "Runtime"]) await view.cdp(`${domain}.enable`);
  return {
    show: (url) => view.navigate(url),
    evaluate: (expression) => view.evaluate(expression),
    until: (expression, timeoutMs) =>
      eventually(expression, () => view.evaluate<boolean>(expression), timeoutMs),
    requests,
    complaints,
    screenshot: () => view.screenshot({ encoding: "buffer" }),
    async emulate({ width, height, scheme }) {
      // On a phone, bars to scroll with take no room.
      const size = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
      await view.cdp("Emulation.setDeviceMetricsOverride", size);
      const features = [{ name: "prefers-color-scheme", value: scheme }];
      await view.cdp("Emulation.setEmulatedMedia", { features });
    },
    async picture() {
      await view.evaluate("scrollTo(0, 0)");
      const { cssContentSize } = await view.cdp<{ cssContentSize: object }>("Page.getLayoutMetrics");
      const clip = { ...cssContentSize, scale: 1 };
      const options = { captureBeyondViewport: true, clip };
      const { data } = await view.cdp<{ data: string }>("Page.captureScreenshot", options);
      return Buffer.from(data, "base64");
    },
    async click(selector) {
      const element = `document.querySelector(${JSON.stringify(selector)})`;
      await eventually(`${selector} is there`, () => view.evaluate<boolean>(`${element} !== null`));
      await view.evaluate(`${element}.scrollIntoView({ block: "center" })`);
      await view.click(selector);
    },
    press: (key) => view.press(key),
    async fill(selector, text) {
      // As typing does it, which line breaks would make a submission of.
      await view.evaluate(`(() => {
        const field = document.querySelector(${JSON.stringify(selector)});
        const { set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value");
        set.call(field, ${JSON.stringify(text)});
        field.dispatchEvent(new Event("input", { bubbles: true }));
      })()`);
    },
    reload: () => view.reload(),
    async freeze() {
      await view.cdp("Page.setWebLifecycleState", { state: "frozen" });
    },
    async thaw() {
      await view.cdp("Page.setWebLifecycleState", { state: "active" });
    },
    async halt() {
      const halted = Promise.withResolvers<void>();
      view.addEventListener("Debugger.paused", () => halted.resolve(), { once: true });
      await view.cdp("Debugger.enable");
      await view.cdp("Debugger.pause");
      // It stops at the next statement, which is this one.
      statement = view.evaluate("undefined");
      await halted.promise;
    },
    async goOn() {
      await view.cdp("Debugger.resume");
      await statement;
      await view.cdp("Debugger.disable");
    },
    async setOffline(isOffline) {
      const unlimited = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
      await view.cdp("Network.emulateNetworkConditions", { offline: isOffline, ...unlimited });
    },
    async crash() {
      const crashed = Promise.withResolvers<void>();
      view.addEventListener("Inspector.targetCrashed", () => crashed.resolve());
      await view.cdp("Inspector.enable");
      // It is not answered, as nobody is there any more who could.
      view.cdp("Page.crash").catch(() => {});
      await crashed.promise;
    },
    async [Symbol.asyncDispose]() {
      view.close();
    },
  };
}

/** Ends the browser itself, which all pages share. */
export function closeBrowser(): void {
  Bun.WebView.closeAll();
}
