/**
 * The certificate and the private key of a listener, as two PEM files.
 *
 * Bun takes almost anything: without both it listens without TLS, or fails every handshake and says nothing. So they are looked at here,
 * before anybody listens with them, and again whenever the files may have changed.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { quote } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** A certificate that can be listened with. */
export interface Certificate {
  /** PEM: the certificate, and the chain that leads to what clients trust. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** In milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface CertificateFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** The files cannot be used: the message says which, why, and what was expected. */
export class UnusableCertificate extends Error {
  override readonly name = "UnusableCertificate";
}

export interface CertificateWatchParts {
  readonly files: CertificateFiles;
  readonly logger: Logger;
  /** Called with each that is another than the one before, also with the first. */
  readonly onChange: (certificate: Certificate) => Promise<void>;
}

const repeatMs = 3_600_000;

/** A certificate whose files are read again now and then. One that cannot be used changes nothing. */
export class CertificateWatch {
  readonly #parts: CertificateWatchParts;
  #current: Certificate;
  #problem: { readonly reason: string; readonly loggedAt: number } | undefined;
  readonly #timer: Timer;

  /** @param checkMs how often the files are read */
  constructor(current: Certificate, parts: CertificateWatchParts, checkMs = 60_000) {
    this.#parts = parts;
    this.#current = current;
    warnOfEnd(current, parts.logger);
    this.#timer = setInterval(() => void this.check(), checkMs);
  }

  /** When the one that is shown now expires, in milliseconds since 1970. */
  get expiresAt(): number {
    return this.#current.expiresAt;
  }

  /** Reads the files, and says in the log what has changed or cannot be used: the same again after an hour. */
  async check(): Promise<void> {
    const { files, logger, onChange } = this.#parts;
    try {
      const read = await readCertificate(files);
      this.#problem = undefined;
      if (read.cert === this.#current.cert && read.key === this.#current.key) return;
      await onChange(read);
      this.#current = read;
      logger.info("the certificate is another one", { expires: new Date(read.expiresAt).toISOString() });
      warnOfEnd(read, logger);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const now = performance.now();
      if (reason === this.#problem?.reason && now - this.#problem.loggedAt < repeatMs) return;
      logger.error("the certificate stays as it was", { reason });
      this.#problem = { reason, loggedAt: now };
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function warnOfEnd({ expiresAt }: Certificate, logger: Logger): void {
  if (expiresAt < Date.now())
    logger.warn("the certificate has expired, and clients refuse it", {
      expired: new Date(expiresAt).toISOString(),
    });
}

/** @throws UnusableCertificate, as a rejection */
export async function readCertificate({ certPath, keyPath }: CertificateFiles): Promise<Certificate> {
  const cert = await readPem("--tls-cert", certPath);
  const key = await readPem("--tls-key", keyPath);
  const certificate = parse("--tls-cert", certPath, "a certificate", () => new X509Certificate(cert));
  const own = parse("--tls-key", keyPath, "a private key without a passphrase", () => createPrivateKey(key));
  requirePair(certificate, own, { certPath, keyPath });
  // What OpenSSL refuses all the same: a signature or a key that is too weak.
  parse("--tls-cert", certPath, "one that can be served with", () => createSecureContext({ cert, key }));
  return { cert, key, expiresAt: Date.parse(certificate.validTo) };
}

function requirePair(certificate: X509Certificate, key: KeyObject, files: CertificateFiles): void {
  if (certificate.checkPrivateKey(key)) return;
  throw new UnusableCertificate(
    `--tls-key ${quote(files.keyPath)} does not belong to the first certificate in --tls-cert ${quote(files.certPath)}, expected its own key`,
  );
}

async function readPem(flag: string, path: string): Promise<string> {
  try {
    // Editors put a mark before the text that OpenSSL does not know.
    return (await Bun.file(path).text()).replace(/^\uFEFF/, "");
  } catch (error) {
    throw new UnusableCertificate(
      `${flag} ${quote(path)}: ${error instanceof Error ? error.message : error}; expected a file that can be read`,
    );
  }
}

function parse<Value>(flag: string, path: string, expected: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    // OpenSSL's own words, such as "no start line", say nothing to most people, and may be all there is.
    const reason = error instanceof Error ? error.message.split(":").at(-1) : String(error);
    throw new UnusableCertificate(
      `${flag} ${quote(path)} cannot be used (${reason}), expected PEM with ${expected}`,
      {
        cause: error,
      },
    );
  }
}
