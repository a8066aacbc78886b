/**
 * Certificates for tests, each its own root, for localhost and 127.0.0.1 and 30 days: made by OpenSSL's own program.
 */
import { run } from "./process.ts";

export interface TestCertificate {
  /** PEM; also what a client has to trust. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

const request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 30";
const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";

export async function makeCertificate(name: string): Promise<TestCertificate> {
  const command = [...request.split(" "), "-subj", `/CN=${name}`, "-addext", names, "-keyout", "-"];
  const { status, stdout, stderr } = await run(command);
  const [, key, cert] =
    /^(-+BEGIN [A-Z ]*PRIVATE KEY-+[^]*?-+END [A-Z ]*PRIVATE KEY-+\n)([^]*)$/.exec(stdout) ?? [];
  if (status !== 0 || key === undefined || cert === undefined) throw new Error(`openssl: ${stderr}`);
  return { cert, key };
}
