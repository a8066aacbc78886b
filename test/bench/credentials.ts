/**
 * What publishers and sessions bring to a server that asks for it: an API key, and tokens.
 */
import { createHmac } from "node:crypto";

/** As long as the README advises: what is measured is also what it takes to compare them. */
export const apiKey = "5f0c".repeat(16);
export const jwtSecret = "a0e7".repeat(16);

/** The lines of a request that bring it. */
export interface Credentials {
  readonly ofPublisher: readonly string[];
  readonly ofSession: (index: number) => readonly string[];
}

export const none: Credentials = { ofPublisher: [], ofSession: () => [] };

const lifetimeSeconds = 12 * 3600;

/** For so many sessions: their tokens are made before anything is measured. */
export function createCredentials(sessions: number): Credentials {
  const header = toPart({ alg: "HS256", typ: "JWT" });
  const now = Math.floor(Date.now() / 1000);
  const lines = Array.from({ length: sessions }, (_, index) => {
    const signed = `${header}.${toPart({ sub: `user-${index}`, iat: now, exp: now + lifetimeSeconds })}`;
    const signature = createHmac("sha256", jwtSecret).update(signed).digest("base64url");
    return [`Authorization: Bearer ${signed}.${signature}`];
  });
  return {
    ofPublisher: [`Authorization: Bearer ${apiKey}`],
    ofSession: (index) => lines[index] ?? [],
  };
}

function toPart(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString("base64url");
}
