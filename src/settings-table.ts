/**
 * The settings: one table, from which come the flags, the environment, the file, the help and the README's table. To add one, add a
 * row.
 */
import { eventTypes } from "./event-types.ts";
import type { kinds } from "./kinds.ts";

interface Row {
  readonly name: string;
  readonly kind: keyof typeof kinds;
  readonly default: string;
  readonly help: string;
}

export const settingsTable = [
  {
    name: "host",
    kind: "host",
    default: "127.0.0.1",
    help: "The address to listen on; one that is not loopback needs an API key, or --insecure",
  },
  { name: "port", kind: "port", default: "8888", help: "The port to listen on; 0 takes any that is free" },
  {
    name: "api-port",
    kind: "portOrNone",
    default: "none",
    help: "A port of their own for publishers' and operators' calls; clients' calls stay on --port",
  },
  {
    name: "api-host",
    kind: "host",
    default: "127.0.0.1",
    help: "The address of --api-port; one that is not loopback needs an API key, or --insecure",
  },
  {
    name: "tls-cert",
    kind: "path",
    default: "",
    help: "The certificate and its chain (PEM), for HTTPS and wss; a renewed one is taken within a minute, or on SIGHUP",
  },
  {
    name: "tls-key",
    kind: "path",
    default: "",
    help: "The private key of --tls-cert (PEM)",
  },
  {
    name: "http2",
    kind: "switch",
    default: "false",
    help: "Speak HTTP/2 too, so that a browser may have more than six event streams; needs --tls-cert",
  },
  {
    name: "insecure",
    kind: "switch",
    default: "false",
    help: "Listen on any address although anyone who reaches it may push and listen",
  },
  {
    name: "api-key",
    kind: "keys",
    default: "",
    help: "What a push has to bring, as Authorization: Bearer KEY; several are all valid, so that one can replace another",
  },
  {
    name: "api-key-file",
    kind: "path",
    default: "",
    help: "A file with more API keys, a line each; it is read again on SIGHUP",
  },
  {
    name: "jwt-secret",
    kind: "secret",
    default: "",
    help: "What clients' tokens are signed with (HS256); without it, a secret that is derived from the API keys",
  },
  {
    name: "jwks",
    kind: "path",
    default: "",
    help: "The URL or the file of an issuer's public keys, for tokens of RS256, PS256, ES256, ES384 or EdDSA",
  },
  {
    name: "jwt-issuer",
    kind: "name",
    default: "",
    help: "The iss that a token must have",
  },
  {
    name: "jwt-audience",
    kind: "name",
    default: "",
    help: "The aud that a token must have",
  },
  {
    name: "jwt-leeway",
    kind: "duration",
    default: "30s",
    help: "By how much the clocks of issuers may be ahead of this one",
  },
  {
    name: "max-token-time",
    kind: "lifetime",
    default: "24h",
    help: "How far away the end of a token may be at the most",
  },
  {
    name: "anonymous",
    kind: "switch",
    default: "false",
    help: "Let clients without a token listen to what is pushed to all, where others need one",
  },
  {
    name: "client-push",
    kind: "switch",
    default: "false",
    help: "Let clients of push.v1 push, within what the claim push of their tokens names",
  },
  {
    name: "allow-origin",
    kind: "origins",
    default: "",
    help: "The origins of pages that may connect, beside those of the same host",
  },
  {
    name: "public-metrics",
    kind: "switch",
    default: "false",
    help: "Show /metrics without an API key",
  },
  {
    name: "public-docs",
    kind: "switch",
    default: "false",
    help: "Show the API's document, /swagger/json, without an API key",
  },
  {
    name: "max-message",
    kind: "buffer",
    default: "64KiB",
    help: "The largest message, pushed or from a client; larger is 413, or close code 1009",
  },
  {
    name: "max-push-rate",
    kind: "rateOrNone",
    default: "0",
    help: "How many messages an API key may push in a second, ten times as many at once; more are refused with 429",
  },
  {
    name: "max-sessions",
    kind: "count",
    default: "100000",
    help: "The most sessions at once, at most 9 in 10 of the open files allowed; one more is refused with 503",
  },
  {
    name: "max-sessions-per-user",
    kind: "count",
    default: "1000",
    help: "The most sessions of one user; one more is refused with 429",
  },
  {
    name: "max-sessions-per-address",
    kind: "count",
    default: "2000",
    help: "The most sessions from one address (IPv6: one /64), but of this machine; one more is refused with 429",
  },
  {
    name: "max-session-rate",
    kind: "rate",
    default: "50",
    help: "How many sessions an address may begin in a second, ten times as many at once; more are refused with 429",
  },
  {
    name: "max-receive-rate",
    kind: "rate",
    default: "50",
    help: "How many messages a session may send in a second, ten times as many at once; more are refused, or end it with 1008",
  },
  {
    name: "trusted-proxies",
    kind: "networks",
    default: "",
    help: "The proxies whose Forwarded or X-Forwarded-For says which address a client has",
  },
  {
    name: "max-queued",
    kind: "buffer",
    default: "1MiB",
    help: "What may wait for a session that reads slowly, at least --max-message; over it, the session is dropped",
  },
  {
    name: "ping",
    kind: "ping",
    default: "25s",
    help: "How often every session is pinged; one that has not answered by the next ping is dropped",
  },
  {
    name: "http-timeout",
    kind: "seconds",
    default: "30s",
    help: "An HTTP connection that is silent for about this long is closed, and one whose body takes longer to come",
  },
  {
    name: "drain",
    kind: "duration",
    default: "8s",
    help: "How long stopping may take: sessions are closed in batches, requests in flight are answered",
  },
  {
    name: "data",
    kind: "path",
    default: "",
    help: "The file that the journal is kept in, so that it survives the end of the process; without it, it is in memory",
  },
  {
    name: "retain-time",
    kind: "duration",
    default: "10m",
    help: "How long the journal keeps a message at the most",
  },
  {
    name: "retain-bytes",
    kind: "bytes",
    default: "64MiB",
    help: "What the journal's messages may take in memory, or in the file; and the events, as much again",
  },
  {
    name: "retain-count",
    kind: "countOrNone",
    default: "100000",
    help: "How many messages the journal keeps at the most; with 0 nothing can be replayed",
  },
  {
    name: "max-idempotency-keys",
    kind: "count",
    default: "100000",
    help: "How many idempotency keys are remembered for five minutes, 100 messages of a batch as one; the oldest go first",
  },
  {
    name: "max-receipt-waits",
    kind: "count",
    default: "10000",
    help: "How many pushes may wait for a client's receipt at once; one more is refused with 429",
  },
  {
    name: "webhook",
    kind: "urls",
    default: "",
    help: "Where events are posted to: what clients send, who comes and goes, what found nobody",
  },
  {
    name: "webhook-secret",
    kind: "webhookSecrets",
    default: "",
    help: "What webhooks are signed with (Standard Webhooks); with several, each signs, so that one can replace another",
  },
  {
    name: "webhook-events",
    kind: "eventTypes",
    default: eventTypes.join(","),
    help: "The types of events that are posted",
  },
  {
    name: "webhook-timeout",
    kind: "duration",
    default: "10s",
    help: "How long a webhook may take to answer; after that the event is posted again",
  },
  {
    name: "webhook-retry-time",
    kind: "duration",
    default: "24h",
    help: "For how long an event is posted again, at growing intervals, when a webhook does not take it",
  },
  {
    name: "max-webhook-queue",
    kind: "bytes",
    default: "64MiB",
    help: "What may wait for a webhook; over it the oldest of coming and going, then unclaimed, go, then messages are refused",
  },
  {
    name: "retain-events",
    kind: "countOrNone",
    default: "10000",
    help: "How many events are kept for who resumes, for at most 24 hours; with --data a hundred times as many",
  },
  {
    name: "max-batch",
    kind: "buffer",
    default: "4MiB",
    help: "The largest body of a batch; larger is 413",
  },
  {
    name: "max-batch-count",
    kind: "count",
    default: "10000",
    help: "The most messages in a batch; more are 413",
  },
  {
    name: "log-level",
    kind: "level",
    default: "info",
    help: "The least severe level that is logged",
  },
  {
    name: "log-format",
    kind: "format",
    default: "auto",
    help: "How it is logged; auto is text in a terminal, else json",
  },
] as const satisfies readonly Row[];
