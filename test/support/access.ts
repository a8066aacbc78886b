/**
 * What a route asks who may do what, for tests of a route alone: everybody may.
 */
import { Access } from "../../src/auth/access.ts";

export function openAccess(): Access {
  return new Access({
    keys: [],
    tokens: undefined,
    anonymous: false,
    allowedOrigins: [],
    isLoopback: true,
    publicMetrics: false,
    publicDocs: false,
  });
}
