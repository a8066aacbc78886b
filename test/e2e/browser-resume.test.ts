/**
 * Pages of a real browser over restarts of the compiled file: one that was away gets exactly what it missed, in order, once, or is told
 * that this cannot be proven.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openRelay } from "../support/relay.ts";
import { closeBrowser, openPage, type Page } from "../support/browser.ts";
import { push, pushToAll, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { poll, type PollAnswer, pollAll } from "../support/poll.ts";
import { root } from "../support/process.ts";
import { everyKind, pushOn, pushRound } from "../support/rounds.ts";
import { type Ending, startService } from "../support/service.ts";
import { mustSkip } from "../support/system.ts";

const isMissing = mustSkip("chromium");
const readme = await Bun.file(join(root, "README.md")).text();

// Chromium takes seconds to start on a busy machine, and an EventSource up to four to come back.
setDefaultTimeout(60_000);

afterAll(closeBrowser);

const endings: readonly Ending[] = ["SIGTERM", "SIGKILL"];

/** The page of the README that listens with an `EventSource`, and goes to this port. */
function toReadmePage({ port }: { readonly port: number }): string {
  const pages = [...readme.matchAll(/^```html\n([\s\S]*?)^```/gm)].map(([, page = ""]) => page);
  return (pages.find((page) => page.includes("new EventSource(")) ?? "").replace(":8888", `:${port}`);
}

/** A page that keeps all that its EventSource got, beside whether it was proven each time that it came back. */
const toEventSourcePage = ({ url }: { readonly url: string }, query = everyKind) => `<script>
const received = [], resumed = [], errors = [];
const events = new EventSource("${url}/sse?${query}");
const take = ({ type, data, lastEventId: id }) =>
  received.push(type === "message" ? { id, data } : { id, event: type, data });
events.onmessage = take;
events.addEventListener("order", take);
events.addEventListener("push.welcome", ({ data }) => resumed.push(JSON.parse(data).resumed ?? null));
events.onerror = () => errors.push(events.readyState);
</script>`;

/** The same of a page with a WebSocket, which has to come back by itself. */
const toWebSocketPage = ({ url }: { readonly url: string }) => `<script>
const received = [], resumed = [];
let since = "";
function open() {
  const socket = new WebSocket("${url.replace("http", "ws")}/ws?${everyKind}" + since, "push.v1");
  socket.onmessage = (event) => {
    const { type, ...frame } = JSON.parse(event.data);
    since = "&since=" + frame.id;
    if (type === "welcome") resumed.push(frame.resumed ?? null);
    if (type === "message") received.push(frame);
  };
  socket.onclose = () => setTimeout(open, 100);
}
open();
</script>`;

async function write(page: string): Promise<Folder & { url: string }> {
  const folder = await makeFolder({ "page.html": page });
  return { ...folder, url: pathToFileURL(folder.file("page.html")).href };
}

/** What the page has, once it has the message with this id. */
async function readUntil(page: Page, id: string | undefined) {
  await page.until(`received.at(-1)?.id === "${id}"`);
  return await page.evaluate<
    Pick<PollAnswer, "messages"> & { readonly resumed: readonly (boolean | null)[] }
  >("({ messages: received, resumed })");
}

describe.concurrent.each([
  { name: "an EventSource", toPage: toEventSourcePage },
  { name: "a push.v1 WebSocket", toPage: toWebSocketPage },
])("a page with $name", ({ toPage }) => {
  test.skipIf(isMissing).each(endings)(
    "misses nothing, and gets nothing twice, when the server is restarted again and again by %s",
    async (ending) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      await using file = await write(toPage(service));
      await using page = await openPage();
      await page.show(file.url);
      await untilSessions(service, 1);

      const expected = await pushRound(service, "before");
      for (const round of ["first", "second"]) {
        await service.restart(ending, async (elsewhere) => {
          expected.push(...(await pushRound(elsewhere, `${round} away`)));
        });
        // It may be back by now, or not.
        expected.push(...(await pushRound(service, `${round} start`)));
        await untilSessions(service, 1);
        expected.push(...(await pushRound(service, `${round} back`)));
      }

      const { messages, resumed } = await readUntil(page, expected.at(-1)?.id);
      expect(messages).toEqual(expected);
      expect(resumed).toEqual([null, true, true]);
    },
  );

  test.skipIf(isMissing).each(endings)(
    "gets all that is in the journal, once, when messages keep coming during %s and a start",
    async (ending) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      const { id: begin } = await poll(service, { query: "wait=0" });
      await using file = await write(toPage(service));
      await using page = await openPage();
      await page.show(file.url);
      await untilSessions(service, 1);
      await using publisher = pushOn(service);

      await publisher.until(100);
      await service.restart(ending);
      await untilSessions(service, 1);
      await publisher.until(200);
      await publisher.stop();
      const { id: end } = await push(service, "userid=123", "end");

      const { messages, resumed } = await readUntil(page, end);
      const journal = await pollAll(service, everyKind, begin);
      expect(journal.messages.length).toBeGreaterThan(200);
      expect(messages).toEqual(journal.messages);
      expect(resumed).toEqual([null, true]);
    },
  );

  test.skipIf(isMissing)(
    "is told that nothing is proven by a server that began with nothing, although it counts as far, and goes on from there",
    async () => {
      await using service = await startService();
      await using relay = await openRelay(service);
      await using file = await write(toPage(relay));
      await using page = await openPage();
      await page.show(file.url);
      await untilSessions(service, 1);
      const before = await pushRound(service, "before");
      await readUntil(page, before.at(-1)?.id);

      relay.cut();
      await service.restart("SIGKILL");
      for (const round of ["missed", "also missed"]) await pushRound(service, round);
      relay.mend();
      await untilSessions(service, 1);
      const after = await pushRound(service, "after");

      const { messages, resumed } = await readUntil(page, after.at(-1)?.id);
      expect(messages).toEqual([...before, ...after]);
      expect(resumed).toEqual([null, false]);
    },
  );
});

describe.concurrent("an EventSource", () => {
  test.skipIf(isMissing)("gets a text as one, with each of its line breaks as one", async () => {
    await using service = await startService();
    await using file = await write(toEventSourcePage(service));
    await using page = await openPage();
    await page.show(file.url);
    await untilSessions(service, 1);

    const { id } = await push(service, "userid=123", "a\nb\r\nc\rd\n\n: e\ndata: f\n");

    const { messages } = await readUntil(page, id);
    expect(messages).toEqual([{ id, data: "a\nb\nc\nd\n\n: e\ndata: f\n" }]);
    expect(page.complaints).toEqual([]);
  });

  test.skipIf(isMissing)(
    "begins where its URL says, and comes back to where it was and not to there",
    async () => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      const { id: since } = await pushToAll(service, "had before it was loaded");
      const expected = await pushRound(service, "missed");
      await using file = await write(toEventSourcePage(service, `${everyKind}&since=${since}`));
      await using page = await openPage();
      await page.show(file.url);
      await readUntil(page, expected.at(-1)?.id);

      await service.restart("SIGTERM", async (elsewhere) => {
        expected.push(...(await pushRound(elsewhere, "away")));
      });

      const { messages, resumed } = await readUntil(page, expected.at(-1)?.id);
      expect(messages).toEqual(expected);
      expect(resumed).toEqual([true, true]);
    },
  );

  test.skipIf(isMissing)(
    "comes back to a server that is full until it is not, and misses nothing",
    async () => {
      await using server = await startService("--max-sessions=1");
      await using relay = await openRelay(server);
      await using file = await write(toEventSourcePage(relay));
      await using page = await openPage();
      await page.show(file.url);
      await untilSessions(server, 1);
      const expected = await pushRound(server, "before");

      relay.cut();
      await untilSessions(server, 0);
      {
        await using _ = await connect(server, "userid=456");
        expected.push(...(await pushRound(server, "away")));
        relay.mend();
        const countRefusals = () => relay.passed.split("the limit is 1").length - 1;
        await eventually("two refusals", () => countRefusals() >= 2, 20_000);
      }

      const { messages, resumed } = await readUntil(page, expected.at(-1)?.id);
      expect(messages).toEqual(expected);
      expect(resumed).toEqual([null, true]);
      // EventSource.CONNECTING: never CLOSED, which is for good.
      expect(new Set(await page.evaluate<number[]>("errors"))).toEqual(new Set([0]));
    },
  );

  test.skipIf(isMissing)(
    "goes on from the position that it was told, when the journal keeps nothing older",
    async () => {
      await using server = await startService("--retain-count=2", "--ping=100ms");
      await using relay = await openRelay(server);
      await using file = await write(toEventSourcePage(relay));
      await using page = await openPage();
      await page.show(file.url);
      await untilSessions(server, 1);
      for (const message of ["1", "2"]) await push(server, "userid=456", message);
      const { id } = await push(server, "userid=456", "3");
      // It is told again and again: what was told two seconds ago it has read.
      await eventually("its position", () => relay.passed.split(`\nid: ${id}\n\n`).length > 20);

      relay.cut();
      await untilSessions(server, 0);
      const away = await push(server, "userid=123", "away");
      relay.mend();

      const { messages, resumed } = await readUntil(page, away.id);
      expect(messages).toEqual([{ id: away.id, data: "away" }]);
      expect(resumed.slice(0, 2)).toEqual([null, true]);
      expect(resumed).not.toContain(false);
    },
  );
});

describe.concurrent("the page of the README", () => {
  test.skipIf(isMissing)("misses nothing over a restart", async () => {
    await using folder = await makeFolder();
    await using service = await startService(`--data=${folder.file("messages.db")}`);
    await using file = await write(toReadmePage(service));
    await using page = await openPage();
    await page.show(file.url);
    await untilSessions(service, 1);

    await push(service, "userid=123", "before;");
    await service.restart("SIGTERM", (elsewhere) => push(elsewhere, "userid=123", "away;"));
    await untilSessions(service, 1);
    await push(service, "userid=123", "after;");

    await page.until(`document.body.textContent === "before;away;after;"`);
  });

  test.skipIf(isMissing)("is loaded anew when what it missed cannot be proven", async () => {
    await using service = await startService("--log-level=debug");
    await using file = await write(toReadmePage(service));
    await using page = await openPage();
    await page.show(file.url);
    await untilSessions(service, 1);
    await push(service, "userid=123", "before");
    await page.until(`document.body.textContent === "before"`);

    await service.restart("SIGTERM");
    const countOpened = () => service.log.filter(({ msg }) => msg === "session opened").length;
    await eventually("the page that came back, and the one loaded anew", () => countOpened() === 2);
    await untilSessions(service, 1);
    await push(service, "userid=123", "after");

    await page.until(`document.body.textContent === "after"`);
  });
});
