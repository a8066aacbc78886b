/**
 * `server-push push`: pushes one message to a running server.
 */
import {
  addressOptions,
  call,
  describeFailure,
  keyRule,
  parse,
  readKey,
  readProblem,
  toCallUrl,
  urlRule,
} from "./client.ts";
import { fail, print } from "./output.ts";

const help = `Push a message to a running server.

Usage: server-push push [--userid ID] [--compid ID] [OPTIONS] [MESSAGE]
       server-push push --all [OPTIONS] [MESSAGE]

  --userid ID     The user
  --compid ID     The component
  --all           Everyone, in place of a user or component
  --event NAME    The name that a client can listen for
  --key KEY       What it tells the state of: it replaces what was pushed before with the same address and key, for
                  everybody who has not had that yet
  --ttl SECONDS   How long somebody who comes later still gets it; 0: only who is connected
  --idempotency-key KEY
                  Trying again with the same key within five minutes pushes nothing, and prints the first answer
  --binary        Push bytes, as a binary frame
  --api-key KEY   The server's API key, where it has one; better from the environment: SERVER_PUSH_API_KEY
  --url URL       The server (http://127.0.0.1:8888)

Without MESSAGE, or with -, the message is what standard input holds, byte for byte.
Prints the server's answer. Exit status: 0 taken, 1 refused or not reached, 2 wrong arguments.
`;

export async function push(argv: readonly string[]): Promise<number> {
  const parsed = parse(argv, {
    ...addressOptions,
    all: { type: "boolean", default: false },
    event: { type: "string" },
    key: { type: "string" },
    ttl: { type: "string" },
    "idempotency-key": { type: "string" },
    "api-key": { type: "string" },
    binary: { type: "boolean", default: false },
  });
  if (typeof parsed === "string") return fail(2, parsed);
  const { values, positionals } = parsed;
  if (values.help) return await print(help);
  const { userid, compid, event, key, ttl, all, "idempotency-key": idempotencyKey } = values;
  const addressed = userid !== undefined || compid !== undefined;
  if (all === addressed) return fail(2, "expected either --all, or --userid or --compid or both");
  if (positionals.length > 1)
    return fail(2, `expected one MESSAGE, found ${positionals.length}: put it in quotes`);
  // A header could not carry it; what the server wants of it besides, the server says.
  if (idempotencyKey !== undefined && !/^[\x20-\x7e]*$/.test(idempotencyKey))
    return fail(2, "--idempotency-key: expected characters of printable ASCII");
  const authorization = readKey(values["api-key"]);
  if (authorization === undefined) return fail(2, keyRule);
  const url = toCallUrl(values.url, all ? "/pushtoall" : "/push", { userid, compid, event, key, ttl });
  if (url === undefined) return fail(2, urlRule);
  const [message = "-"] = positionals;
  if (message === "-" && process.stdin.isTTY)
    return fail(2, "expected a MESSAGE, as an argument or on standard input");
  const body = message === "-" ? await Bun.stdin.bytes() : message;
  const headers = {
    "Content-Type": values.binary ? "application/octet-stream" : "text/plain; charset=utf-8",
    ...authorization,
    ...(idempotencyKey !== undefined && { "Idempotency-Key": idempotencyKey }),
  };
  try {
    const response = await call(url, { method: "POST", body, headers });
    if (!response.ok) return fail(1, await readProblem(response));
    return await print(`${await response.text()}\n`);
  } catch (error) {
    return fail(1, describeFailure(url, error));
  }
}
