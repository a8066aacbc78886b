/**
 * The first thing that a new user sees: how to push, and a place to do it.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { TargetedMouseEvent, TargetedSubmitEvent } from "preact";
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { formatTime } from "./format.ts";
import { Id, Ids, SessionId, toIds } from "./id.tsx";
import { CopyButton, Snippet } from "./snippet.tsx";
import { type Call, type Target, toCurl, toPage, toTokenCurl } from "./snippets.ts";
import { TextField } from "./text-field.tsx";
import { Text } from "./text.tsx";
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
  const event = trial.event.value;
  const { needsToken } = trial;

  return (
    <section id="try" aria-labelledby="try-title">
      <div class="intro">
        <h2 id="try-title">Push a message to an open page</h2>
        <p>
          A page is open as a <b>user</b>, and listens as one of that user's <b>components</b>. Your back end
          makes one HTTP call, and every page that it is meant for gets the message. Push to:
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
            {/* The list itself would be read aloud message by message, thousands a second. */}
            <p class="unseen" role="status">
              {trial.said}
            </p>
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
              code={toPage({ origin: clientOrigin, userid, compid, event, needsToken })}
              {...(needsToken && {
                note: "/token stands for a call of your own back end, which knows who its user is.",
              })}
            />
            {hasKey && userid !== "" && (
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
    trial.connect();
  };
  const click = (event: TargetedMouseEvent<HTMLButtonElement>) => {
    const isRepeated = event.detail > 1;
    if (isOff && !isRepeated) return;
    // Who clicks twice has meant it once. And by the end of the click, the button may be one that submits.
    event.preventDefault();
    if (!isRepeated) trial.disconnect();
  };
  return (
    <form class="card step" onSubmit={submit}>
      <h3>Connect this page</h3>
      {trial.lacksToken && (
        <p class="hint">
          Pages need a token here, which comes from your own issuer: this server has no API key with which
          this page could get one, so it cannot connect as a user. Your own pages connect with their tokens,
          and pushing works.
        </p>
      )}
      <div class="fields">
        <TextField id="userid" label="User" value={trial.userid} isReadOnly={!isOff} />
        <TextField id="compid" label="Component" value={trial.compid} isReadOnly={!isOff} />
        {/* Enter in a field connects, and disconnects nobody. */}
        <button
          id="connect"
          type={isOff ? "submit" : "button"}
          class={isOff ? "primary" : ""}
          onClick={click}
        >
          {isOff ? "Connect" : "Disconnect"}
        </button>
      </div>
      <p id="connection" class={`state ${connection.kind}`} role="status">
        <ConnectionText connection={connection} />
      </p>
      {/* Its room is there before it is, so that nothing moves under the pointer. */}
      <p class={isOff ? "hint later" : "hint"}>
        {connection.kind === "open" && connection.session !== "" && (
          <>
            Session <SessionId id={connection.session} />.{" "}
          </>
        )}
        Disconnect to be somebody else.
      </p>
    </form>
  );
}

function ConnectionText({ connection }: { readonly connection: Connection }) {
  const { kind } = connection;
  if (kind === "open") {
    const { userid, compid, transport } = connection;
    const ids = toIds(userid, compid);
    return (
      <>
        Connected{ids.length > 0 && " as "}
        <Ids of={ids} />, over {transportNames[transport] ?? transport}
      </>
    );
  }
  if (connection.why === "") return <>{kind === "none" ? "Not connected" : "Connecting…"}</>;
  return <>{`${kind === "none" ? "Not connected" : "Connecting again"}: ${connection.why}`}</>;
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
  const isPushing = trial.isPushing.value;
  const outcome = trial.outcome.value;
  const isUnclaimed = outcome?.kind === "taken" && outcome.sessions === 0;
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
        <button id="push" class="primary" aria-busy={isPushing}>
          {isPushing ? "Pushing…" : "Push"}
        </button>
      </div>
      <p id="outcome" class={isUnclaimed ? "state unclaimed" : "state"} role="status">
        <OutcomeText outcome={outcome} isConnected={trial.connection.value.kind === "open"} />
      </p>
    </form>
  );
}

interface OutcomeTextProps {
  readonly outcome: Outcome | undefined;
  readonly isConnected: boolean;
}

function OutcomeText({ outcome, isConnected }: OutcomeTextProps) {
  if (outcome === undefined) return null;
  if (outcome.kind === "refused") return <span class="problem">{outcome.detail}</span>;
  const { sessions, id, call } = outcome;
  if (sessions === 0)
    return (
      <>
        No page is connected
        <Whom call={call} />. The message is kept for whoever comes back.
        {!isConnected && " Connect first to see it arrive."}
      </>
    );
  return (
    <>
      Sent to {sessions} {sessions === 1 ? "session" : "sessions"}, as {id}
    </>
  );
}

/** ` as 123 / inbox` */
function Whom({ call: { parameters } }: { readonly call: Call }) {
  const { userid, compid } = Object.fromEntries(parameters);
  if (userid === undefined && compid === undefined) return null;
  return (
    <>
      {userid === undefined ? " with the component " : " as "}
      <Ids of={userid === undefined ? toIds(compid) : toIds(userid, compid)} />
    </>
  );
}

function ReceivedList({ received }: { readonly received: ReadonlySignal<readonly Received[]> }) {
  if (received.value.length === 0)
    return <p class="hint">What is pushed to this page while it is connected is shown here.</p>;
  return (
    <ol id="received" class="messages" tabIndex={0} aria-labelledby="received-title">
      {received.value.map(({ key, at, event, text, id }) => (
        <li key={key}>
          <span class="about">
            <time dateTime={new Date(at).toISOString()}>{formatTime(at)}</time>
            {event !== "" && (
              <b>
                <Id text={event} />
              </b>
            )}
            <span>{id}</span>
          </span>
          <Text of={text} />
        </li>
      ))}
    </ol>
  );
}
