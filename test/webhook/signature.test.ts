/**
 * Signatures, as the reference library of Standard Webhooks verifies them.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { type Letter, openReceiver } from "../support/receiver.ts";
import { openRig } from "../support/webhooks.ts";

setDefaultTimeout(60_000);

const secrets = [24, 32, 64].map((length) => new Uint8Array(length).fill(length));

function verify(secret: Uint8Array, { text, headers }: Letter): unknown {
  const given = Object.entries(headers).map(([name, value]) => [name, String(value)]);
  return new Webhook(secret, { format: "raw" }).verify(text, Object.fromEntries(given));
}

const messages = ["hello", "grüß dich 👋", '\u0000\u001F\u2028\\"', "x".repeat(60_000), '{"a":[1,null]}'];

test("every event verifies, with each of several secrets", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url], { secrets });

  for (const message of messages) rig.send("s", message);
  rig.events.record("session.opened", { session: "s" });
  rig.events.record("user.online", { userid: "grüß" });
  rig.events.record("message.unclaimed", { id: "x-1", all: true });
  await rig.untilEmpty();

  expect(receiver.letters).toHaveLength(messages.length + 3);
  for (const letter of receiver.letters)
    for (const secret of secrets) expect(verify(secret, letter)).toEqual(JSON.parse(letter.text));
  expect(receiver.messages.get("s")).toEqual(messages);
});

test("what is sent again is signed again, at the time of then, with the same id", async () => {
  await using receiver = await openReceiver();
  receiver.answer = () => ({ status: receiver.letters.length < 2 ? 500 : 204 });
  await using rig = await openRig([receiver.url], {
    secrets,
    pauses: { first: 1500, longestWhileDown: 1500, longest: 1500 },
  });

  rig.send("s", "hello");
  await rig.untilEmpty();

  const [first, second] = receiver.letters;
  if (first === undefined || second === undefined) throw new Error("expected two attempts");
  expect(second.id).toBe(first.id);
  for (const letter of [first, second]) expect(verify(secrets[0] ?? new Uint8Array(), letter)).toBeDefined();
});

test("what was tampered with does not verify", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url], { secrets });
  rig.send("s", "pay 10");
  await rig.untilEmpty();
  const [letter] = receiver.letters;
  const [secret] = secrets;
  if (letter === undefined || secret === undefined) throw new Error("expected an event");

  const old = String(Math.floor(Date.now() / 1000) - 3600);
  const forged: Letter[] = [
    { ...letter, text: letter.text.replace("10", "11") },
    { ...letter, headers: { ...letter.headers, "webhook-id": "another" } },
    { ...letter, headers: { ...letter.headers, "webhook-timestamp": old } },
    { ...letter, headers: { ...letter.headers, "webhook-signature": "v1,AAAA" } },
  ];

  for (const one of forged) expect(() => verify(secret, one)).toThrow();
  expect(() => verify(new Uint8Array(32), letter)).toThrow();
  expect(verify(secret, letter)).toBeDefined();
});

test("without a secret nothing is signed", async () => {
  await using receiver = await openReceiver();
  await using rig = await openRig([receiver.url]);

  rig.send("s", "hello");
  await rig.untilEmpty();

  const headers = receiver.letters[0]?.headers;
  expect(headers).toMatchObject({ "content-type": "application/json", "webhook-id": rig.events.toId(1) });
  expect(headers).not.toHaveProperty("webhook-signature");
});
