/**
 * Other people's clients over restarts of the compiled file: one that was away gets exactly what it missed, in order, once, or is told
 * that this cannot be proven.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { openRelay } from "../support/relay.ts";
import { push, untilSessions } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { poll, type PollAnswer, pollAll } from "../support/poll.ts";
import { type RunningProgram, start } from "../support/program.ts";
import { everyKind, pushOn, pushRound } from "../support/rounds.ts";
import { type Ending, startService } from "../support/service.ts";
import { mustSkip, python } from "../support/system.ts";

// An EventSource waits for up to four seconds before it comes back, and here it does so several times.
setDefaultTimeout(60_000);

const endings: readonly Ending[] = ["SIGTERM", "SIGKILL"];

// Each of the three takes the server's URL and a query, comes back for as long as it runs, with the last id that it has, and prints
// what it gets in lines that look like answers to a poll: `{"resumed":true,"messages":[{"id":"…","data":"…"}]}`.

const withEventSource = `
  import { EventSource } from "${import.meta.resolve("eventsource")}";
  const [, url, query] = process.argv;
  const print = (line) => console.log(JSON.stringify({ messages: [], ...line }));
  const events = new EventSource(url + "/sse?" + query);
  const take = ({ type, data, lastEventId: id }) =>
    print({ messages: [type === "message" ? { id, data } : { id, event: type, data }] });
  events.onmessage = take;
  events.addEventListener("order", take);
  events.addEventListener("push.welcome", ({ data }) => print({ resumed: JSON.parse(data).resumed }));
  // While it waits to come back, it does not keep the process alive.
  setInterval(() => {}, 60_000);
`;

const withPython = `
import asyncio, json, sys, websockets
def show(**line):
    print(json.dumps({"messages": [], **line}), flush=True)
async def main(url, query):
    since = ""
    while True:
        try:
            async with websockets.connect(url.replace("http", "ws") + "/ws?" + query + since, subprotocols=["push.v1"]) as socket:
                async for text in socket:
                    frame = json.loads(text)
                    since = "&since=" + frame["id"]
                    kind = frame.pop("type")
                    if kind == "welcome":
                        show(resumed=frame.get("resumed"))
                    elif kind == "message":
                        show(messages=[frame])
        except (OSError, EOFError, websockets.WebSocketException):
            pass
        await asyncio.sleep(0.05)
asyncio.run(main(*sys.argv[1:]))
`;

const withCurl = `
since="wait=0"
while :; do
  if answer=$(curl --silent --fail "$1/poll?$2&$since"); then
    id=\${answer#'{"id":"'}
    since="since=\${id%%'"'*}"
    printf '%s\\n' "$answer"
  else
    sleep 0.05
  fi
done
`;

interface Client {
  readonly name: string;
  readonly command: readonly string[];
  readonly isMissing: boolean;
  /** How it is told of this position, on a transport that tells of it while nothing else comes. */
  readonly toPosition?: (id: string) => string;
}

const clients: readonly Client[] = [
  {
    name: "eventsource of npm",
    command: [Bun.which("node") ?? process.execPath, "--input-type=module", "-e", withEventSource],
    isMissing: false,
    toPosition: (id) => `\nid: ${id}\n\n`,
  },
  {
    name: "websockets of Python",
    command: [python, "-c", withPython],
    isMissing: mustSkip("websockets"),
    toPosition: (id) => `{"type":"position","id":"${id}"}`,
  },
  { name: "a shell's loop of curl", command: ["sh", "-c", withCurl, "sh"], isMissing: mustSkip("curl") },
];

/** Runs it as the only session of the server, maybe by way of a relay. */
async function startClient(
  command: readonly string[],
  server: { readonly url: string },
  via = server,
): Promise<RunningProgram> {
  const client = start([...command, via.url, everyKind]);
  await untilSessions(server, 1);
  return client;
}

/** Everything that the client prints until the message with this id is there. */
async function readUntil(client: RunningProgram, lastId: string | undefined) {
  const resumed: boolean[] = [];
  const messages: PollAnswer["messages"][number][] = [];
  while (messages.at(-1)?.id !== lastId) {
    const answer: Omit<PollAnswer, "resumed"> & { readonly resumed?: boolean | null } = JSON.parse(
      await client.line(),
    );
    if (typeof answer.resumed === "boolean") resumed.push(answer.resumed);
    messages.push(...answer.messages);
  }
  return { resumed, messages };
}

describe.concurrent.each(clients)("$name", ({ command, isMissing }) => {
  test.skipIf(isMissing).each(endings)(
    "misses nothing, and gets nothing twice, when the server is restarted again and again by %s",
    async (ending) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      await using client = await startClient(command, service);

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

      const { resumed, messages } = await readUntil(client, expected.at(-1)?.id);
      expect(messages).toEqual(expected);
      expect(resumed.length).toBeGreaterThanOrEqual(2);
      expect(resumed).not.toContain(false);
    },
  );

  test.skipIf(isMissing).each(endings)(
    "gets all that is in the journal, once, when messages keep coming during %s and a start",
    async (ending) => {
      await using folder = await makeFolder();
      await using service = await startService(`--data=${folder.file("messages.db")}`);
      const { id: begin } = await poll(service, { query: "wait=0" });
      await using client = await startClient(command, service);
      await using publisher = pushOn(service);

      await publisher.until(100);
      await service.restart(ending);
      await untilSessions(service, 1);
      await publisher.until(200);
      await publisher.stop();
      const { id: end } = await push(service, "userid=123", "end");

      const { resumed, messages } = await readUntil(client, end);
      const journal = await pollAll(service, everyKind, begin);
      expect(journal.messages.length).toBeGreaterThan(200);
      expect(messages).toEqual(journal.messages);
      expect(resumed).not.toContain(false);
    },
  );

  test.skipIf(isMissing)(
    "is told that nothing is proven by a server that began with nothing, although it counts as far, and goes on from there",
    async () => {
      await using service = await startService();
      await using relay = await openRelay(service);
      await using client = await startClient(command, service, relay);
      const before = await pushRound(service, "before");
      expect((await readUntil(client, before.at(-1)?.id)).messages).toEqual(before);

      relay.cut();
      await service.restart("SIGKILL");
      for (const round of ["missed", "also missed"]) await pushRound(service, round);
      relay.mend();
      await untilSessions(service, 1);
      const after = await pushRound(service, "after");

      const { resumed, messages } = await readUntil(client, after.at(-1)?.id);
      expect(messages).toEqual(after);
      expect(resumed.filter((isProven) => !isProven)).toEqual([false]);
    },
  );

  test.skipIf(isMissing)(
    "comes back to a server that is full until it is not, and misses nothing",
    async () => {
      await using server = await startService("--max-sessions=1");
      await using relay = await openRelay(server);
      await using client = await startClient(command, server, relay);
      const expected = await pushRound(server, "before");

      relay.cut();
      await untilSessions(server, 0);
      {
        await using _ = await connect(server, "userid=456");
        expected.push(...(await pushRound(server, "away")));
        relay.mend();
        await eventually("two refusals", () => countIn(relay.passed, "the limit is 1") >= 2, 20_000);
      }

      const { resumed, messages } = await readUntil(client, expected.at(-1)?.id);
      expect(messages).toEqual(expected);
      expect(resumed).not.toContain(false);
    },
  );
});

describe.concurrent.each(clients.filter(({ toPosition }) => toPosition !== undefined))(
  "$name",
  ({ command, isMissing, toPosition }) => {
    test.skipIf(isMissing)(
      "goes on from the position that it was told, when the journal keeps nothing older",
      async () => {
        await using server = await startService("--retain-count=2", "--ping=500ms");
        await using relay = await openRelay(server);
        await using client = await startClient(command, server, relay);
        for (const message of ["1", "2"]) await push(server, "userid=456", message);
        const { id } = await push(server, "userid=456", "3");
        // It is told again and again: once it is told the third time, it has read the first.
        await eventually("its position", () => countIn(relay.passed, toPosition?.(id) ?? "") >= 3);

        relay.cut();
        await untilSessions(server, 0);
        const away = await push(server, "userid=123", "away");
        relay.mend();

        const { resumed, messages } = await readUntil(client, away.id);
        expect(messages).toEqual([{ id: away.id, data: "away" }]);
        // A busy machine may still miss a ping twice in a row, and then it comes back more than once.
        expect(new Set(resumed)).toEqual(new Set([true]));
      },
    );
  },
);

const countIn = (text: string, part: string) => text.split(part).length - 1;
