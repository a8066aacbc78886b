import { expect, test } from "bun:test";
import { connect } from "../support/client.ts";
import { startServer } from "../support/server.ts";

test("a message reaches the user's component that it is for", async () => {
  await using server = await startServer();
  await using inbox = await connect(server, "userid=123&compid=inbox");

  const answer = await fetch(`${server.url}/push?userid=123&compid=inbox&message=hello`);

  expect(await inbox.next()).toBe("hello");
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ id: expect.stringMatching(/^[0-9a-z]{8}-1$/), sessions: 1 });
});
