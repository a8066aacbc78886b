import { expect, test } from "bun:test";
import type { EventType } from "../../src/event-types.ts";
import { Events, type LoggedEvent } from "../../src/events.ts";
import { EventReader, EventReaders, type Format } from "../../src/http/event-reader.ts";
import { openMemoryJournal } from "../../src/journal/memory.ts";
import { eventually } from "../support/eventually.ts";

const types: readonly EventType[] = ["user.online", "user.offline"];

const plain: Format = {
  welcome: () => "welcome\n",
  event: ({ json }) => `${JSON.parse(json).data.userid}\n`,
  position: () => "position\n",
};

function createRig() {
  const log = openMemoryJournal({ retention: { time: 60_000, bytes: 1e9, count: 1000 } });
  const events = new Events({ log, onLost: () => {} });
  const readers = new EventReaders();
  const errors: string[] = [];
  const logger = { error: (event: string) => void errors.push(event) };
  const open = (format: Partial<Format> = {}, ping = 1_000_000) =>
    new EventReader(
      { events, types, format: { ...plain, ...format }, ping, logger, readers },
      { offset: 0 },
    ).stream.getReader();
  return { events, readers, errors, open };
}

type Stream = ReturnType<ReturnType<typeof createRig>["open"]>;

/** Everything up to the end of the stream. */
async function readToEnd(stream: Stream): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await stream.read();
    if (done) return text;
    text += decoder.decode(value);
  }
}

test("what cannot be written down ends the reader that it was for, is logged, and nobody else notices", async () => {
  const { events, readers, errors, open } = createRig();
  const broken = open({
    event() {
      throw new Error("a defect");
    },
  });
  const sound = open();

  for (const userid of ["1", "2"]) events.record("user.online", { userid });

  expect(await readToEnd(broken)).toBe("welcome\n");
  expect(errors).toEqual(["a reader of events is ended"]);
  expect(readers.size).toBe(1);
  readers.close();
  expect(await readToEnd(sound)).toBe("welcome\n1\n2\n");
});

test("a reader that went away is asked nothing any more, neither for events nor for its position", async () => {
  const { events, readers, open } = createRig();
  let asked = 0;
  const count = (text: string) => {
    asked++;
    return text;
  };
  const gone = open({ event: () => count("event\n"), position: () => count("position\n") }, 1);
  const other = open({}, 1);
  await eventually("its positions", () => asked > 2);

  await gone.cancel();
  const before = asked;
  events.record("user.online", { userid: "1" });
  let heard = "";
  while (!heard.endsWith("1\nposition\nposition\n"))
    heard += new TextDecoder().decode((await other.read()).value);

  expect(asked).toBe(before);
  expect(readers.size).toBe(1);
  readers.close();
});

test("who reads nothing is sent no positions, which would pile up", async () => {
  const { readers, open } = createRig();
  const size = 64 * 1024;
  let told = 0;
  const stream = open(
    {
      welcome: () => "x".repeat(size),
      position: () => {
        told++;
        return "position\n";
      },
    },
    1,
  );
  const other = open({}, 1);
  for (let count = 0; count < 5; count++) await other.read();

  expect(told).toBe(0);
  await stream.read();
  await eventually("a position", () => told > 0);
  readers.close();
});

test("a reader that comes after the end gets what there is, and its end", async () => {
  const { events, readers, open } = createRig();
  for (const userid of ["1", "2", "3"]) events.record("user.online", { userid });
  readers.close();

  expect(await readToEnd(open())).toBe("welcome\n1\n2\n3\n");
  expect(readers.size).toBe(0);
});

test("what comes while a page is on its way follows once, in its order", async () => {
  const { events, readers, open } = createRig();
  const padding = "x".repeat(5000);
  const record = (userid: number) => events.record("user.online", { userid: `${userid}`, padding });
  for (let userid = 0; userid < 100; userid++) record(userid);
  const stream = open({ event: ({ json }: LoggedEvent) => `${JSON.parse(json).data.userid} ${padding}\n` });
  let text = "";
  for (let userid = 100; userid < 400;) {
    record(userid++);
    if (userid % 3 === 0) record(userid++);
    text += new TextDecoder().decode((await stream.read()).value);
  }
  readers.close();
  text += await readToEnd(stream);

  const heard = text.split("\n").flatMap((line) => (/^\d/.test(line) ? [Number(line.split(" ")[0])] : []));
  expect(heard).toEqual(Array.from({ length: heard.length }, (_, userid) => userid));
  expect(heard.length).toBeGreaterThan(200);
});

test("many that are far behind let everything else have its turn in between", async () => {
  const { events, readers, open } = createRig();
  const padding = "x".repeat(20_000);
  const count = 500;
  for (let userid = 0; userid < count; userid++)
    events.record("user.online", { userid: `${userid}`, padding });
  let sent = 0;
  let mostAtOnce = 0;
  const event = ({ json }: LoggedEvent) => {
    sent++;
    return json;
  };
  const streams = Array.from({ length: 20 }, () => readToEnd(open({ event })));

  for (let before = 0; sent < count * streams.length; before = sent) {
    await new Promise(setImmediate);
    mostAtOnce = Math.max(mostAtOnce, sent - before);
  }
  readers.close();
  await Promise.all(streams);

  expect(mostAtOnce).toBeLessThan((count * streams.length) / 4);
});
