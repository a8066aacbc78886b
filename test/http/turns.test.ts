/**
 * A batch at its limit lets everything else have its turn while its items are checked.
 */
import { expect, test } from "bun:test";
import { batchRoutes } from "../../src/http/batch.ts";
import { openAccess } from "../support/access.ts";
import { batchForms } from "../support/batches.ts";
import { createRig } from "../support/hub.ts";

test.each(batchForms)("10,000 messages as $name are checked in ten turns or more", async ({ toBatch }) => {
  const { hub, metrics, delivered } = createRig({});
  const app = batchRoutes({
    access: openAccess(),
    hub,
    metrics,
    maxMessage: 1024,
    maxBatch: 2 ** 22,
    maxBatchCount: 10_000,
    connections: { areLeaving: false },
  });
  const items = Array.from({ length: 10_000 }, (_, index) => ({ userid: "1", message: `${index}` }));
  const { body, type } = toBatch(items);
  let turns = 0;
  const countTurns = () => {
    turns++;
    if (delivered.length === 0) setImmediate(countTurns);
  };
  // The turns count from where the last of the body is read.
  const stream = new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode(body));
      controller.close();
      setImmediate(countTurns);
    },
  });

  await app.handle(
    new Request("http://127.0.0.1/batch", {
      method: "POST",
      body: stream,
      headers: { "Content-Type": type },
    }),
  );

  expect(turns).toBeGreaterThanOrEqual(10);
  expect(delivered.map((message) => message.body)).toEqual(items.map(({ message }) => message));
});
