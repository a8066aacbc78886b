/**
 * Hundreds of sessions in a process of their own, so that they can be lost all at once.
 *
 *   await using crowd = startCrowd(server);
 *   await crowd.open([{ name: "1", query: "userid=7" }]);
 *   await crowd.kill();
 *
 * This file is both sides: the test's, and, run by itself, the process's.
 */
import { opcodes, openRawSession, type RawSession, toClosePayload, toFrame } from "./frames.ts";

export interface CrowdMember {
  /** What the test calls this session. */
  readonly name: string;
  readonly query: string;
}

export interface Crowd extends AsyncDisposable {
  /** Resolves when all are open. */
  open(members: readonly CrowdMember[]): Promise<void>;
  /** Ends these sessions in good order: a close frame, and waiting for the answer. */
  close(names: readonly string[]): Promise<void>;
  /** Ends these sessions with a TCP reset. */
  reset(names: readonly string[]): Promise<void>;
  /** What each session has received when all of them have received `last`. */
  receiveUntil(last: string): Promise<Readonly<Record<string, readonly string[]>>>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

type Request =
  | { readonly open: readonly CrowdMember[] }
  | { readonly close: readonly string[] }
  | { readonly reset: readonly string[] }
  | { readonly receiveUntil: string };

type Answer = { readonly result: Record<string, readonly string[]> } | { readonly error: string };

export function startCrowd({ port }: { readonly port: number }): Crowd {
  let pending = Promise.withResolvers<Record<string, readonly string[]>>();
  const child = Bun.spawn([process.execPath, import.meta.path, String(port)], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc(answer: Answer) {
      if ("error" in answer) pending.reject(new Error(answer.error));
      else pending.resolve(answer.result);
    },
  });
  const ask = async (request: Request) => {
    pending = Promise.withResolvers();
    child.send(request);
    return await pending.promise;
  };
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return {
    open: async (open) => void (await ask({ open })),
    close: async (close) => void (await ask({ close })),
    reset: async (reset) => void (await ask({ reset })),
    receiveUntil: async (receiveUntil) => await ask({ receiveUntil }),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** As many handshakes at once as leave room for other crowds in the server's queue of new connections. */
const handshakesAtOnce = 40;

class Member {
  readonly received: string[] = [];
  #change = Promise.withResolvers<void>();

  constructor(readonly session: RawSession) {
    void this.#read();
  }

  async hasReceived(last: string): Promise<void> {
    while (this.received.at(-1) !== last) await this.#change.promise;
  }

  async close(): Promise<void> {
    await this.session.raw.write(toFrame(opcodes.close, toClosePayload(1000)));
    await this.session.raw.ended;
    await this.session[Symbol.asyncDispose]();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { opcode, payload } = await this.session.frame();
        if (opcode === opcodes.text) this.received.push(payload.toString());
        this.#change.resolve();
        this.#change = Promise.withResolvers();
      }
    } catch {
      // The connection has ended, as the test wanted.
    }
  }
}

function serveTest(port: number): void {
  const members = new Map<string, Member>();
  const take = (names: readonly string[]) =>
    names.map((name) => {
      const member = members.get(name);
      if (member === undefined) throw new Error(`no session is called ${name}`);
      members.delete(name);
      return member;
    });

  const obey = async (request: Request): Promise<Record<string, readonly string[]>> => {
    if ("open" in request)
      for (let begin = 0; begin < request.open.length; begin += handshakesAtOnce)
        await Promise.all(
          request.open.slice(begin, begin + handshakesAtOnce).map(async ({ name, query }) => {
            members.set(name, new Member(await openRawSession({ port }, query)));
          }),
        );
    if ("close" in request) await Promise.all(take(request.close).map((member) => member.close()));
    if ("reset" in request) for (const member of take(request.reset)) member.session.raw.reset();
    if (!("receiveUntil" in request)) return {};
    await Promise.all(members.values().map((member) => member.hasReceived(request.receiveUntil)));
    return Object.fromEntries(members.entries().map(([name, { received }]) => [name, received]));
  };

  process.on("message", (request: Request) => {
    obey(request).then(
      (result) => process.send?.({ result } satisfies Answer),
      (error) => process.send?.({ error: String(error) } satisfies Answer),
    );
  });
  process.on("disconnect", () => process.exit());
}

if (import.meta.main) serveTest(Number(process.argv[2]));
