/**
 * What waits while a tab fetches what it has missed: bounded, and nothing of it is lost without a trace.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Notice } from "../../src/client/connection.ts";
import { letWait } from "../../src/client/missed.ts";

/** An answer to what a tab has sent: it has no id, and so cannot be fetched. */
const reply: Notice = { type: "message", message: { data: "reply" }, after: "e-0" };
const opened: Notice = { type: "open", session: "s", transport: "websocket", id: "e-0" };

const toMessage = (offset: number): Notice => ({
  type: "message",
  message: { id: `e-${offset}`, data: "" },
  after: `e-${offset - 1}`,
});
const toPosition = (offset: number): Notice => ({ type: "position", id: `e-${offset}` });

const kinds = [toMessage, toMessage, toMessage, toPosition, () => reply, () => opened];

const isMessage = (one: Notice) => one.type === "message" && one !== reply;
const cannotBeFetched = (one: Notice) => one === reply || one === opened;

test("the last message stays, and so does what cannot be fetched, however much there is", () => {
  let overflowed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...kinds), { minLength: 900, maxLength: 3000, size: "max" }),
      (made) => {
        const notices = made.map((make, index) => make(index + 1));
        const held: Notice[] = [];

        for (const notice of notices) letWait(held, notice);

        expect(held.findLast(isMessage)).toBe(notices.findLast(isMessage));
        expect(held.filter(cannotBeFetched)).toEqual(notices.filter(cannotBeFetched));
        expect(held).toEqual(notices.filter((one) => held.includes(one)));
        expect(held.filter((one) => !cannotBeFetched(one)).length).toBeLessThanOrEqual(1000);
        if (held.length < notices.length) overflowed++;
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
  expect(overflowed).toBeGreaterThan(10);
});
