/**
 * What publishers, clients and operators do, in any order and at once: each command is one such thing, and after each everybody has
 * what the model says.
 */
import fc from "fast-check";
import { readable, type Readable } from "../support/reader.ts";
import { type Beginning, beginnings, clientCount, type Draft, Rig } from "./rig.ts";

type Command = fc.AsyncCommand<Rig, Rig>;

/** The clients' own addresses, and some that nobody has. */
const address = fc.constantFrom(
  { userid: "1", compid: "a" },
  { userid: "1" },
  { compid: "a" },
  { userid: "1:1", compid: "b" },
  { userid: "1:1" },
  { userid: "1", compid: "1b" },
  {},
);

const anyDraft: fc.Arbitrary<Draft> = fc.record(
  {
    address,
    kind: fc.oneof(
      { weight: 8, arbitrary: fc.constant("text" as const) },
      { weight: 3, arbitrary: fc.constantFrom("lines" as const, "bytes" as const, "long" as const) },
    ),
    form: fc.constantFrom("get" as const, "post" as const),
    isTwice: fc.oneof(
      { weight: 7, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    event: fc.constantFrom("price", "é"),
    key: fc.constantFrom("k", "l"),
    ttl: fc.constantFrom(0, 1, 3),
  },
  { requiredKeys: ["address", "kind", "form", "isTwice"] },
);

/** What a client does while others push: it goes if it is there, and comes back over this. */
interface Move {
  readonly client: number;
  readonly transport: Readable;
}

const anyClient = fc.nat({ max: clientCount - 1 });
const anyTransport = fc.constantFrom(...readable);
const move: fc.Arbitrary<Move> = fc.record({ client: anyClient, transport: anyTransport });

class Push implements Command {
  constructor(readonly drafts: readonly Draft[]) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    for (const one of this.drafts) await rig.push(one);
    await rig.settle();
  }
  toString = () => `push ${JSON.stringify(this.drafts)}`;
}

class PushBatch implements Command {
  constructor(readonly drafts: readonly Draft[]) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    await rig.pushBatch(this.drafts);
    await rig.settle();
  }
  toString = () => `push a batch of ${this.drafts.length}: ${JSON.stringify(this.drafts.slice(0, 10))}`;
}

/** More than a page of a replay. */
class PushMany implements Command {
  constructor(readonly draft: Draft) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    await rig.pushBatch(Array.from({ length: 300 }, () => ({ ...this.draft, kind: "text" as const })));
    await rig.settle();
  }
  toString = () => `push 300 like ${JSON.stringify(this.draft)}`;
}

class Connect implements Command {
  constructor(
    readonly client: number,
    readonly transport: Readable,
    readonly beginning: Beginning,
  ) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    rig.connect(this.client, this.transport, this.beginning);
    await rig.settle();
  }
  toString = () => `client ${this.client} connects over ${this.transport} from ${this.beginning}`;
}

class Drop implements Command {
  constructor(
    readonly client: number,
    readonly how: "reset" | "leave",
  ) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    rig.drop(this.client, this.how);
    await rig.settle();
  }
  toString = () => `client ${this.client} goes: ${this.how}`;
}

/** Messages leave and clients move at one moment. */
class Meanwhile implements Command {
  constructor(
    readonly drafts: readonly Draft[],
    readonly batch: readonly Draft[],
    readonly moves: readonly Move[],
  ) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    const pushed = pushAll(rig, this);
    for (const one of this.moves) rig.connect(one.client, one.transport);
    await pushed;
    await rig.settle();
  }
  toString = () => `at once ${JSON.stringify(this)}`;
}

class LetTimePass implements Command {
  constructor(readonly ms: number) {}
  check = (rig: Readonly<Rig>) => rig.clock !== undefined;
  async run(_: Rig, rig: Rig): Promise<void> {
    rig.clock?.advance(this.ms);
    await rig.settle();
  }
  toString = () => `${this.ms} ms pass`;
}

/** Nothing happens until positions come. */
class Rest implements Command {
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    await rig.rest();
    await rig.settle();
  }
  toString = () => "nothing happens for a while";
}

class Restart implements Command {
  constructor(
    readonly how: "drain" | "crash",
    readonly drafts: readonly Draft[],
    readonly batch: readonly Draft[],
    readonly transports: readonly Readable[],
  ) {}
  check = () => true;
  async run(_: Rig, rig: Rig): Promise<void> {
    await rig.restart(this.how, () => pushAll(rig, this), this.transports);
    await rig.settle();
  }
  toString = () => `restart ${JSON.stringify(this)}`;
}

/** A publisher that pushes one after another, and two that push at once with it. */
async function pushAll(
  rig: Rig,
  { drafts, batch }: { drafts: readonly Draft[]; batch: readonly Draft[] },
): Promise<void> {
  const inTurn = async (own: readonly Draft[]) => {
    for (const one of own) await rig.push(one);
  };
  const half = Math.ceil(drafts.length / 2);
  await Promise.all([
    inTurn(drafts.slice(0, half)),
    inTurn(drafts.slice(half)),
    batch.length > 0 && rig.pushBatch(batch),
  ]);
}

const several = fc.array(anyDraft, { minLength: 1, maxLength: 6 });
const transports = fc.array(anyTransport, { minLength: 1, maxLength: clientCount });

export interface CommandsOptions {
  /** How many at the most. */
  readonly most: number;
  /** How often the server ends, of about 150. */
  readonly restarts: number;
  /** Of a failure, as fast-check gives it. */
  readonly replayPath?: string | undefined;
}

/** Anything that can happen; what takes long happens seldom. */
export function commands({ most, restarts, replayPath }: CommandsOptions): fc.Arbitrary<Iterable<Command>> {
  const command: fc.Arbitrary<Command> = fc.oneof(
    { weight: 32, arbitrary: several.map((drafts) => new Push(drafts)) },
    { weight: 12, arbitrary: several.map((drafts) => new PushBatch(drafts)) },
    { weight: 4, arbitrary: anyDraft.map((one) => new PushMany(one)) },
    {
      weight: 32,
      arbitrary: fc
        .tuple(
          anyClient,
          anyTransport,
          fc.oneof({ weight: 5, arbitrary: fc.constant("last" as const) }, fc.constantFrom(...beginnings)),
        )
        .map((all) => new Connect(...all)),
    },
    {
      weight: 16,
      arbitrary: fc
        .tuple(anyClient, fc.constantFrom("reset" as const, "leave" as const))
        .map((all) => new Drop(...all)),
    },
    {
      weight: 40,
      arbitrary: fc
        .tuple(
          fc.array(anyDraft, { maxLength: 10 }),
          fc.array(anyDraft, { maxLength: 5 }),
          fc.array(move, { minLength: 1, maxLength: 6 }),
        )
        .map((all) => new Meanwhile(...all)),
    },
    { weight: 12, arbitrary: fc.constantFrom(400, 1500, 4000).map((ms) => new LetTimePass(ms)) },
    { weight: 1, arbitrary: fc.constant(null).map(() => new Rest()) },
    {
      weight: restarts,
      arbitrary: fc
        .tuple(
          fc.constantFrom("drain" as const, "crash" as const),
          fc.array(anyDraft, { maxLength: 8 }),
          fc.array(anyDraft, { maxLength: 4 }),
          transports,
        )
        .map((all) => new Restart(...all)),
    },
  );
  return fc.commands([command], {
    maxCommands: most,
    size: "max",
    ...(replayPath !== undefined && { replayPath }),
  });
}
