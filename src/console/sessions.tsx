/**
 * Who is connected, and the end of it.
 */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { toDetail } from "./api.ts";
import { formatAge } from "./format.ts";
import { repeat } from "./repeat.ts";
import type { Session, SessionList } from "./session-list.ts";
import type { Trial } from "./trial.ts";

export interface SessionsProps {
  readonly sessions: SessionList;
  readonly trial: Trial;
}

const everyMs = 2000;

export function Sessions({ sessions, trial }: SessionsProps) {
  const chosen = useSignal<Session | undefined>(undefined);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const stop = repeat(everyMs, () => sessions.refresh());
    return () => {
      stop();
      sessions.forget();
    };
  }, []);
  const { userid, compid, problem, starts } = sessions;
  const page = sessions.page.value;
  const connection = trial.connection.value;
  const own = connection.kind === "open" ? connection.session : undefined;
  // Who connects here looks for it there.
  useEffect(() => void sessions.refresh(), [own]);
  const isFiltered = userid.value !== "" || compid.value !== "";
  return (
    <section id="sessions" aria-labelledby="sessions-title">
      <h2 id="sessions-title" ref={title} tabIndex={-1}>
        Sessions
      </h2>
      <div class="card">
        <form class="fields" role="search" aria-label="Sessions" onSubmit={(event) => event.preventDefault()}>
          <FilterField
            id="sessions-userid"
            label="User"
            value={userid.value}
            onChange={(text) => sessions.choose(text, compid.peek())}
          />
          <FilterField
            id="sessions-compid"
            label="Component"
            value={compid.value}
            onChange={(text) => sessions.choose(userid.peek(), text)}
          />
        </form>
        {problem.value !== "" && <p class="problem">The list is not the newest: {problem.value}</p>}
        <table aria-labelledby="sessions-title">
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Component</th>
              <th scope="col" class="wide">
                Over
              </th>
              <th scope="col" class="wide">
                Since
              </th>
              <th scope="col" class="wide">
                Address
              </th>
              <th scope="col" class="widest">
                Session
              </th>
              <th scope="col">
                <span class="unseen">Action</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {page?.sessions.map((session) => (
              <SessionRow
                key={session.id}
                session={session}
                isOwn={session.id === own}
                onDisconnect={() => (chosen.value = session)}
              />
            ))}
          </tbody>
        </table>
        {page?.sessions.length === 0 && (
          <p class="hint">{isFiltered ? "No session is of these." : "Nobody is connected."}</p>
        )}
        {(page?.next !== undefined || starts.value.length > 0) && (
          <p class="pages">
            <button type="button" disabled={starts.value.length === 0} onClick={() => sessions.previous()}>
              Earlier
            </button>
            <button type="button" disabled={page?.next === undefined} onClick={() => sessions.next()}>
              Later
            </button>
          </p>
        )}
      </div>
      {chosen.value !== undefined && (
        <DisconnectDialog
          session={chosen.value}
          sessions={sessions}
          onClose={() => (chosen.value = undefined)}
          // The button that it came from is gone with its session.
          onDisconnected={() => title.current?.focus()}
        />
      )}
    </section>
  );
}

interface FilterFieldProps {
  readonly id: string;
  readonly label: string;
  readonly value: string;
  readonly onChange: (text: string) => void;
}

function FilterField({ id, label, value, onChange }: FilterFieldProps) {
  return (
    <div class="field">
      <label for={id}>
        {label} <span class="hint">exactly</span>
      </label>
      <input
        id={id}
        type="search"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        value={value}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
    </div>
  );
}

interface SessionRowProps {
  readonly session: Session;
  /** It is this page's. */
  readonly isOwn: boolean;
  readonly onDisconnect: () => void;
}

function SessionRow({ session, isOwn, onDisconnect }: SessionRowProps) {
  const { id, userid, compid, transport, since, address } = session;
  return (
    <tr class={isOwn ? "own" : ""}>
      <td>
        {userid ?? none} {isOwn && <span class="badge">this page</span>}
      </td>
      <td>{compid ?? none}</td>
      <td class="wide">{transport}</td>
      <td class="wide">
        <time dateTime={since}>{formatAge(Date.now() - Date.parse(since))}</time>
      </td>
      <td class="wide">{address}</td>
      <td class="widest">
        <code>{id}</code>
      </td>
      <td>
        <button type="button" aria-label={`Disconnect ${describe(session)}`} onClick={onDisconnect}>
          Disconnect
        </button>
      </td>
    </tr>
  );
}

const none = <span class="hint">none</span>;

interface DisconnectDialogProps {
  readonly session: Session;
  readonly sessions: SessionList;
  readonly onClose: () => void;
  readonly onDisconnected: () => void;
}

function DisconnectDialog({ session, sessions, onClose, onDisconnected }: DisconnectDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const mayComeBack = useSignal(false);
  const problem = useSignal("");
  useEffect(() => dialog.current?.showModal(), []);

  const disconnect = async () => {
    try {
      await sessions.disconnect(session, mayComeBack.value);
      dialog.current?.close();
      onDisconnected();
    } catch (error) {
      problem.value = toDetail(error);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="disconnect-title" onClose={onClose}>
      <h2 id="disconnect-title">Disconnect {describe(session)}?</h2>
      <p>
        Session <code>{session.id}</code>, over {session.transport}, from {session.address}
      </p>
      <fieldset>
        <legend>Its client is told to</legend>
        <label class="choice">
          <input
            type="radio"
            name="back"
            checked={!mayComeBack.value}
            onChange={() => (mayComeBack.value = false)}
          />
          stay away (close code 4500)
        </label>
        <label class="choice">
          <input
            type="radio"
            name="back"
            checked={mayComeBack.value}
            onChange={() => (mayComeBack.value = true)}
          />
          come back (close code 4000)
        </label>
      </fieldset>
      <p class="problem" role="alert">
        {problem}
      </p>
      <p class="actions">
        <button type="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class="danger" onClick={disconnect}>
          Disconnect
        </button>
      </p>
    </dialog>
  );
}

function describe({ userid, compid, id }: Session): string {
  const parts = [
    ...(userid === undefined ? [] : [`user ${userid}`]),
    ...(compid === undefined ? [] : [`component ${compid}`]),
  ];
  return parts.length === 0 ? `session ${id}` : parts.join(", ");
}
