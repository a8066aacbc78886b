/**
 * The secrets that tokens are signed with: how many there may be, how long, and what they are derived from.
 */
import { describe, expect, test } from "bun:test";
import { deriveSecret } from "../../src/auth/client.ts";
import { openTokens, refusalOf, secret } from "./vectors.ts";

describe("the secret", () => {
  test("may be one of several: all are good to verify with, and the first to mint with", async () => {
    const [old, young] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const before = await openTokens({ secrets: [old] });
    const during = await openTokens({ secrets: [young, old] });
    const after = await openTokens({ secrets: [young] });
    const ofBefore = await before.mint({ userid: "1", lifetimeMs: 60_000 });
    const ofDuring = await during.mint({ userid: "1", lifetimeMs: 60_000 });

    expect(await during.verify(ofBefore)).toMatchObject({ userid: "1" });
    expect(await after.verify(ofDuring)).toMatchObject({ userid: "1" });
    expect(await refusalOf(() => after.verify(ofBefore))).toBe("unauthorized: token has a wrong signature");
    before.replaceSecrets([young]);
    expect(await before.verify(ofDuring)).toMatchObject({ userid: "1" });
    expect(await refusalOf(() => before.verify(ofBefore))).toBe("unauthorized: token has a wrong signature");
  });

  test("of an API key is HKDF of it, on every node the same", () => {
    expect(Buffer.from(deriveSecret("correct horse battery staple")).toString("hex")).toBe(
      "fa84598917b5d49a7d8454a14be3af95b55da9df5f96e3eac24c034b0ce98e01",
    );
  });

  test("may not be shorter than the hash", async () => {
    await expect(openTokens({ secrets: [secret, secret.subarray(1)] })).rejects.toThrow(
      "the secret of tokens is 31 bytes, expected at least 32 that cannot be guessed",
    );
  });

  test("or the place of keys has to be there", async () => {
    await expect(openTokens({ secrets: [] })).rejects.toThrow(
      "tokens need a secret or the place of public keys, expected at least one",
    );
  });
});
