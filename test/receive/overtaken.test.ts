/**
 * What a client is told whose replay cannot go on, where a real journal is too quick to be caught at it: on a hub whose journal
 * gives two messages, and then has dropped the rest.
 */
import { expect, test } from "bun:test";
import { HorizonPassed, type Journal } from "../../src/journal.ts";
import { createLogger } from "../../src/logger.ts";
import { openPolls } from "../../src/receive/poll.ts";
import { openEventStreams } from "../../src/receive/sse.ts";
import { createSessionIds } from "../../src/session.ts";
import { openAccess } from "../support/access.ts";
import { createJournal, createRig, endings } from "../support/hub.ts";

const logger = createLogger({ level: "error", format: "json", target: 2 });

function* since(): Generator<readonly { topic: string; body: string; offset: number; time: number }[]> {
  yield [1, 2].map((offset) => ({ topic: "a", body: `${offset}`, offset, time: 0 }));
  throw new HorizonPassed("offset 2 is gone");
}

function openForgetful() {
  const journal = createJournal();
  const forgetful: Journal = Object.assign(Object.create(journal), {
    epoch: journal.epoch,
    head: 5,
    since,
    tail: () => {},
    remembered: () => [],
  });
  const rig = createRig({ journal: forgetful });
  const parts = {
    access: openAccess(),
    metrics: rig.metrics,
    admit: () => ({}),
    hub: rig.hub,
    logger,
    createSessionId: createSessionIds(),
    maxQueued: 1e6,
    ping: 25_000,
  };
  return { ...rig, parts, epoch: journal.epoch };
}

test("a poll is answered with what it has so far, and with the id up to which that is everything", async () => {
  const { parts, epoch, sessions, metrics } = openForgetful();
  const { routes } = openPolls(parts);

  const answer = await routes.handle(new Request(`http://localhost/poll?since=${epoch}-0`));

  // The next one begins after the second, and is told that the rest is gone.
  expect(await answer.json()).toEqual({
    id: `${epoch}-2`,
    resumed: true,
    messages: [
      { id: `${epoch}-1`, data: "1" },
      { id: `${epoch}-2`, data: "2" },
    ],
  });
  expect([sessions.size, (await endings(metrics))["closed"]]).toEqual([0, 1]);
});

test("a stream of events ends after what it has so far", async () => {
  const { parts, epoch, sessions, metrics } = openForgetful();
  const { routes } = openEventStreams(parts);

  const answer = await routes.handle(new Request(`http://localhost/sse?since=${epoch}-0`));

  const text = await answer.text();
  expect(text.slice(text.indexOf("\n\n") + 2)).toBe(
    `id: ${epoch}-1\ndata: 1\n\nid: ${epoch}-2\ndata: 2\n\n` +
      `event: push.close\ndata: {"code":1013,"reason":"what is missing was dropped from the journal meanwhile"}\n\n`,
  );
  expect([sessions.size, (await endings(metrics))["closed"]]).toEqual([0, 1]);
});
