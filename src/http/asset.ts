/**
 * A text that browsers load: a page, a script, a style.
 */
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { securityHeaders } from "../headers.ts";

/** RFC 9110 section 12.5.3: a weight of nought refuses it. */
const takesGzip = /(^|[\s,])(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*(,|$))|,|$)/i;

const maxSmall = 10_000;

/** Hashed and compressed when a browser asks for it first, and not at the start, which is to be fast. */
export class Asset {
  readonly #text: string;
  readonly #type: string;
  #hash: string | undefined = undefined;
  #compressed: Promise<Uint8Array<ArrayBuffer>> | undefined = undefined;

  constructor(text: string, type: string) {
    this.#text = text;
    this.#type = type;
  }

  async answer({ headers }: Request, more: Readonly<Record<string, string>> = {}): Promise<Response> {
    const isCompressed = takesGzip.test(headers.get("accept-encoding") ?? "");
    this.#hash ??= createHash("sha256").update(this.#text).digest("base64url").slice(0, 16);
    // What is compressed is another representation (RFC 9110 section 8.8.3).
    const tag = `"${this.#hash}${isCompressed ? "-gzip" : ""}"`;
    const common = {
      ...securityHeaders,
      ...more,
      // A browser that has it asks whether it is still the same.
      "Cache-Control": "no-cache",
      ETag: tag,
      Vary: "Accept-Encoding",
    };
    if (isNamed(tag, headers.get("if-none-match")))
      return new Response(null, { status: 304, headers: common });
    const body = isCompressed ? await (this.#compressed ??= compress(this.#text)) : this.#text;
    return new Response(body, {
      headers: {
        ...common,
        "Content-Type": `${this.#type}; charset=utf-8`,
        ...(isCompressed && { "Content-Encoding": "gzip" }),
      },
    });
  }
}

/** The best there is takes a millisecond of everybody's time for a small text, and 20 for the console. */
async function compress(text: string): Promise<Uint8Array<ArrayBuffer>> {
  if (text.length <= maxSmall) return Bun.gzipSync(text, { library: "libdeflate", level: 12 });
  return new Uint8Array(await promisify(gzip)(text, { level: 9 }));
}

/** Whether a list of tags has this one: what stands between may have made it a weak one, which is as good here. */
function isNamed(tag: string, list: string | null): boolean {
  return (
    list?.split(",").some((one) => one.trim().replace(/^W\//, "") === tag || one.trim() === "*") === true
  );
}
