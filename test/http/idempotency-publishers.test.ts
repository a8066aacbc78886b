/**
 * Whose an `Idempotency-Key` is: publishers with API keys of their own know nothing of each other, and may use the same.
 */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { postBatch, toArray } from "../support/batches.ts";
import { toOffset, toProblem } from "../support/calls.ts";
import { makeFolder } from "../support/folder.ts";
import { pushForms, type Pushed, toOnlyReceipt } from "../support/pushes.ts";
import { startServer } from "../support/server.ts";

const [first, second] = ["0123456789abcdef", "fedcba9876543210"];
const settings = { "api-key": `${first},${second}` };

const headersOf = (apiKey: string, key = "1") => ({
  Authorization: `Bearer ${apiKey}`,
  "Idempotency-Key": key,
});

describe.each(pushForms)("$name", ({ push: send }) => {
  test.each<[what: string, other: Pushed]>([
    ["another push", { message: "other" }],
    ["the same push", { message: "once" }],
  ])("with the key of another publisher, for %s, is a push of its own", async (_, other) => {
    await using server = await startServer(settings);

    const mine = await send(server, { message: "once" }, headersOf(first));
    const theirs = await send(server, other, headersOf(second));
    const again = await send(server, other, headersOf(second));

    expect(toOffset(await toOnlyReceipt(mine))).toBe(1);
    expect(theirs.headers.get("idempotency-replayed")).toBeNull();
    expect(toOffset(await toOnlyReceipt(theirs))).toBe(2);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(toOffset(await toOnlyReceipt(again))).toBe(2);
  });
});

test("a key that its publisher uses for something else is named as it was given", async () => {
  await using server = await startServer(settings);
  await postBatch(server, toArray([{ all: true, message: "once" }]), headersOf(first, "order 17"));

  const refused = await postBatch(
    server,
    toArray([{ all: true, message: "other" }]),
    headersOf(first, "order 17"),
  );

  expect(await toProblem(refused)).toMatchObject({
    code: "idempotency_key_reused",
    detail: 'Idempotency-Key "order 17" was used within five minutes for another push, expected a new key',
  });
});

const batch = (text: string) => toArray([{ all: true, message: text }]);

describe("with --data", () => {
  test("each publisher's keys are still its own after a restart, also when the API keys stand in another order", async () => {
    await using folder = await makeFolder();
    const data = folder.file("journal.db");
    {
      await using before = await startServer({ ...settings, data });
      await postBatch(before, batch("first's"), headersOf(first));
      await postBatch(before, batch("second's"), headersOf(second));
      await before.drain();
    }

    await using after = await startServer({ "api-key": `${second},${first}`, data });
    const [mine, theirs] = [
      await postBatch(after, batch("first's"), headersOf(first)),
      await postBatch(after, batch("second's"), headersOf(second)),
    ];

    expect([mine, theirs].map(({ headers }) => headers.get("idempotency-replayed"))).toEqual([
      "true",
      "true",
    ]);
    expect(JSON.parse(await theirs.text())[0].id).toEndWith("-2");
  });

  test("nothing in its files is the API key or tells a guess of it from another one", async () => {
    await using folder = await makeFolder();
    const data = folder.file("journal.db");
    await using server = await startServer({ ...settings, data });
    await postBatch(server, batch("m"), headersOf(first, "my key"));
    await server.drain();

    const files = await Promise.all(
      (await readdir(folder.path)).map((name) => Bun.file(join(folder.path, name)).bytes()),
    );
    using database = new Database(data, { readonly: true });
    const kept = database.query<{ key: string }, []>("SELECT key FROM once").get()?.key ?? "";

    // Sixteen bits: of the guesses at a key, one in 65,536 has them too.
    expect(kept).toMatch(/^[0-9a-f]{4}\tmy key$/);
    const digest = new Bun.CryptoHasher("sha256").update(first).digest();
    for (const bytes of files)
      for (const trace of [
        Buffer.from(first),
        digest.subarray(0, 4),
        Buffer.from(digest.toHex().slice(0, 8)),
      ])
        expect(Buffer.from(bytes).includes(trace)).toBe(false);
  });
});
