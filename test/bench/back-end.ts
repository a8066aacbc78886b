/**
 * The least that a back end with a webhook is: takes every event, and says how many there were. And what posts as many to another of its
 * kind without any webhook, where it is told to:
 *
 *   POST /       takes it
 *   GET /        how many were taken
 *   GET /post?to=URL&perSecond=N&ms=N&connections=N     makes requests for so long, and says how many
 */
import { serve } from "bun";
import { pushAtPace } from "../support/pace.ts";

let taken = 0;

const server = serve({
  hostname: "127.0.0.1",
  port: 0,
  development: false,
  idleTimeout: 0,
  async fetch(request) {
    if (request.method === "POST") {
      await request.text();
      taken++;
      return new Response(null, { status: 204 });
    }
    const { pathname, searchParams } = new URL(request.url);
    return new Response(String(pathname === "/post" ? await postAll(searchParams) : taken));
  },
});

process.stdout.write(`${JSON.stringify({ msg: "listening", url: server.url.href })}\n`);

async function postAll(order: URLSearchParams): Promise<number> {
  const to = order.get("to") ?? "";
  const [perSecond = 0, ms = 0, lanes = 0] = ["perSecond", "ms", "connections"].map((name) =>
    Number(order.get(name)),
  );
  return await pushAtPace({
    perSecond,
    ms,
    lanes,
    async push(number) {
      const event = { type: "message.received", data: { message: `${number}` } };
      await (await fetch(to, { method: "POST", body: JSON.stringify(event) })).text();
    },
  });
}
