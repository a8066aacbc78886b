/**
 * Pushes that come from clients: over `push.v1`, with `--client-push`, and within what the claim `push` of the session's token names.
 *
 *   "push": ["*"]             to the session's own user: to all of it, or to any of its components
 *   "push": ["chat", "cur"]   to these components: of all users, or of the own one
 *
 * They are checked, kept and delivered as those of publishers are, and count at the same limits, each user by itself.
 */
import { maxIdBytes, toTopic } from "../address.ts";
import { PushError, quote } from "../errors.ts";
import type { Hub } from "../hub.ts";
import { checkBody, checkEvent, checkTtl, type Draft, maxEventBytes, maxKeyBytes } from "../message.ts";
import type { ClientFrame, ReceiptFrame } from "../protocol.ts";
import { checkName } from "../query.ts";
import { checkSessionId } from "../session.ts";
import type { WebSocketSession } from "./socket.ts";

export type PushFrame = Extract<ClientFrame, { readonly type: "push" }>;

export interface ClientPushParts {
  readonly hub: Hub;
  readonly isAllowed: boolean;
  /** The largest message, in bytes. */
  readonly maxMessage: number;
}

/** What stands in the claim for everything of the session's own user. */
const ownUser = "*";

export function createClientPush({ hub, isAllowed, maxMessage }: ClientPushParts) {
  /** @throws PushError what is wrong with it, or why it was not taken; as a rejection */
  return async (session: WebSocketSession, frame: PushFrame): Promise<ReceiptFrame> => {
    if (!isAllowed)
      throw new PushError("forbidden", "clients may not push here, expected a server with --client-push");
    const draft = toDraft(frame);
    checkScope(session, frame);
    const { id, sessions } = await hub.publish(draft, `client ${session.userid}`);
    return { type: "receipt", id, sessions, ...(frame.ref !== undefined && { ref: frame.ref }) };
  };

  function toDraft({ userid, compid, data, event, key, ttl, except }: PushFrame): Draft {
    checkBody(data, maxMessage);
    if (userid === undefined && compid === undefined)
      throw new PushError("missing_address", "no address is given, expected userid, compid or both");
    const ids = {
      ...(userid !== undefined && { userid: checkId("userid", userid, maxIdBytes) }),
      ...(compid !== undefined && { compid: checkId("compid", compid, maxIdBytes) }),
    };
    return {
      topic: toTopic(ids),
      body: data,
      ...(event !== undefined && { event: checkEvent(checkId("event", event, maxEventBytes)) }),
      ...(key !== undefined && { key: checkId("key", key, maxKeyBytes) }),
      ...(ttl !== undefined && { ttl: checkTtl(ttl) }),
      ...(except !== undefined && { except: checkSessionId("except", except) }),
    };
  }
}

function checkScope({ userid: own, mayPush = [] }: WebSocketSession, { userid, compid }: PushFrame): void {
  if (userid !== undefined && userid !== own)
    throw new PushError("forbidden", `userid is ${quote(userid)}, expected that of the session's token`);
  if (userid !== undefined && mayPush.includes(ownUser)) return;
  if (compid !== undefined && compid !== ownUser && mayPush.includes(compid)) return;
  throw new PushError(
    "forbidden",
    "the session's token does not let it push there, expected a claim push that names the component, or * for the own user",
  );
}

function checkId(name: string, id: string, limit: number): string {
  if (id === "") throw new PushError("empty_parameter", `${name} is empty, expected at least 1 byte`);
  if (!id.isWellFormed())
    throw new PushError(
      "invalid_parameter",
      `${name} has half of a surrogate pair, expected whole characters`,
    );
  checkName(name, id, limit);
  return id;
}
