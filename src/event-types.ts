/**
 * What can happen that a back end may want to know.
 */
export const eventTypes = [
  "session.opened",
  "session.closed",
  "message.received",
  "message.unclaimed",
  "user.online",
  "user.offline",
] as const;

export type EventType = (typeof eventTypes)[number];
