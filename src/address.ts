/**
 * Whom a message is for, and the name that an address has as a native WebSocket topic. Pure.
 *
 *   { userid: "7", compid: "inbox" }   the component `inbox` of user 7      "b1:7inbox"
 *   { userid: "7" }                    everything of user 7                 "u7"
 *   { compid: "inbox" }                the component `inbox` of everyone    "cinbox"
 *   {}                                 everyone                             "a"
 *
 * The name is an injective function of the address, whatever the ids contain. A separator would not do: with "a:b" and
 * "c" against "a" and "b:c", one user would read another's messages. So a pair carries the length of its first part,
 * and `fromTopic` gives back what `toTopic` was given, which is the proof.
 */
export interface Address {
  readonly userid?: string;
  readonly compid?: string;
}

/** The longest `userid` or `compid`, in bytes of UTF-8. */
export const maxIdBytes = 128;

/** What everyone listens to. */
export const topicOfAll = "a";

/** The topic of the messages for exactly this address. */
export function toTopic({ userid, compid }: Address): string {
  if (userid !== undefined && compid !== undefined) return `b${userid.length}:${userid}${compid}`;
  if (userid !== undefined) return `u${userid}`;
  if (compid !== undefined) return `c${compid}`;
  return topicOfAll;
}

/** The address that `toTopic` made this topic of. */
export function fromTopic(topic: string): Address {
  const rest = topic.slice(1);
  switch (topic[0]) {
    case "u":
      return { userid: rest };
    case "c":
      return { compid: rest };
    case "b": {
      const start = rest.indexOf(":") + 1;
      const end = start + Number.parseInt(rest, 10);
      return { userid: rest.slice(start, end), compid: rest.slice(end) };
    }
    default:
      return {};
  }
}

/** The topics of a session that connects with these ids: up to four, and always that of all. */
export function topicsOf({ userid, compid }: Address): string[] {
  const topics = [topicOfAll];
  if (userid !== undefined) topics.push(toTopic({ userid }));
  if (compid !== undefined) topics.push(toTopic({ compid }));
  if (userid !== undefined && compid !== undefined) topics.push(toTopic({ userid, compid }));
  return topics;
}
