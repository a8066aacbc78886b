/**
 * The README's trace of a session that is cut and resumed happens as it is written, line by line.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { connect, type TestClient } from "../support/client.ts";
import { compiledFile, root, type ServerProcess, startProcess } from "../support/process.ts";

const readme = await Bun.file(join(root, "README.md")).text();

test("the trace in the README is what happens", async () => {
  const lines = readTrace();
  expect(lines.length).toBeGreaterThan(10);
  await using play = new Play();
  for (const line of lines) await play.line(line);
});

interface Line {
  readonly who: string;
  readonly what: string;
}

function readTrace(): Line[] {
  const [, trace = ""] = /^```text\n(client {2}[\s\S]*?)^```/m.exec(readme) ?? [];
  return trace
    .trim()
    .split("\n")
    .map((line) => ({ who: line.slice(0, 8).trim(), what: line.slice(8) }));
}

class Play implements AsyncDisposable {
  #server: ServerProcess | undefined;
  #client: TestClient | undefined;
  /** The epochs of the README, and those of this run. */
  readonly #epochs = new Map<string, string>();

  async line({ who, what }: Line): Promise<void> {
    if (what === "(is started anew, without --data)") return await this.#restart();
    if (what === "(loses its connection)") return void this.#client?.socket.terminate();
    if (who === "server") return await this.#expect(JSON.parse(what));
    const [, path = ""] = /^GET (\S+)/.exec(what) ?? [];
    if (who === "push") return await this.#push(path);
    expect([who, what]).toEqual(["client", expect.stringContaining("Sec-WebSocket-Protocol: push.v1")]);
    await this.#connect(path);
  }

  async #start(): Promise<ServerProcess> {
    return (this.#server ??= await startProcess([compiledFile, "--port=0", "--ping=1s"]));
  }

  async #restart(): Promise<void> {
    await this.#server?.drain();
    this.#server = undefined;
  }

  async #push(path: string): Promise<void> {
    const { url } = await this.#start();
    const { ok } = await fetch(url + path);
    expect(ok).toBe(true);
  }

  async #connect(path: string): Promise<void> {
    const [, query = ""] = path.split("?");
    const own = query.replace(
      /since=([0-9a-z]{8})/,
      (_, epoch: string) => `since=${this.#epochs.get(epoch)}`,
    );
    this.#client = await connect(await this.#start(), own, ["push.v1"]);
  }

  async #expect(written: Readonly<Record<string, unknown>>): Promise<void> {
    // Positions come at every ping: only the one that is written has to be the next that is new.
    let frame: Record<string, unknown>;
    do frame = JSON.parse(String(await this.#client?.next()));
    while (frame["type"] === "position" && this.#toWritten(frame, written)["id"] !== written["id"]);
    expect(this.#toWritten(frame, written)).toEqual(written);
  }

  /** With what differs from run to run as the README has it. */
  #toWritten(
    frame: Readonly<Record<string, unknown>>,
    written: Readonly<Record<string, unknown>>,
  ): Record<string, unknown> {
    const [epoch = "", offset] = String(frame["id"]).split("-");
    const [writtenEpoch = ""] = String(written["id"]).split("-");
    if (!this.#epochs.has(writtenEpoch)) this.#epochs.set(writtenEpoch, epoch);
    const id = this.#epochs.get(writtenEpoch) === epoch ? `${writtenEpoch}-${offset}` : frame["id"];
    const { session, idle } = written;
    return { ...frame, id, ...(session !== undefined && { session }), ...(idle !== undefined && { idle }) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }
}
