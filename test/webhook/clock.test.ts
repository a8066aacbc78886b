/**
 * A clock of the system that is set while events wait: for how long an event is tried is not up to it.
 */
import { afterEach, expect, setDefaultTimeout, setSystemTime, test } from "bun:test";
import type { WebhookOutcome } from "../../src/metrics.ts";
import type { Answer } from "../../src/webhook/request.ts";
import { Webhook } from "../../src/webhook/webhook.ts";
import { eventually } from "../support/eventually.ts";

setDefaultTimeout(60_000);
afterEach(() => void setSystemTime());

const day = 86_400_000;
const pauses = { first: 5, longestWhileDown: 50, longest: 100 };

/** A webhook in this very thread, as the clock of another one cannot be set. */
function open(retryMs: number, post: () => Promise<Answer>) {
  const outcomes: WebhookOutcome[] = [];
  const webhook = new Webhook(
    {
      name: "http://back.end/hook",
      retryMs,
      maxBytes: 1e6,
      pauses,
      post,
      logger: { warn() {}, info() {} },
      onReply() {},
      onOutcome: (outcome) => void outcomes.push(outcome),
    },
    0,
  );
  return { webhook, outcomes, [Symbol.dispose]: () => webhook.close() };
}

function offer(webhook: Webhook, offset: number): void {
  const json = `{"type":"user.online","timestamp":"2026-01-31T12:30:01.000Z","data":{"userid":"${offset}"}}`;
  webhook.offer({ id: `a-${offset}`, offset, type: "user.online", json });
}

test("set forward, it gives up nothing", async () => {
  const retryMs = 1500;
  let isBack = false;
  using rig = open(retryMs, async () =>
    isBack ? { isTaken: true } : { isTaken: false, reason: "no", isOfEvent: false },
  );
  const begin = performance.now();
  offer(rig.webhook, 1);

  setSystemTime(Date.now() + day);
  // What has waited for too long is looked for every second.
  await eventually("it was looked at", () => performance.now() - begin > 1200);
  isBack = true;
  await eventually("it is settled", () => rig.webhook.settled === 1);

  expect(rig.outcomes.filter((outcome) => outcome !== "failed")).toEqual(["taken"]);
});

test("set back, it keeps nothing for longer", async () => {
  using rig = open(300, async () => ({ isTaken: false, reason: "no", isOfEvent: false }));
  offer(rig.webhook, 1);

  setSystemTime(Date.now() - day);
  offer(rig.webhook, 2);

  await eventually("both are given up", () => rig.webhook.settled === 2);
  expect(rig.outcomes.filter((outcome) => outcome === "expired")).toHaveLength(2);
});
