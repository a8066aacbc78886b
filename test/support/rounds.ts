/**
 * Messages of every kind for one client, among others that are not for it.
 *
 *   await using stream = await openEventStream(service, { query: everyKind });
 *   const expected = await pushRound(service, "before");
 */
import type { MessageContent } from "../../src/protocol.ts";
import { push, pushToAll, type Target } from "./calls.ts";
import { eventually } from "./eventually.ts";

/** The client that gets all of them. */
export const everyKind = "userid=123&compid=inbox";

/** Pushes a round of them under this name, and gives what the client has to get. */
export async function pushRound(server: Target, name: string): Promise<MessageContent[]> {
  const order = JSON.stringify({ order: name });
  const lines = `${name}\nhas\n\nlines: \u00fc \u{1f600}\n`;
  const all = `${name}, for all`;

  await push(server, "userid=456", `${name}, for another user`);
  const first = await push(server, "userid=123", name);
  const second = await push(server, "userid=123&compid=inbox&event=order", order);
  await push(server, "userid=123&compid=chart", `${name}, for another component`);
  const third = await push(server, "compid=inbox", lines);
  const fourth = await pushToAll(server, all);
  return [
    { id: first.id, data: name },
    { id: second.id, event: "order", data: order },
    { id: third.id, data: lines },
    { id: fourth.id, data: all },
  ];
}

/** Pushes messages one after another, with this pause between them, over restarts and whatever becomes of each, until it is stopped. */
export function pushOn({ url }: Target, pauseMs = 0) {
  const over = new AbortController();
  let answered = 0;
  const publishing = (async () => {
    for (let number = 0; !over.signal.aborted; number++) {
      const answer = await fetch(`${url}/push?userid=123&message=${number}`).catch(() => undefined);
      if (answer?.ok === true) answered++;
      if (pauseMs > 0) await Bun.sleep(pauseMs);
    }
  })();
  const stop = async () => {
    over.abort();
    await publishing;
  };
  return {
    until: (count: number) => eventually(`${count} answers`, () => answered >= count),
    /** So many more. */
    more: (count: number) => {
      const enough = answered + count;
      return eventually(`${enough} answers`, () => answered >= enough);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
