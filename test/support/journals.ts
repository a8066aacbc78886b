/**
 * Real journals, with a hand on what a test wants to decide: when an append is safe, and what comes from elsewhere.
 */
import type { Journal, TailListener } from "../../src/journal.ts";

/** What listens to the journal's tail, from now on: a test can hand it what another node would have appended. */
export function catchTail(journal: Journal): { listener: TailListener } {
  const caught: { listener: TailListener } = { listener: () => {} };
  const tail = journal.tail.bind(journal);
  journal.tail = (listener) => {
    caught.listener = listener;
    tail(listener);
  };
  return caught;
}

/** The journal, but that each `append` is safe only when the test says so, in any order. */
export function holdBack(journal: Journal) {
  const waiting: { release: () => void; refuse: (error: Error) => void }[] = [];
  const append: Journal["append"] = async (drafts) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    waiting.push({ release: resolve, refuse: reject });
    await promise;
    return await journal.append(drafts);
  };
  const held: Journal = {
    epoch: journal.epoch,
    get head() {
      return journal.head;
    },
    get kept() {
      return journal.kept;
    },
    get ageMs() {
      return journal.ageMs;
    },
    get problem() {
      return journal.problem;
    },
    append,
    tail: (listener) => journal.tail(listener),
    since: (offset, topics, present) => journal.since(offset, topics, present),
    offsetBefore: (ageMs) => journal.offsetBefore(ageMs),
    settle: (key, sessions) => journal.settle(key, sessions),
    remembered: (ageMs) => journal.remembered(ageMs),
    close: () => journal.close(),
  };
  return { held, waiting };
}
