/**
 * One event in one request, as *Standard Webhooks* (standardwebhooks.com) has them, and what a back end's answer means: a status of
 * 2xx has taken it, everything else has not.
 */
import { createHmac } from "node:crypto";

/** A back end that is called. */
export interface Target {
  readonly url: string;
  /** What the requests are signed with, each; without any they are not. */
  readonly secrets: readonly Uint8Array[];
  /** How long an answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** The largest answer that is a message, in bytes. */
  readonly maxReply: number;
}

export interface Letter {
  readonly id: string;
  readonly json: string;
  /** Whether the body of an answer 200 is a message for somebody. */
  readonly wantsReply: boolean;
}

export type Answer = Taken | Refusal;

export interface Taken {
  readonly isTaken: true;
  readonly reply?: string;
  /** Why there is no reply, although the back end gave one. */
  readonly unusable?: string;
}

export interface Refusal {
  readonly isTaken: false;
  /** In words for the log: without anything of the URL, which may have a secret in it. */
  readonly reason: string;
  /** Whether the back end is there and does not like this very event: others it may take. */
  readonly isOfEvent: boolean;
  /** How long the back end wants to be left alone, in milliseconds. */
  readonly retryAfterMs?: number;
}

export async function post(target: Target, letter: Letter, controller: AbortController): Promise<Answer> {
  const { url, timeoutMs } = target;
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: toHeaders(target, letter),
      body: letter.json,
      // Not followed: the receiver of what clients send is the one that was named.
      redirect: "manual",
      // A body that unpacks to a thousand times its size would be unpacked before it is measured.
      decompress: false,
      signal: controller.signal,
    });
    if (response.ok && response.status === 200 && letter.wantsReply)
      return await readReply(response, target.maxReply);
    // What is left unread keeps a connection from being used again, or is without end.
    await response.body?.cancel();
    return response.ok ? { isTaken: true } : toRefusal(response);
  } catch (error) {
    return {
      isTaken: false,
      isOfEvent: false,
      reason: controller.signal.aborted ? `no answer within ${timeoutMs} ms` : explain(error),
    };
  } finally {
    clearTimeout(timer);
  }
}

function toHeaders({ secrets }: Target, { id, json }: Letter): Record<string, string> {
  const timestamp = String(Math.floor(Date.now() / 1000));
  // Over all secrets, so that one can be replaced by another.
  const signatures = secrets.map(
    (secret) => `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.${json}`).digest("base64")}`,
  );
  return {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "server-push",
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    ...(signatures.length > 0 && { "webhook-signature": signatures.join(" ") }),
  };
}

function toRefusal({ status, headers }: Response): Refusal {
  const retryAfterMs = toRetryAfter(headers.get("retry-after"));
  return {
    isTaken: false,
    reason: `it answered ${status}`,
    isOfEvent: status < 500 && !passing.has(status),
    ...(retryAfterMs > 0 && { retryAfterMs }),
  };
}

/** Too slow, too early, too many: that is no word about the event. */
const passing = new Set([408, 425, 429]);

/** Seconds, or a date (RFC 9110 section 10.2.3); 0 for anything else. */
function toRetryAfter(text: string | null): number {
  if (text === null) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? 0 : ms;
}

async function readReply(response: Response, limit: number): Promise<Taken> {
  const encoding = response.headers.get("content-encoding") ?? "identity";
  const length = response.headers.get("content-length");
  const isTooLong = length !== null && Number(length) > limit;
  if (encoding !== "identity" || isTooLong) {
    await response.body?.cancel();
    return { isTaken: true, unusable: isTooLong ? toTooLong(limit) : "it is compressed" };
  }
  // Also where it says how long it is: beside chunks, of which there may be any number, Content-Length means nothing (RFC 9112 section 6.3).
  const bytes = await readUpTo(response, limit);
  if (bytes === undefined) return { isTaken: true, unusable: toTooLong(limit) };
  const reply = toText(bytes);
  return reply === undefined ? { isTaken: true, unusable: "it is not UTF-8" } : { isTaken: true, reply };
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** `undefined` for what is no text: with the wrong bytes replaced, it would be a message that nobody has written. */
function toText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function toTooLong(limit: number): string {
  return `it is longer than ${limit} bytes`;
}

/** The body, or `undefined` when it is longer. Leaving the loop closes the connection, so that of an endless one only as much is read. */
async function readUpTo(response: Response, limit: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What went wrong, by its code: the messages of `fetch` have the whole URL in them, or advice for whoever wrote the program. */
function explain(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const [, words] = causes.find(([start]) => code.startsWith(start)) ?? [];
  if (words !== undefined) return `${words} (${code})`;
  return code === "" ? "the request failed" : `the request failed (${code})`;
}

const causes: readonly (readonly [code: string, words: string])[] = [
  ["ECONNREFUSED", "nothing listens there"],
  ["ECONNRESET", "it closed the connection without an answer"],
  ["ENOTFOUND", "its host name is not known"],
  ["EAI_", "its host name cannot be looked up"],
  ["EPROTO", "it does not speak TLS"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is signed by itself"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "its certificate is signed by an authority that is not known here"],
  ["UNABLE_TO_", "its certificate is signed by an authority that is not known here"],
  ["CERT_HAS_EXPIRED", "its certificate has expired"],
  ["CERT_NOT_YET_VALID", "its certificate is not valid yet"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "its certificate is for another name"],
];
