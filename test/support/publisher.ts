/**
 * A publisher that pushes one message after another, as fast as it is answered, on one keep-alive connection: what it was
 * told of each is known afterwards, also when that was nothing.
 */
import { openRaw, type RawConnection } from "./raw.ts";

export interface Pushed {
  readonly message: string;
  /** Of the answer; `undefined` when the connection ended without one. */
  readonly status?: number;
  /** How many sessions it was sent to, by the answer. */
  readonly sessions: number;
}

export interface Publisher {
  readonly server: { readonly port: number };
  /** Stands before each message, so that no two publishers push the same. */
  readonly name: string;
  /** The users that it pushes to in turn: `0` to one less. */
  readonly users: number;
  /** Takes what became of each push. */
  readonly record: (pushed: Pushed) => void;
}

/** Pushes until it is told anything but that the message was taken: what a publisher does that heeds Retry-After. */
export async function publishUntilRefused(publisher: Publisher): Promise<void> {
  await using raw = await openRaw(publisher.server);
  for (const push of pushes(publisher)) {
    const pushed = await send(raw, push);
    publisher.record(pushed);
    if (pushed.status !== 200 && pushed.status !== 202) return;
  }
}

/** Pushes on whatever it is told, also on new connections, until nothing listens there any more. */
export async function publishUntilGone(publisher: Publisher): Promise<void> {
  const rest = pushes(publisher);
  for (;;) {
    await using raw = await openRaw(publisher.server).catch(() => undefined);
    if (raw === undefined) return;
    for (const push of rest) {
      const pushed = await send(raw, push);
      publisher.record(pushed);
      if (pushed.status === undefined) break;
    }
  }
}

interface Push {
  readonly userid: number;
  readonly message: string;
}

/** An iterator that goes on where it was, also after a loop over it has ended. */
function pushes({ name, users }: Publisher): Iterable<Push> {
  let count = 0;
  return {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: { userid: count % users, message: `${name}.${count++}` } }),
    }),
  };
}

async function send(raw: RawConnection, { userid, message }: Push): Promise<Pushed> {
  await raw.write(`GET /push?userid=${userid}&message=${message} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  const answer = await raw.answer().catch(() => undefined);
  if (answer === undefined) return { message, sessions: 0 };
  const { sessions = 0 } = JSON.parse(answer.body);
  return { message, status: answer.status, sessions };
}
