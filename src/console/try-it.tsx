/**
 * The first thing that a new user sees: how to push, and a place to do it.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { TargetedSubmitEvent } from "preact";
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { toSubject } from "./events.ts";
import { formatTime } from "./format.ts";
import { CopyButton, Snippet } from "./snippet.tsx";
import { type Target, toCurl, toPage, toTokenCurl } from "./snippets.ts";
import { TextField } from "./text-field.tsx";
import type { Connection, Outcome, Received, Trial } from "./trial.ts";

export interface TryItProps {
  readonly trial: Trial;
  readonly api: Api;
  readonly clientOrigin: string;
}

export function TryIt({ trial, api, clientOrigin }: TryItProps) {
  const { hasKey } = api;
  const { origin } = location;
  useEffect(() => () => trial.end(), []);
  const userid = trial.userid.value;
  const compid = trial.compid.value;

  return (
    <section id="try" aria-labelledby="try-title">
      <div class="intro">
        <h2 id="try-title">Push a message to an open page</h2>
        <p>
          A page is open as a <b>user</b>, and listens for a <b>component</b> of it. Your back end makes one
          HTTP call, and every page it is for has the message. Push to:
        </p>
        <p class="address">
          <code>{origin}/push</code>
          <CopyButton text={`${origin}/push`} what="the address to push to" />
        </p>
      </div>
      <div class="columns">
        <div class="column">
          <ConnectStep trial={trial} />
          <PushStep trial={trial} />
        </div>
        <div class="column">
          <div class="card step">
            <h3 id="received-title">See it arrive</h3>
            <ReceivedList received={trial.received} />
          </div>
          <div class="card">
            <Snippet
              id="curl"
              title="The same push, from a shell"
              code={toCurl(origin, trial.call.value, hasKey)}
            />
            <Snippet
              id="page"
              title="Listening, in a page of yours"
              code={toPage({ origin: clientOrigin, userid, compid, event: trial.event.value, hasKey })}
              {...(hasKey && {
                note: "/token stands for a call of your own back end, which knows who its user is.",
              })}
            />
            {hasKey && (
              <Snippet
                id="token"
                title="The token, which your back end asks for"
                code={toTokenCurl(origin, userid)}
              />
            )}
          </div>
        </div>
      </div>
    </section>
  );
}

function ConnectStep({ trial }: { readonly trial: Trial }) {
  const connection = trial.connection.value;
  const isOff = connection.kind === "none";
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (isOff) trial.connect();
    else trial.disconnect();
  };
  return (
    <form class="card step" onSubmit={submit}>
      <h3>Connect this page</h3>
      <div class="fields">
        <TextField id="userid" label="User" value={trial.userid} />
        <TextField id="compid" label="Component" value={trial.compid} />
        <button id="connect" class={isOff ? "primary" : ""}>
          {isOff ? "Connect" : "Disconnect"}
        </button>
      </div>
      <p id="connection" class={`state ${connection.kind}`} role="status">
        {describeConnection(connection)}
      </p>
    </form>
  );
}

function describeConnection(connection: Connection): string {
  switch (connection.kind) {
    case "open": {
      const { userid, compid, transport, session } = connection;
      const subject = toSubject(userid, compid);
      return `Connected${subject === "" ? "" : ` as ${subject}`}, over ${transportNames[transport] ?? transport}, session ${session}`;
    }
    case "connecting":
      return connection.why === "" ? "Connecting…" : `Connecting again: ${connection.why}`;
    case "none":
      return connection.why === "" ? "Not connected" : `Not connected: ${connection.why}`;
  }
}

const transportNames: Readonly<Record<string, string>> = {
  websocket: "a WebSocket",
  sse: "Server-Sent Events",
  poll: "long poll",
};

const targets: readonly (readonly [Target, string])[] = [
  ["both", "This component of the user"],
  ["user", "The user, everywhere"],
  ["component", "This component of everybody"],
  ["all", "Everybody"],
];

function PushStep({ trial }: { readonly trial: Trial }) {
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    void trial.push();
  };
  return (
    <form class="card step" onSubmit={submit}>
      <h3>Push to it</h3>
      <label for="message">Message</label>
      <textarea
        id="message"
        rows={2}
        spellcheck={false}
        value={trial.message.value}
        onInput={({ currentTarget }) => (trial.message.value = currentTarget.value)}
      />
      <fieldset>
        <legend>To</legend>
        {targets.map(([target, title]) => (
          <label key={target} class="choice">
            <input
              type="radio"
              name="target"
              value={target}
              checked={trial.target.value === target}
              onChange={() => (trial.target.value = target)}
            />
            {title}
          </label>
        ))}
      </fieldset>
      <div class="fields">
        <TextField id="event" label="Event name" hint="optional" value={trial.event} />
        <button id="push" class="primary">
          Push
        </button>
      </div>
      <p id="outcome" class="state" role="status">
        <OutcomeText outcome={trial.outcome.value} />
      </p>
    </form>
  );
}

function OutcomeText({ outcome }: { readonly outcome: Outcome | undefined }) {
  if (outcome === undefined) return null;
  if (outcome.kind === "refused") return <span class="problem">{outcome.detail}</span>;
  const { sessions, id } = outcome;
  if (sessions === 0) return <>Nobody is there to get it: it is kept for who comes back, as {id}</>;
  return (
    <>
      Sent to {sessions} {sessions === 1 ? "session" : "sessions"}, as {id}
    </>
  );
}

function ReceivedList({ received }: { readonly received: ReadonlySignal<readonly Received[]> }) {
  if (received.value.length === 0)
    return <p class="hint">What is pushed to this page while it is connected is shown here.</p>;
  return (
    <ol
      id="received"
      class="messages"
      tabIndex={0}
      aria-labelledby="received-title"
      aria-live="polite"
      aria-relevant="additions"
    >
      {received.value.map(({ key, at, subject, text, id }) => (
        <li key={key}>
          <span class="about">
            <time dateTime={new Date(at).toISOString()}>{formatTime(at)}</time>
            {subject !== "" && <b>{subject}</b>}
            <span>{id}</span>
          </span>
          <span class="text">{text}</span>
        </li>
      ))}
    </ol>
  );
}
