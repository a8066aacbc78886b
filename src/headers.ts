/**
 * What every answer says to browsers beside what it is: with these, none of it can be made to run as a page or a script.
 */
export const securityHeaders = {
  // Some guess what a body is, and would run a message that looks like a script.
  "X-Content-Type-Options": "nosniff",
  // A query may hold a message or a token.
  "Referrer-Policy": "no-referrer",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
} as const;

/** The same for what is true at this moment only, or is for nobody but who has asked. */
export const unkeptHeaders = { ...securityHeaders, "Cache-Control": "no-store" } as const;
