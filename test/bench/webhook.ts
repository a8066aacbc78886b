/**
 * The case of the webhook: clients send as much as a back end can be told of, while something is pushed to others.
 */
import { pushAtPace } from "../support/pace.ts";
import type { ServerProcess } from "../support/process.ts";
import { Audience, measureCost, toAddress, within, withPublishers } from "./load.ts";
import type { Programs } from "./programs.ts";
import type { Case, Contender, Target } from "./rounds.ts";
import { type Publisher, toMessage, WebSocketSession } from "./sockets.ts";
import { audienceSize, type Extent, shareFigures, toSample } from "./stage.ts";

/** How many sessions send: each less often than `--max-receive-rate` lets it. */
const senders = 500;
const sentPerSecond = 10_000;
const pushedPerSecond = 1000;
const pushLanes = 16;
/** As many as a webhook has. */
const webhookConnections = 32;
const pollMs = 20;

/** Who posts to the back end meanwhile. */
type Poster = "the webhook" | "nobody" | "another process";

/**
 * Twice: over a server whose clients send as much, but to nobody; and over the same while another process makes the same requests, which is
 * what is left when the machine's own part is taken out. On two cores every thread is in the way of all others.
 *
 * @param rate of requests; @param p99 of what is pushed meanwhile, over the baseline's
 */
export function received(
  extent: Extent,
  targets: { readonly rate: Target; readonly p99: Target },
): readonly Case[] {
  const baselines = { nobody: "no webhook", "another process": "no webhook, but the same requests" } as const;
  return (["nobody", "another process"] as const).map((poster) => ({
    title: `--webhook: ${sentPerSecond} client messages a second, and ${pushedPerSecond} pushes a second to others`,
    rounds: extent.webhookRounds,
    figures: [
      { value: "rate", title: "messages the back end has", unit: "1/s", target: targets.rate },
      { value: "p50", title: "latency of a push p50", unit: "ms" },
      { value: "p99", title: "latency of a push p99", unit: "ms", target: targets.p99 },
      ...shareFigures,
    ],
    ours: (programs) => open(programs, extent, "the webhook"),
    baseline: { name: baselines[poster], open: (programs) => open(programs, extent, poster) },
  }));
}

async function open(programs: Programs, extent: Extent, poster: Poster): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const hasWebhook = poster === "the webhook";
  const backEnd = stack.use(await programs.start("backEnd", "anywhere"));
  const other =
    poster === "another process" ? stack.use(await programs.start("backEnd", "anywhere")) : undefined;
  const flags = hasWebhook ? [`--webhook=${backEnd.url}`, "--webhook-events=message.received"] : [];
  const server = stack.use(await programs.start("memory", "anywhere", flags));
  const audience = stack.use(new Audience());
  await audience.open(server, audienceSize);
  const sending: WebSocketSession[] = [];
  stack.defer(() => {
    for (const session of sending) session.close();
  });
  while (sending.length < senders) {
    const session = new WebSocketSession(audience);
    await session.open(server.port, "userid=sender", []);
    sending.push(session);
  }
  const stage = stack.move();
  const sendAll = () =>
    pushAtPace({
      perSecond: sentPerSecond,
      ms: extent.webhookMs,
      lanes: 1,
      async push(number) {
        sending[number % senders]?.send(toMessage(number));
      },
    });
  const pushAll = (publishers: readonly Publisher[]) => {
    const free = [...publishers];
    return pushAtPace({
      perSecond: pushedPerSecond,
      ms: extent.webhookMs,
      lanes: publishers.length,
      async push(number) {
        const publisher = free.pop();
        if (publisher === undefined) throw new Error("there are fewer connections than lanes");
        await publisher.get(`/push?${toAddress(number % audienceSize)}&message=${audience.nextMessage()}`);
        free.push(publisher);
      },
    });
  };
  return {
    async sample() {
      audience.expectNone();
      const takenBefore = await readTaken(backEnd);
      let sent = 0;
      const cost = await measureCost(server, async () => {
        const posting = other && postAll(other, backEnd, extent.webhookMs);
        [sent] = await Promise.all([sendAll(), withPublishers(server, pushLanes, pushAll), posting]);
        await audience.untilArrived(audience.messages);
        if (hasWebhook) await within("the webhook", untilTaken(backEnd, takenBefore + sent));
      });
      return toSample(cost, sent, audience);
    },
    [Symbol.asyncDispose]: () => stage.disposeAsync(),
  };
}

async function untilTaken(backEnd: ServerProcess, count: number): Promise<void> {
  for (;;) {
    const taken = await readTaken(backEnd);
    if (taken > count) throw new Error(`the back end has ${taken} messages, expected ${count}`);
    if (taken === count) return;
    await Bun.sleep(pollMs);
  }
}

/** @throws Error when it could not keep up: the machine would be less busy than it is said to be */
async function postAll(other: ServerProcess, { url: to }: ServerProcess, ms: number): Promise<void> {
  const order = { to, perSecond: sentPerSecond, ms, connections: webhookConnections };
  const query = Object.entries(order).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  const posted = Number(await (await fetch(`${other.url}post?${query.join("&")}`)).text());
  const expected = (sentPerSecond * ms) / 1000;
  if (posted < expected) throw new Error(`the other process posted ${posted}, expected ${expected}`);
}

async function readTaken({ url }: ServerProcess): Promise<number> {
  return Number(await (await fetch(url)).text());
}
