/**
 * Webhooks of a server that is killed, or stopped, in the middle of it: with --data, nothing that was written down is lost.
 */
import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { untilLogged } from "../support/calls.ts";
import { connect, type TestClient } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { compiledFile, type ServerProcess, startProcess } from "../support/process.ts";
import { openReceiver, type Receiver } from "../support/receiver.ts";

setDefaultTimeout(60_000);

async function start(
  receiver: Receiver,
  settings: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const argv = ["--port=0", "--log-format=json", "--max-receive-rate=10000", `--webhook=${receiver.url}`];
  return await startProcess([compiledFile, ...argv, ...settings], environment);
}

/** What clients had sent when the process ended, by its id, as the log of events has it. */
function readLog(folder: Folder): ReadonlyMap<string, string> {
  using database = new Database(folder.file("push.db-events"), { readonly: true });
  const [log] = database.query<{ epoch: string }, []>("SELECT epoch FROM log").all();
  const rows = database
    .query<{ offset: number; body: string }, []>(
      "SELECT offset, body FROM messages WHERE topic = 'message.received'",
    )
    .all();
  return new Map(rows.map(({ offset, body }) => [`${log?.epoch}-${offset}`, body]));
}

/** Sends many messages, or fewer when it is closed before. */
async function send(client: TestClient): Promise<void> {
  for (let message = 0; message < 60 && client.socket.readyState === WebSocket.OPEN; message++) {
    client.send(String(message));
    await new Promise(setImmediate);
  }
}

/** In which order each session's messages were taken, each once; and in which they were written down. */
function toOrder(messages: readonly string[]): ReadonlyMap<string, string[]> {
  const order = new Map<string, string[]>();
  for (const { data } of messages.map((text) => JSON.parse(text)))
    order.set(data.session, [...(order.get(data.session) ?? []), data.message]);
  return order;
}

describe.each(["SIGKILL", "SIGTERM"] as const)(
  "ended by %s in the middle of it, again and again,",
  (signal) => {
    test("what clients sent and was written down arrives after all, in order, under the same ids", async () => {
      await using folder = await makeFolder();
      await using receiver = await openReceiver();
      let isSlow = true;
      receiver.answer = async () => {
        if (isSlow) await Bun.sleep(5 * Math.random());
        return Math.random() < 0.01 ? "reset" : { status: 204 };
      };
      const settings = [`--data=${folder.file("push.db")}`, "--drain=1s"];
      for (let run = 0; run < 3; run++) {
        await using server = await start(receiver, settings);
        const clients = await Promise.all(Array.from({ length: 40 }, () => connect(server)));
        const sending = clients.map(send);
        const taken = receiver.events.length;
        await eventually("it is in the middle of it", () => receiver.events.length > taken + 300);
        server.signal(signal);
        const status = await server.exited;
        await Promise.all(sending);
        expect(status).toBe(signal === "SIGKILL" ? 137 : 0);
      }
      const written = readLog(folder);
      isSlow = false;

      await using server = await start(receiver, settings);
      const isComplete = () => {
        const arrived = new Set(receiver.taken.map(({ id }) => id));
        return Array.from(written.keys()).every((id) => arrived.has(id));
      };
      await eventually("everything", isComplete, 20_000);

      expect(written.size).toBeGreaterThan(900);
      const own = receiver.events.filter(({ type }) => type === "message.received");
      for (const { id, text } of own) expect(text).toBe(written.get(id) ?? "");
      expect(toOrder(own.map(({ text }) => text))).toEqual(toOrder(Array.from(written.values())));
      expect(server.log.filter(({ level }) => level !== "info" && level !== "warn")).toEqual([]);
    });
  },
);

test("requests that are in flight when the server stops are made again after its restart", async () => {
  await using folder = await makeFolder();
  await using receiver = await openReceiver();
  receiver.answer = () => "hang";
  const settings = [`--data=${folder.file("push.db")}`, "--drain=500ms", "--webhook-events=message.received"];
  await using before = await start(receiver, settings);
  await using client = await connect(before);
  for (let message = 0; message < 10; message++) client.send(String(message));
  await receiver.untilArrived(() => true);
  await before.drain();
  receiver.answer = () => ({ status: 204 });

  await using after = await start(receiver, settings);
  await receiver.untilTaken(10);
  await after.drain();

  expect(Array.from(receiver.messages.values())).toEqual([[..."0123456789"]]);
});

test.each(["HTTP_PROXY", "http_proxy"])("%s is not asked for a webhook on this machine", async (name) => {
  await using receiver = await openReceiver();
  await using proxy = await openReceiver();
  const environment = { [name]: `http://127.0.0.1:${proxy.port}`, no_proxy: "example.com" };
  await using server = await start(receiver, [], environment);
  await using client = await connect(server);

  client.send("hello");
  await receiver.untilArrived(({ type }) => type === "message.received");

  expect(proxy.letters).toEqual([]);
});

test("the log of a server shows nothing of a webhook's secrets", async () => {
  await using receiver = await openReceiver();
  await receiver.end();
  const secret = `whsec_${Buffer.alloc(32, "a").toString("base64")}`;
  const url = receiver.url.replace("://", "://user:password@");
  const command = [compiledFile, "--port=0", "--log-format=json", "--log-level=debug"];
  await using server = await startProcess([
    ...command,
    `--webhook=${url}?key=hidden`,
    `--webhook-secret=${secret}`,
  ]);
  await using client = await connect(server);

  client.send("hello");
  await untilLogged(server, ({ msg }) => msg === "a webhook did not take an event");

  expect(JSON.stringify(server.log)).not.toMatch(/password|hidden|whsec/);
});
