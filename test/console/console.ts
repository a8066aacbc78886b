/**
 * The console in a real browser, from the compiled file.
 *
 *   await using opened = await openConsole({ settings: { "api-key": apiKey } });
 *
 * Whatever a test is of, a page that has errors in its console, breaks its own policy or asks anybody but its server for anything is a
 * defect: so its end fails.
 */
import { openPage, type Page, type Screen } from "../support/browser.ts";
import { connect } from "../support/client.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";

export interface OpenedConsole extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly page: Page;
}

export interface ConsoleOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly screen?: Screen;
  /** What the browser complains of by itself, as of answers that are refusals, where the test brings them about. */
  readonly mayComplain?: RegExp;
}

export const desktop = { width: 1440, height: 900 } as const;
export const phone = { width: 390, height: 844 } as const;
/** Also what WCAG has a page fit into, which is 1280 px at 400 %. */
export const smallest = { width: 320, height: 640 } as const;

/** What Chromium says of each answer that is an error. */
export const refusals = /^Failed to load resource: the server responded with a status of 4\d\d/;

export async function startServer(
  settings: Readonly<Record<string, string>> = {},
  port = 0,
): Promise<ServerProcess> {
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  return await startProcess([compiledFile, `--port=${port}`, "--log-format=json", ...flags]);
}

/** The console of a new server, as soon as it shows something. */
export async function openConsole({
  settings = {},
  screen = { ...desktop, scheme: "light" },
  mayComplain = /^$/,
}: ConsoleOptions = {}): Promise<OpenedConsole> {
  const stack = new AsyncDisposableStack();
  try {
    const server = stack.use(await startServer(settings));
    const page = stack.use(await openPage());
    stack.defer(() => requireQuiet(page, server, mayComplain));
    await page.emulate(screen);
    await page.show(`${server.apiUrl}/`);
    await page.until(`document.querySelector("#userid, #key") !== null`);
    return { server, page, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function requireQuiet({ complaints, requests }: Page, server: ServerProcess, mayComplain: RegExp): void {
  const own = [server.url, server.apiUrl].flatMap((url) => [url, url.replace("http", "ws")]);
  const foreign = requests.filter(
    (url) => !own.some((origin) => url.startsWith(`${origin}/`)) && !/^(data|about):/.test(url),
  );
  const defects = [...complaints.filter((text) => !mayComplain.test(text)), ...foreign];
  if (defects.length > 0) throw new Error(`the page has defects: ${defects.join("\n")}`);
}

/** Connects with each of these queries. */
export async function connectAll(
  server: { readonly url: string },
  queries: readonly string[],
): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  for (const query of queries) stack.use(await connect(server, query));
  return stack;
}

/** Chooses in a field that has a list. */
export async function choose({ evaluate }: Page, selector: string, value: string): Promise<void> {
  await evaluate(`(() => {
    const list = document.querySelector(${JSON.stringify(selector)});
    list.value = ${JSON.stringify(value)};
    list.dispatchEvent(new Event("change", { bubbles: true }));
  })()`);
}

/** The text of an element, empty where it is not there. */
export async function textOf({ evaluate }: Page, selector: string): Promise<string> {
  return await evaluate(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`);
}

/** Waits until this is in an element. */
export async function untilText({ until }: Page, selector: string, text: string): Promise<void> {
  await until(
    `document.querySelector(${JSON.stringify(selector)})?.textContent.includes(${JSON.stringify(text)}) === true`,
  );
}

/** Notes as `said` in the page what is set anew into a live region, which is when those who listen to the page hear it. */
export async function noteSaid({ evaluate }: Page, selector: string): Promise<void> {
  await evaluate(`void (globalThis.said = [], new MutationObserver((changes) =>
    changes.flatMap(({ addedNodes }) => Array.from(addedNodes)).forEach(({ textContent }) => said.push(textContent)))
    .observe(document.querySelector(${JSON.stringify(selector)}), { childList: true, subtree: true }))`);
}

/** Makes the page a session of who is in its fields. */
export async function connectPage(page: Page): Promise<void> {
  await page.click("#connect");
  await untilText(page, "#connection", "Connected");
}

/** Pushes what is in the fields. */
export async function pushFromPage(page: Page): Promise<void> {
  await page.click("#push");
  await page.until(`document.querySelector("#outcome").textContent !== ""`);
}

/** The newest message that the page has got, once it is this. */
export async function untilReceived(page: Page, text: string): Promise<void> {
  await page.until(`document.querySelector("#received .text")?.textContent === ${JSON.stringify(text)}`);
}
