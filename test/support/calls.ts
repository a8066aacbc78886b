/**
 * Calls of the API, and their answers as the tests look at them.
 */
import { expect } from "bun:test";
import { connect, type TestClient } from "./client.ts";
import { eventually } from "./eventually.ts";
import type { LogLine, TestServer } from "./server.ts";
import { readMetrics } from "./server.ts";

/** Anything that says where it listens. */
export interface Target {
  readonly url: string;
}

export interface Receipt {
  readonly id: string;
  readonly sessions: number;
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  /** Of a batch: the message that is wrong, counted from 0. */
  readonly item?: number;
}

/** Pushes this text, and gives what the publisher is told. */
export async function push(server: Target, query: string, message: string): Promise<Receipt> {
  return await toReceipt(await fetch(`${server.url}/push?${query}`, { method: "POST", body: message }));
}

export async function pushToAll(server: Target, message: string): Promise<Receipt> {
  return await toReceipt(await fetch(`${server.url}/pushtoall`, { method: "POST", body: message }));
}

/** The receipt in an answer; fails when the push was refused. */
export async function toReceipt(response: Response): Promise<Receipt> {
  const text = await response.text();
  if (!response.ok) throw new Error(`refused with ${response.status}: ${text}`);
  return JSON.parse(text);
}

export async function toProblem(response: Response): Promise<Problem> {
  return JSON.parse(await response.text());
}

/** How many messages the journal had taken with this one. */
export function toOffset({ id }: Receipt): number {
  return Number(id.slice(id.indexOf("-") + 1));
}

/** Everything that `client` gets until `last`, which is not among it. */
export async function receiveUntil(client: TestClient, last: string): Promise<(string | Uint8Array)[]> {
  const received: (string | Uint8Array)[] = [];
  for (let data = await client.next(); data !== last; data = await client.next()) received.push(data);
  return received;
}

/** Waits until so many sessions are open. */
export async function untilSessions(server: Target, count: number, timeoutMs?: number): Promise<void> {
  await eventually(
    `${count} open sessions`,
    async () => (await readMetrics(server)).get("server_push_sessions") === count,
    timeoutMs,
  );
}

/** Waits for a line of the log, which a process writes a little later than it acts. */
export async function untilLogged(
  server: Pick<TestServer, "log">,
  isWanted: (line: LogLine) => boolean,
): Promise<LogLine> {
  await eventually("a line in the log", () => server.log.some(isWanted));
  const line = server.log.find(isWanted);
  if (line === undefined) throw new Error("the line has gone from the log");
  return line;
}

/** Proves that the server still does what it is for: a new session gets what is pushed to it, and only that session. */
export async function expectServing(server: Target): Promise<void> {
  const userid = crypto.randomUUID();
  await using client = await connect(server, `userid=${userid}&compid=probe`);
  const { sessions } = await push(server, `userid=${userid}&compid=probe`, "still here");
  expect(await client.next()).toBe("still here");
  expect(sessions).toBe(1);
}

/** Ends sessions, as the back end. */
export async function disconnect({ url }: Target, query: string): Promise<void> {
  const answer = await fetch(`${url}/sessions?${query}`, { method: "DELETE" });
  if (!answer.ok) throw new Error(await answer.text());
}
