/**
 * What a certificate is looked at for before anybody is served with it.
 */
import { describe, expect, setSystemTime, test } from "bun:test";
import {
  type Certificate,
  CertificateWatch,
  readCertificate,
  UnusableCertificate,
} from "../../src/http/tls.ts";
import { createLogger } from "../../src/logger.ts";
import { makeCertificate } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { type Folder, makeFolder } from "../support/folder.ts";
import { run } from "../support/process.ts";
import type { LogLine } from "../support/server.ts";
import { mustSkip } from "../support/system.ts";

const withoutOpenssl = mustSkip("openssl");
const first = withoutOpenssl ? { cert: "", key: "" } : await makeCertificate("first");
const second = withoutOpenssl ? { cert: "", key: "" } : await makeCertificate("second");

async function refusalOf(files: Readonly<Record<string, string>>): Promise<string> {
  await using folder = await makeFolder(files);
  const error: unknown = await readCertificate(toFiles(folder)).catch((thrown: unknown) => thrown);
  if (!(error instanceof UnusableCertificate)) throw new Error(`expected a refusal, got ${String(error)}`);
  return error.message.replaceAll(`${folder.path}/`, "");
}

function toFiles(folder: Folder) {
  return { certPath: folder.file("cert.pem"), keyPath: folder.file("key.pem") };
}

async function watch(checkMs?: number) {
  const folder = await makeFolder({ "cert.pem": first.cert, "key.pem": first.key });
  const log: LogLine[] = [];
  const changes: Certificate[] = [];
  const target = { write: (line: string) => void log.push(JSON.parse(line)) };
  const watched = new CertificateWatch(
    await readCertificate(toFiles(folder)),
    {
      files: toFiles(folder),
      logger: createLogger({ level: "info", format: "json", target }),
      onChange: async (certificate) => void changes.push(certificate),
    },
    checkMs,
  );
  return {
    log,
    changes,
    watched,
    write: async (files: Readonly<Record<string, string>>) => {
      for (const [name, text] of Object.entries(files)) await Bun.write(folder.file(name), text);
    },
    async [Symbol.asyncDispose]() {
      watched.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe.skipIf(withoutOpenssl)("a certificate", () => {
  test("is taken with its key, and says when it expires", async () => {
    await using folder = await makeFolder({ "cert.pem": first.cert, "key.pem": first.key });

    const { cert, key, expiresAt } = await readCertificate(toFiles(folder));

    expect({ cert, key }).toEqual(first);
    expect((expiresAt - Date.now()) / 86_400_000).toBeWithin(29, 31);
  });

  test("is taken with the chain after it, and with an editor's mark before it", async () => {
    await using folder = await makeFolder({
      "cert.pem": `\uFEFF${first.cert}${second.cert}`,
      "key.pem": `\uFEFF${first.key}`,
    });

    expect((await readCertificate(toFiles(folder))).key).toBe(first.key);
  });

  test("that is not there is refused, by name", async () => {
    expect(await refusalOf({ "key.pem": first.key })).toMatch(
      /^--tls-cert "cert\.pem": .*ENOENT.*; expected a file that can be read$/,
    );
    expect(await refusalOf({ "cert.pem": first.cert })).toMatch(/^--tls-key "key\.pem": .*ENOENT/);
  });

  test("is refused where there is none, and with the two files swapped", async () => {
    const expected = /^--tls-cert "cert\.pem" cannot be used \(.+\), expected PEM with a certificate$/;

    expect(await refusalOf({ "cert.pem": "hello", "key.pem": first.key })).toMatch(expected);
    expect(await refusalOf({ "cert.pem": "", "key.pem": first.key })).toMatch(expected);
    expect(await refusalOf({ "cert.pem": first.key, "key.pem": first.cert })).toMatch(expected);
  });

  test("is refused without a key, and with one that has a passphrase", async () => {
    const expected =
      /^--tls-key "key\.pem" cannot be used \(.+\), expected PEM with a private key without a passphrase$/;
    await using folder = await makeFolder({ "key.pem": first.key });
    const encrypt = `openssl pkcs8 -topk8 -passout pass:secret -in ${folder.file("key.pem")}`;
    const { stdout: encrypted } = await run(encrypt.split(" "));

    expect(encrypted).toStartWith("-----BEGIN ENCRYPTED PRIVATE KEY-----");
    expect(await refusalOf({ "cert.pem": first.cert, "key.pem": encrypted })).toMatch(expected);
    expect(await refusalOf({ "cert.pem": first.cert, "key.pem": "hello" })).toMatch(expected);
  });

  test("is refused with the key of another, and no word of the key is shown", async () => {
    const refusal = await refusalOf({ "cert.pem": first.cert, "key.pem": second.key });

    expect(refusal).toBe(
      '--tls-key "key.pem" does not belong to the first certificate in --tls-cert "cert.pem", expected its own key',
    );
  });
});

describe.skipIf(withoutOpenssl)("a certificate that is watched", () => {
  test("changes nothing as long as it is the same", async () => {
    await using it = await watch();

    await it.watched.check();

    expect([it.changes, it.log]).toEqual([[], []]);
  });

  test("is taken by itself when it is renewed", async () => {
    await using it = await watch(10);

    await it.write({ "cert.pem": second.cert, "key.pem": second.key });
    await eventually("the renewed one", () => it.changes.length > 0);

    expect(it.changes.map(({ cert }) => cert)).toEqual([second.cert]);
  });

  test("stays as it was between two writes, says so once, and is taken after the second", async () => {
    await using it = await watch();

    await it.write({ "cert.pem": second.cert });
    await it.watched.check();
    await it.watched.check();
    expect(it.changes).toEqual([]);
    expect(it.log).toEqual([
      expect.objectContaining({
        level: "error",
        msg: "the certificate stays as it was",
        reason: expect.stringContaining("does not belong to the first certificate"),
      }),
    ]);

    await it.write({ "key.pem": second.key });
    await it.watched.check();
    expect(it.changes.map(({ cert }) => cert)).toEqual([second.cert]);
    expect(it.log.at(-1)?.msg).toBe("the certificate is another one");
  });

  test("is warned of when it has expired", async () => {
    await using it = await watch();
    await it.write({ "cert.pem": second.cert, "key.pem": second.key });

    setSystemTime(Date.now() + 31 * 86_400_000);
    await it.watched.check();
    setSystemTime();

    expect(it.log.at(-1)).toMatchObject({
      level: "warn",
      msg: "the certificate has expired, and clients refuse it",
      expired: new Date(it.watched.expiresAt).toISOString(),
    });
  });
});
