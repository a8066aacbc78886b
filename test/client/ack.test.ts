/**
 * What the server is told of what was handled, where several are at several places.
 */
import { expect, test } from "bun:test";
import { createAck } from "../../src/client/ack.ts";
import { push } from "../support/calls.ts";
import { eventually } from "../support/eventually.ts";
import { openLibrary } from "../support/listening.ts";
import { startServer } from "../support/server.ts";

test("the first is told at once, and of those that follow the latest, in whatever order they come", async () => {
  const told: string[] = [];
  const ack = createAck((id) => told.push(id));

  for (const id of ["e-2", "e-9", "e-10", "e-3"]) ack(id);
  expect(told).toEqual(["e-2"]);
  await eventually("the next", () => told.length > 1);

  expect(told).toEqual(["e-2", "e-10"]);
});

test("none is told twice, nor an earlier one after a later one", async () => {
  const told: string[] = [];
  const ack = createAck((id) => told.push(id));
  for (const id of ["e-7", "e-7", "e-6", "e-8"]) ack(id);
  await eventually("the next", () => told.length > 1);
  for (const id of ["e-8", "e-5", "e-9"]) ack(id);
  await eventually("the one after", () => told.length > 2);

  expect(told).toEqual(["e-7", "e-8", "e-9"]);
});

test("one of a new epoch is the latest, however small it is", async () => {
  const told: string[] = [];
  const ack = createAck((id) => told.push(id));
  for (const id of ["e-2", "e-10", "f-1"]) ack(id);

  await eventually("the next", () => told.length > 1);

  expect(told).toEqual(["e-2", "f-1"]);
});

test("those of a new epoch are told although they are smaller", async () => {
  const told: string[] = [];
  const ack = createAck((id) => told.push(id));
  for (const id of ["e-2", "e-10"]) ack(id);
  await eventually("the next", () => told.length > 1);

  ack("f-1");
  await eventually("the first of the new one", () => told.length > 2);

  expect(told).toEqual(["e-2", "e-10", "f-1"]);
});

test("nothing is told over a connection that is closing, of which a browser would complain", async () => {
  let isClosing = false;
  let late = 0;
  const { WebSocket } = globalThis;
  using stack = new DisposableStack();
  stack.defer(() => (globalThis.WebSocket = WebSocket));
  globalThis.WebSocket = class extends WebSocket {
    override get readyState() {
      return isClosing ? WebSocket.CLOSING : super.readyState;
    }
    override send(data: string) {
      if (isClosing) late++;
      super.send(data);
    }
  };
  await using server = await startServer();
  using page = openLibrary(server, { userid: "123", transports: ["websocket"] });
  await page.until("open");

  isClosing = true;
  await push(server, "userid=123", "hello");
  await page.untilMessages(1);

  expect(late).toBe(0);
});
