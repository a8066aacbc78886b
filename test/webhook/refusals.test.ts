/**
 * A back end that refuses some events and takes others: who waits for it, and who does not.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { untilLogged } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { type Letter, openReceiver, type Receiver } from "../support/receiver.ts";
import { openRig, type WebhooksRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const connections = 32;
/** Whoever has to wait for one of these does so for longer than a test. */
const endless = { first: 1e6, longestWhileDown: 1e6, longest: 1e6 };
const slow = { first: 300, longestWhileDown: 300, longest: 300 };

const isMessage = ({ type }: Letter) => type === "message.received";

function missMany(rig: WebhooksRig, count: number): void {
  for (let push = 0; push < count; push++) rig.events.record("message.unclaimed", { id: `push-${push}` });
}

/** How many requests there were before the first with such an event. */
async function countBefore(receiver: Receiver, isWanted: (letter: Letter) => boolean): Promise<number> {
  await eventually("it is taken", () => receiver.taken.some(isWanted));
  return receiver.letters.findIndex(isWanted);
}

describe("a status that is about one event", () => {
  for (const status of [302, 400, 401, 404, 409, 410, 413, 422])
    test(`is no outage, however many there are: ${status} for all of a type holds up no message`, async () => {
      await using receiver = await openReceiver();
      receiver.answer = (letter) => ({ status: isMessage(letter) ? 204 : status });
      await using rig = await openRig([receiver.url], { pauses: endless });

      for (let round = 1; round <= 3; round++) {
        missMany(rig, connections + 10);
        await eventually("they are refused", () => rig.count("failed") >= round * connections);
        rig.send("s", String(round));
        await receiver.untilTaken(round);
      }

      expect(receiver.messages.get("s")).toEqual([..."123"]);
      expect(rig.log.map(({ msg }) => msg)).toEqual(["a webhook did not take an event"]);
    });

  for (const status of [408, 425, 429, 500, 503])
    test(`is not ${status}: of that many are an outage`, async () => {
      await using receiver = await openReceiver();
      receiver.answer = () => ({ status });
      await using rig = await openRig([receiver.url], { pauses: endless });

      missMany(rig, 3 * connections);

      await untilLogged(rig, ({ msg }) => msg === "a webhook takes no events");
    });

  test("ends an outage for all others, and the event waits alone for as long as it was asked to", async () => {
    await using receiver = await openReceiver();
    receiver.answer = () => ({ status: 500 });
    await using rig = await openRig([receiver.url], { pauses: slow });
    for (let session = 0; session < 2 * connections; session++) rig.send(`s-${session}`, "hello");
    await untilLogged(rig, ({ msg }) => msg === "a webhook takes no events");
    let refused = "";
    receiver.answer = ({ id }) => {
      refused ||= id;
      return id === refused ? { status: 400, headers: { "Retry-After": "60" } } : { status: 204 };
    };

    await receiver.untilTaken(2 * connections - 1);

    expect(receiver.letters.findLast(({ id }) => id === refused)?.at).toBeLessThan(
      receiver.taken[0]?.at ?? 0,
    );
    await untilLogged(rig, ({ msg }) => msg === "a webhook takes events again");
  });
});

describe("while nothing else is taken", () => {
  test("a message is tried before all events of coming and going", async () => {
    await using receiver = await openReceiver();
    receiver.answer = (letter) => ({ status: isMessage(letter) ? 204 : 500 });
    await using rig = await openRig([receiver.url], { pauses: slow });
    missMany(rig, 4 * connections);
    await untilLogged(rig, ({ msg }) => msg === "a webhook takes no events");

    rig.send("s", "hello");
    missMany(rig, connections);

    expect(await countBefore(receiver, isMessage)).toBeLessThan(3 * connections);
  });

  test("messages that are never taken leave every second turn to the rest", async () => {
    await using receiver = await openReceiver();
    receiver.answer = (letter) => ({ status: isMessage(letter) ? 500 : 204 });
    await using rig = await openRig([receiver.url], { pauses: slow });
    for (let session = 0; session < 4 * connections; session++) rig.send(`s-${session}`, "hello");
    await untilLogged(rig, ({ msg }) => msg === "a webhook takes no events");

    rig.events.record("user.online", { userid: "1" });
    for (let session = 0; session < connections; session++) rig.send(`new-${session}`, "hello");

    expect(await countBefore(receiver, ({ type }) => type === "user.online")).toBeLessThan(3 * connections);
  });
});
