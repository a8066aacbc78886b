/**
 * What waits while a tab fetches what it has missed: bounded, and nothing of it is lost without a trace.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Notice } from "../../src/client/connection.ts";
import { letWait } from "../../src/client/missed.ts";

/** An answer to what a tab has sent: it has no id, and so cannot be fetched. */
const toReply = (): Notice => ({ type: "message", message: { data: "reply" }, after: "e-0" });
const toOpen = (): Notice => ({ type: "open", session: "s", transport: "websocket", id: "e-0" });

const toMessage = (offset: number): Notice => ({
  type: "message",
  message: { id: `e-${offset}`, data: "" },
  after: `e-${offset - 1}`,
});
const toPosition = (offset: number): Notice => ({ type: "position", id: `e-${offset}` });

/** Mostly what can be fetched, and mostly what cannot. */
const kinds = fc.constantFrom(
  [toMessage, toMessage, toMessage, toPosition, toReply, toOpen],
  [toMessage, toReply, toReply, toReply, toOpen],
);

const cannotBeFetched = (one: Notice) => (one.type === "message" ? !one.message.id : one.type !== "position");
const isMessage = (one: Notice) => one.type === "message" && !cannotBeFetched(one);
const many = { minLength: 900, maxLength: 3000, size: "max" } as const;
const made = kinds.chain((some) => fc.array(fc.constantFrom(...some), many));

test("the last message stays, and so do the newest of what cannot be fetched, however much there is", () => {
  let overflowed = 0;
  fc.assert(
    fc.property(made, (all) => {
      const notices = all.map((make, index) => make(index + 1));
      const held: Notice[] = [];
      let last: Notice | undefined;

      for (const notice of notices) {
        letWait(held, notice);
        if (isMessage(notice)) last = notice;
        expect(held.findLast(isMessage)).toBe(last);
        expect(held.length).toBeLessThanOrEqual(1000);
      }

      const replies = held.filter(cannotBeFetched);
      const newest = notices.filter(cannotBeFetched).slice(-500);
      expect(replies.slice(-newest.length)).toEqual(newest);
      expect(held).toEqual(notices.filter((one) => held.includes(one)));
      if (held.length < notices.length) overflowed++;
    }),
    { numRuns: 50, endOnFailure: true },
  );
  expect(overflowed).toBeGreaterThan(10);
});
