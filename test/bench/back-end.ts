/**
 * The least that a back end with a webhook is: takes every event, and says how many there were.
 */
import { serve } from "bun";

let taken = 0;

const server = serve({
  hostname: "127.0.0.1",
  port: 0,
  development: false,
  async fetch(request) {
    if (request.method === "GET") return new Response(String(taken));
    await request.text();
    taken++;
    return new Response(null, { status: 204 });
  },
});

process.stdout.write(`${JSON.stringify({ msg: "listening", url: server.url.href })}\n`);
