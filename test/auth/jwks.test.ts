import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import {
  cooldownMs,
  type KeyName,
  type KeySet,
  maxAgeMs,
  maxKeySetBytes,
  openKeySet,
  retryMs,
} from "../../src/auth/jwks.ts";
import type { LogFields } from "../../src/logger.ts";
import { Clock } from "../contracts/clock.ts";
import { eventually } from "../support/eventually.ts";
import { makeFolder } from "../support/folder.ts";
import { makeKey, refusalOf, secret } from "./vectors.ts";

const first = makeKey("ES256", "first").jwk;
const second = makeKey("ES256", "second").jwk;
const named = (kid?: string): KeyName => ({ alg: "ES256", ...(kid !== undefined && { kid }) });

const notKnown = "unauthorized: token is signed with a key that is not known here";
const notNow = "unavailable: the keys that tokens are verified with cannot be fetched now";

/** "found", or the code and the sentence that the key of this name is refused with. */
async function find(keySet: KeySet, name: KeyName): Promise<string> {
  return await refusalOf(() => keySet.find(name), "found");
}

const openFile = (place: string) => openKeySet({ place, logger: { warn: () => {} } });

const rsa = (modulusLength: number) =>
  generateKeyPairSync("rsa", { modulusLength }).publicKey.export({ format: "jwk" });

/** An issuer on this machine, that answers as one tells it, with what asks it. */
async function openIssuer(answer: Issuer["answer"], timeoutMs?: number) {
  const clock = new Clock();
  const warnings: { event: string; fields: LogFields | undefined }[] = [];
  const issuer: Issuer = { answer, fetches: 0 };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch(request) {
      issuer.fetches++;
      return issuer.answer(request);
    },
  });
  const keySet = await openKeySet({
    place: `${server.url}keys.json?secret=1`,
    logger: { warn: (event, fields) => warnings.push({ event, fields }) },
    now: clock.now,
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return {
    issuer,
    clock,
    warnings,
    keySet,
    url: server.url,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

interface Issuer {
  answer: (request: Request) => Response | Promise<Response>;
  fetches: number;
}

const answerWith =
  (...keys: readonly object[]) =>
  () =>
    Response.json({ keys });

const noSet = "it is not a JSON Web Key Set, expected an object with keys";

const hang = () => new Promise<Response>(() => {});

describe("keys by URL", () => {
  test("are fetched at open, and then used without asking", async () => {
    await using open = await openIssuer(answerWith(first));
    await eventually("they are fetched", () => open.issuer.fetches === 1);

    for (let count = 0; count < 100; count++) expect(await find(open.keySet, named("first"))).toBe("found");

    expect(open.issuer.fetches).toBe(1);
  });

  test("are fetched once for all who wait for them", async () => {
    await using open = await openIssuer(answerWith(first));

    const found = await Promise.all(Array.from({ length: 100 }, () => find(open.keySet, named("first"))));

    expect(new Set(found)).toEqual(new Set(["found"]));
    expect(open.issuer.fetches).toBe(1);
  });

  test("are fetched again for a key that is not among them", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    open.issuer.answer = answerWith(first, second);
    open.clock.advance(cooldownMs);

    expect(await find(open.keySet, named("second"))).toBe("found");
    expect(await find(open.keySet, named("first"))).toBe("found");
    expect(open.issuer.fetches).toBe(2);
  });

  test("are fetched once in half a minute, whatever flood of unknown keys there is", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    const flood = () =>
      Promise.all(Array.from({ length: 200 }, (_, index) => find(open.keySet, named(`no ${index}`))));

    open.clock.advance(cooldownMs - 1);
    expect(new Set(await flood())).toEqual(new Set([notKnown]));
    expect(open.issuer.fetches).toBe(1);
    open.clock.advance(1);
    expect(new Set([...(await flood()), ...(await flood())])).toEqual(new Set([notKnown]));
    expect(open.issuer.fetches).toBe(2);
  });

  test("are fetched again when they are old, and one that is gone is not used any more", async () => {
    await using open = await openIssuer(answerWith(first, second));
    await find(open.keySet, named("first"));
    open.issuer.answer = answerWith(second);
    open.clock.advance(maxAgeMs - 1);
    expect(await find(open.keySet, named("first"))).toBe("found");
    open.clock.advance(1);

    expect(await find(open.keySet, named("first"))).toBe(notKnown);
    expect(await find(open.keySet, named("second"))).toBe("found");
  });

  test("go on being used while their issuer fails, and nobody waits for it", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    open.issuer.answer = () => new Response("", { status: 500 });
    open.clock.advance(maxAgeMs);
    expect(await find(open.keySet, named("first"))).toBe("found");
    open.issuer.answer = hang;
    open.clock.advance(retryMs);

    expect(await find(open.keySet, named("first"))).toBe("found");
    await eventually("it is asked again", () => open.issuer.fetches === 3);
  });

  test("cannot be known to lack a key while their issuer fails", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    open.issuer.answer = () => new Response("", { status: 500 });
    open.clock.advance(cooldownMs);

    expect(await find(open.keySet, named("second"))).toBe(notNow);
    open.issuer.answer = answerWith(second);
    expect(await find(open.keySet, named("second"))).toBe(notNow);
    open.clock.advance(retryMs);
    expect(await find(open.keySet, named("second"))).toBe("found");
    expect(open.issuer.fetches).toBe(3);
  });

  test("are read again on demand, also shortly after they were", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    open.issuer.answer = answerWith(second);

    await Promise.all([open.keySet.reload(), open.keySet.reload()]);

    expect(await find(open.keySet, named("second"))).toBe("found");
    expect(await find(open.keySet, named("first"))).toBe(notKnown);
  });

  test("are read on demand after what is being read, which may be older", async () => {
    const older = Promise.withResolvers<Response>();
    await using open = await openIssuer(() => older.promise);
    await eventually("they are fetched", () => open.issuer.fetches === 1);
    open.issuer.answer = answerWith(second);
    const reloaded = open.keySet.reload();
    older.resolve(answerWith(first)());

    await reloaded;

    expect(await find(open.keySet, named("second"))).toBe("found");
    expect(await find(open.keySet, named("first"))).toBe(notKnown);
    expect(open.issuer.fetches).toBe(2);
  });

  test("that cannot be read on demand are those from before", async () => {
    await using open = await openIssuer(answerWith(first));
    await find(open.keySet, named("first"));
    open.issuer.answer = () => new Response("", { status: 404 });

    await expect(open.keySet.reload()).rejects.toThrow(
      `the keys in "${open.url}keys.json" cannot be used: it was answered with 404, expected 200`,
    );
    expect(await find(open.keySet, named("first"))).toBe("found");
  });
});

describe("an issuer", () => {
  const endless = { sent: 0, isCutOff: false };
  const bodies: Readonly<Record<string, readonly [answer: Issuer["answer"], reason: string]>> = {
    "does not answer": [hang, "it took longer than 50 ms"],
    "stops in the middle": [
      () => new Response(new ReadableStream({ start: (body) => body.enqueue(Buffer.from('{"keys":[')) })),
      "it took longer than 50 ms",
    ],
    "answers 500": [() => new Response("{}", { status: 500 }), "it was answered with 500, expected 200"],
    "answers 204": [() => new Response(null, { status: 204 }), "it was answered with 204, expected 200"],
    "sends elsewhere": [
      (request) =>
        new URL(request.url).pathname === "/other"
          ? answerWith(first)()
          : new Response(null, { status: 302, headers: { Location: "/other" } }),
      "it was answered with 302, expected 200",
    ],
    "sends a page": [() => new Response("<html>"), noSet],
    "sends a key alone": [() => Response.json(first), noSet],
    "sends what is not UTF-8": [() => new Response(Buffer.from('{"keys":[],"\xff":1}', "latin1")), noSet],
    "sends 101 keys": [
      answerWith(...Array.from({ length: 101 }, () => first)),
      "it has 101 keys, the limit is 100",
    ],
    "packs what it was asked not to": [
      () =>
        new Response(Bun.gzipSync(JSON.stringify({ keys: [first] })), {
          headers: { "Content-Encoding": "gzip" },
        }),
      noSet,
    ],
    "sends a byte too many": [
      () => new Response(JSON.stringify({ keys: [first] }).padEnd(maxKeySetBytes + 1)),
      "it is larger than 262144 bytes",
    ],
    "never ends": [
      () =>
        new Response(
          new ReadableStream({
            pull(body) {
              endless.sent += 65_536;
              body.enqueue(Buffer.alloc(65_536, " "));
            },
            cancel() {
              endless.isCutOff = true;
            },
          }),
        ),
      "it is larger than 262144 bytes",
    ],
  };
  for (const [what, [answer, reason]] of Object.entries(bodies))
    test(`that ${what} leaves us without keys, with a warning and without another try at once`, async () => {
      await using open = await openIssuer(answer, reason.endsWith("50 ms") ? 50 : 5000);

      expect(await find(open.keySet, named("first"))).toBe(notNow);
      expect(await find(open.keySet, named("first"))).toBe(notNow);

      expect(open.issuer.fetches).toBe(1);
      expect(open.warnings).toEqual([
        {
          event: "the keys of tokens cannot be fetched; those known so far go on being used",
          fields: { place: `${open.url}keys.json`, reason, known: 0 },
        },
      ]);
      open.issuer.answer = answerWith(first);
      open.clock.advance(retryMs);
      expect(await find(open.keySet, named("first"))).toBe("found");
    });

  test("that never ends is cut off after little more than the bound", async () => {
    Object.assign(endless, { sent: 0, isCutOff: false });
    await using open = await openIssuer(bodies["never ends"]?.[0] ?? hang);

    await find(open.keySet, named("first"));
    await eventually("it is cut off", () => endless.isCutOff);

    // What the kernel holds for a connection comes on top of the bound.
    expect(endless.sent).toBeLessThan(16 * 1024 * 1024);
  });

  test("may fill the bound to the last byte", async () => {
    await using open = await openIssuer(
      () => new Response(JSON.stringify({ keys: [first] }).padEnd(maxKeySetBytes)),
    );

    expect(await find(open.keySet, named("first"))).toBe("found");
  });

  test("that nobody can reach is no reason not to start", async () => {
    const warnings: (LogFields | undefined)[] = [];
    const keySet = await openKeySet({
      place: "http://127.0.0.1:1/",
      logger: { warn: (_, fields) => warnings.push(fields) },
    });

    expect(await find(keySet, named())).toBe(notNow);
    expect(warnings).toHaveLength(1);
  });
});

describe("keys in a file", () => {
  test("are read at open, and on demand", async () => {
    await using folder = await makeFolder({ "keys.json": JSON.stringify({ keys: [first] }) });
    const keySet = await openFile(folder.file("keys.json"));
    await Bun.write(folder.file("keys.json"), JSON.stringify({ keys: [second] }));
    expect(await find(keySet, named("second"))).toBe(notKnown);
    expect(await find(keySet, named("first"))).toBe("found");

    await keySet.reload();

    expect(await find(keySet, named("second"))).toBe("found");
    expect(await find(keySet, named("first"))).toBe(notKnown);
  });

  test("go on being used when the file cannot be read again", async () => {
    await using folder = await makeFolder({ "keys.json": JSON.stringify({ keys: [first] }) });
    const path = folder.file("keys.json");
    const keySet = await openFile(path);
    await Bun.write(path, '{"keys":[');

    await expect(keySet.reload()).rejects.toThrow(
      `the keys in ${JSON.stringify(path)} cannot be used: it is not a JSON Web Key Set, expected an object with keys`,
    );
    expect(await find(keySet, named("first"))).toBe("found");
  });

  test("that are not there, too many bytes, or no file, are said so at open", async () => {
    await using folder = await makeFolder({ "large.json": " ".repeat(maxKeySetBytes + 1) });

    await expect(openFile(folder.file("large.json"))).rejects.toThrow("it is larger than 262144 bytes");
    await expect(openFile(folder.file("none.json"))).rejects.toThrow(
      /^the keys in ".*" cannot be used: ENOENT/,
    );
    await expect(openFile(folder.path)).rejects.toThrow(
      /^the keys in ".*" cannot be used: Directories cannot be read/,
    );
  });

  const unusable: Readonly<Record<string, object>> = {
    "a secret": { kty: "oct", k: secret.toString("base64url"), kid: "first", alg: "HS256" },
    "a secret that says to be something else": { kty: "oct", k: "AAAA", kid: "first", alg: "ES256" },
    "a private key": generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }),
    "RSA of 2040 bits": rsa(2040),
    "RSA of 1024 bits": rsa(1024),
    "a curve that is not ours": generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey.export({
      format: "jwk",
    }),
    "a key for agreement": generateKeyPairSync("x25519").publicKey.export({ format: "jwk" }),
    "a key for encryption": { ...first, use: "enc" },
    "a key for other operations": { ...first, key_ops: ["encrypt"] },
    "a key for another algorithm": { ...first, alg: "ES512" },
    "a key for HS256": { ...first, alg: "HS256" },
    "a point that is not on the curve": { ...first, y: first.x },
    "a number for a point": { ...first, x: 1 },
    "a number for a name": { ...first, kid: 1 },
    nothing: {},
  };
  for (const [what, key] of Object.entries(unusable))
    test(`of which one is ${what} are used without it`, async () => {
      await using folder = await makeFolder({
        "alone.json": JSON.stringify({ keys: [key] }),
        "keys.json": JSON.stringify({ keys: [{ ...key, kid: "it" }, "no key", second] }),
      });

      await expect(openFile(folder.file("alone.json"))).rejects.toThrow(
        "cannot be used: it has no key to use among 1, expected public ones of RSA with at least 2048 bits, P-256, P-384 or Ed25519",
      );
      expect(await find(await openFile(folder.file("keys.json")), named("second"))).toBe("found");
    });

  test("need no name while there is one for the algorithm", async () => {
    await using folder = await makeFolder({
      "one.json": JSON.stringify({ keys: [first, rsa(2048)] }),
      "two.json": JSON.stringify({ keys: [first, second] }),
    });

    expect(await find(await openFile(folder.file("one.json")), named())).toBe("found");
    expect(await find(await openFile(folder.file("two.json")), named())).toBe(
      "unauthorized: token fits several keys, expected a kid that only one of them has",
    );
  });
});

describe("the place of keys", () => {
  const wrong: Readonly<Record<string, string>> = {
    "ftp://issuer.example/":
      'the place of the keys is "ftp://issuer.example/", expected an http or https URL, or a path',
    "https://": 'the place of the keys is "https://", expected an http or https URL, or a path',
    "file:///etc/keys":
      'the place of the keys is "file:///etc/keys", expected an http or https URL, or a path',
    "https://user:pass@issuer.example/": "the URL of the keys has a user or a password, expected neither",
  };
  for (const [place, message] of Object.entries(wrong))
    test(`may not be ${place}`, async () => {
      await expect(openFile(place)).rejects.toThrow(message);
    });
});
