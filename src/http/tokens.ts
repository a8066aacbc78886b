/**
 * Tokens for pages: a back end that has checked who somebody is asks for one, and gives it to the page to connect with.
 */
import { Elysia } from "elysia";
import { maxIdBytes } from "../address.ts";
import type { Access } from "../auth/access.ts";
import { maxPushNames } from "../auth/client.ts";
import { PushError, quote } from "../errors.ts";
import { unkeptHeaders } from "../headers.ts";
import { checkName, readQuery } from "../query.ts";
import { describeTokens } from "./openapi.ts";

export interface TokenRoutesParts {
  readonly access: Access;
  /** How far away the end of a token may be, in milliseconds. */
  readonly maxTokenTime: number;
}

/** How long a token is good for when nobody says, in seconds. */
const usualSeconds = 3600;

const tokenParameters = ["userid", "compid", "expires", "push"] as const;

function readPush(text: string): readonly string[] {
  const names = text.split(",");
  if (names.length > maxPushNames)
    throw new PushError(
      "invalid_parameter",
      `parameter push has ${names.length} components, the limit is ${maxPushNames}`,
    );
  for (const name of names) {
    if (name === "")
      throw new PushError(
        "invalid_parameter",
        "parameter push has an empty name, expected components with commas between",
      );
    checkName("parameter push", name, maxIdBytes);
  }
  return names;
}

export function tokenRoutes({ access, maxTokenTime }: TokenRoutesParts) {
  const mostSeconds = Math.floor(maxTokenTime / 1000);

  return new Elysia().post(
    "/tokens",
    async ({ request }) => {
      access.checkPublisher(request);
      const { userid, compid, expires, push } = readQuery(request.url, tokenParameters);
      if (userid === undefined)
        throw new PushError("missing_parameter", "parameter userid is missing, expected whose token it is");
      const seconds = readSeconds(expires);
      const token = await access.mint({
        userid,
        lifetimeMs: seconds * 1000,
        ...(compid !== undefined && { compid }),
        ...(push !== undefined && { push: readPush(push) }),
      });
      return new Response(JSON.stringify({ token, expires: seconds }), {
        headers: { ...unkeptHeaders, "Content-Type": "application/json" },
      });
    },
    { parse: "none", detail: describeTokens() },
  );

  function readSeconds(text: string | undefined): number {
    if (text === undefined) return Math.min(usualSeconds, mostSeconds);
    const seconds = /^\d{1,9}$/.test(text) ? Number(text) : 0;
    if (seconds >= 1 && seconds <= mostSeconds) return seconds;
    throw new PushError(
      "invalid_parameter",
      `parameter expires is ${quote(text)}, expected whole seconds from 1 to ${mostSeconds}`,
    );
  }
}
