/**
 * A text that browsers load, and may keep as long as it is the same.
 */
import { securityHeaders } from "../headers.ts";

/** Gives what answers a request for it; what that needs is made with the first one. */
export function createAsset(
  text: string,
  more: Readonly<Record<string, string>>,
): (request: Request) => Response {
  let made:
    | {
        readonly etag: string;
        readonly bytes: Uint8Array<ArrayBuffer>;
        readonly gzipped: Uint8Array<ArrayBuffer>;
      }
    | undefined;
  return (request) => {
    made ??= {
      etag: `"${Bun.hash(text).toString(36)}"`,
      bytes: new TextEncoder().encode(text),
      gzipped: Bun.gzipSync(text, { level: 9 }),
    };
    const headers = {
      ...securityHeaders,
      "Cache-Control": "no-cache",
      ETag: made.etag,
      Vary: "Accept-Encoding",
      ...more,
    };
    // A proxy that compresses may have made it a weak one.
    if (request.headers.get("if-none-match")?.includes(made.etag) === true)
      return new Response(null, { status: 304, headers });
    return takesGzip(request)
      ? new Response(made.gzipped, { headers: { ...headers, "Content-Encoding": "gzip" } })
      : new Response(made.bytes, { headers });
  };
}

/** RFC 9110 section 12.5.3; a weight of nought refuses it. */
function takesGzip(request: Request): boolean {
  const accepted = request.headers.get("accept-encoding") ?? "";
  return /(^|[\s,])(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*(,|$))|,|$)/i.test(accepted);
}
