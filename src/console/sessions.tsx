/**
 * Who is connected, and the end of it.
 */
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Api, toDetail } from "./api.ts";
import { AsOf } from "./as-of.tsx";
import { formatAge, formatCount, toVisible } from "./format.ts";
import { Id, IdOrNone, SessionId } from "./id.tsx";
import { repeat } from "./repeat.ts";
import { type Page, pageSize, type Session, type SessionList } from "./session-list.ts";
import { TextField } from "./text-field.tsx";
import type { Connection, Trial } from "./trial.ts";
import type { Watch } from "./watch.ts";

export interface SessionsProps {
  readonly api: Api;
  readonly sessions: SessionList;
  readonly trial: Trial;
  readonly watch: Watch;
}

const everyMs = 2000;

export function Sessions({ api, sessions, trial, watch }: SessionsProps) {
  const chosen = useSignal<Session | undefined>(undefined);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const stop = repeat(everyMs, () => sessions.refresh());
    return () => {
      stop();
      sessions.forget();
    };
  }, []);
  const { userid, compid, problem } = sessions;
  const page = sessions.page.value;
  const own = toOwn(trial.connection.value);
  const shownOwn = useRef(own?.id);
  useEffect(() => {
    if (shownOwn.current === own?.id) return;
    shownOwn.current = own?.id;
    // Who connects here looks for it there.
    void sessions.refresh();
  }, [own?.id]);
  const isFiltered = page !== undefined && (page.userid !== "" || page.compid !== "");
  const pinned = own !== undefined && page !== undefined && isOf(own, page) ? own : undefined;
  const rows = page === undefined ? [] : pin(pinned, page.sessions);
  return (
    <section id="sessions" aria-labelledby="sessions-title">
      <h2 id="sessions-title" ref={title} tabIndex={-1}>
        Sessions <AsOf api={api} />
      </h2>
      <div class="card">
        <form class="fields" role="search" aria-label="Sessions" onSubmit={(event) => event.preventDefault()}>
          <TextField
            id="sessions-userid"
            label="User"
            hint="exact match"
            value={userid}
            onChange={() => sessions.choose()}
          />
          <TextField
            id="sessions-compid"
            label="Component"
            hint="exact match"
            value={compid}
            onChange={() => sessions.choose()}
          />
        </form>
        {problem.value !== "" && <p class="problem">{problem}</p>}
        <table aria-labelledby="sessions-title" aria-busy={page !== undefined && !sessions.isOfFilter.value}>
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Component</th>
              <th scope="col" class="wide">
                Transport
              </th>
              <th scope="col" class="wide">
                Connected for
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
            {rows.map((session) => (
              <SessionRow
                key={session.id}
                session={session}
                isOwn={session.id === own?.id}
                shownAt={api.shownAt}
                onDisconnect={() => (chosen.value = session)}
              />
            ))}
          </tbody>
        </table>
        {page === undefined && !api.isReachable.value && (
          <p class="hint">Who is connected is not known while the server does not answer.</p>
        )}
        {page !== undefined && rows.length === 0 && (
          <p class="hint">{isFiltered ? "No session matches." : "Nobody is connected."}</p>
        )}
        {page !== undefined && page.sessions.length > 0 && (
          <p class="pages">
            <span class="hint">
              {toPlace(page, isFiltered ? undefined : watch.figures.value?.sessions)}
              {rows.length > page.sessions.length && ", with this page on top"}
            </span>
            {(page.next !== undefined || page.starts.length > 0) && (
              <>
                {/* One that is disabled would lose the focus when it has led to the end. */}
                <button
                  type="button"
                  aria-disabled={page.starts.length === 0}
                  onClick={() => sessions.previous()}
                >
                  Earlier
                </button>
                <button type="button" aria-disabled={page.next === undefined} onClick={() => sessions.next()}>
                  Later
                </button>
              </>
            )}
          </p>
        )}
      </div>
      {chosen.value !== undefined && (
        <DisconnectDialog
          session={chosen.value}
          isOwn={chosen.value.id === own?.id}
          sessions={sessions}
          onClose={() => (chosen.value = undefined)}
          // The button that it came from is gone with its session.
          onDisconnected={() => title.current?.focus()}
        />
      )}
    </section>
  );
}

/** This page's session, as far as it knows itself. Over polls there is none that lasts. */
function toOwn(connection: Connection): Session | undefined {
  if (connection.kind !== "open" || connection.session === "") return undefined;
  const { session, transport, userid, compid, since } = connection;
  return {
    id: session,
    transport,
    since: new Date(since).toISOString(),
    ...(userid !== "" && { userid }),
    ...(compid !== "" && { compid }),
  };
}

/** Whether this session would be on such a page, or on one after or before it. */
function isOf(session: Session, { userid, compid }: Page): boolean {
  return (userid === "" || userid === session.userid) && (compid === "" || compid === session.compid);
}

/** This page's own session on top, though the list, which begins with the oldest, may have it pages later. */
function pin(own: Session | undefined, listed: readonly Session[]): readonly Session[] {
  if (own === undefined) return listed;
  const found = listed.find(({ id }) => id === own.id) ?? own;
  return [found, ...listed.filter((session) => session !== found)];
}

/**
 * `26–50 of 300`
 *
 * @param count of all sessions, where all are shown and that is known
 */
function toPlace({ sessions, next, starts }: Page, count: number | undefined): string {
  const first = starts.length * pageSize + 1;
  const last = first - 1 + sessions.length;
  // The last page says by itself how many there are; and the count is from another moment.
  const all = next === undefined ? last : Math.max(last + 1, count ?? 0);
  const isKnown = next === undefined || count !== undefined;
  return `${first}–${last} of ${isKnown ? formatCount(all) : "more"}`;
}

interface SessionRowProps {
  readonly session: Session;
  /** It is this page's. */
  readonly isOwn: boolean;
  /** Until when it is known to last. */
  readonly shownAt: number;
  readonly onDisconnect: () => void;
}

function SessionRow({ session, isOwn, shownAt, onDisconnect }: SessionRowProps) {
  const { id, userid, compid, transport, since, address } = session;
  return (
    <tr class={isOwn ? "own" : ""}>
      <td>
        <IdOrNone text={userid ?? ""} /> {isOwn && <span class="badge">this page</span>}
      </td>
      <td>
        <IdOrNone text={compid ?? ""} />
      </td>
      <td class="wide">{transport}</td>
      <td class="wide">
        <time dateTime={since}>{formatAge(shownAt - Date.parse(since))}</time>
      </td>
      <td class="wide">{address ?? "–"}</td>
      <td class="widest">
        <SessionId id={id} />
      </td>
      <td>
        <button type="button" aria-label={`Disconnect ${toName(session)}`} onClick={onDisconnect}>
          Disconnect
        </button>
      </td>
    </tr>
  );
}

interface DisconnectDialogProps {
  readonly session: Session;
  readonly isOwn: boolean;
  readonly sessions: SessionList;
  readonly onClose: () => void;
  readonly onDisconnected: () => void;
}

function DisconnectDialog(props: DisconnectDialogProps) {
  const { session, isOwn, sessions, onClose, onDisconnected } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const mayComeBack = useSignal(false);
  const isEnding = useSignal(false);
  const problem = useSignal("");
  useEffect(() => dialog.current?.showModal(), []);

  const disconnect = async () => {
    if (isEnding.value) return;
    isEnding.value = true;
    problem.value = "";
    try {
      await sessions.disconnect(session, mayComeBack.value);
    } catch (error) {
      problem.value = toDetail(error);
      return;
    } finally {
      isEnding.value = false;
    }
    // Who has closed it meanwhile is somewhere else.
    if (dialog.current === null) return;
    dialog.current.close();
    onDisconnected();
  };
  return (
    <dialog ref={dialog} aria-labelledby="disconnect-title" onClose={onClose}>
      <h2 id="disconnect-title">
        Disconnect <Named session={session} />?
      </h2>
      <p>
        Session <SessionId id={session.id} />, over {session.transport}
        {session.address !== undefined && `, from ${session.address}`}
        {isOwn && ": this page"}
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
        <button type="button" class="danger" aria-busy={isEnding.value} onClick={disconnect}>
          {isEnding.value ? "Disconnecting…" : "Disconnect"}
        </button>
      </p>
    </dialog>
  );
}

/** With ids that cannot reach into the words around them. */
function Named({ session }: { readonly session: Session }) {
  return toNames(session).map(([what, id], index) => (
    <Fragment key={what}>
      {index > 0 && ", "}
      {what} {what === "session" ? <SessionId id={id} /> : <Id text={id} />}
    </Fragment>
  ));
}

/** `user 123, component inbox` */
function toName(session: Session): string {
  return toNames(session)
    .map(([what, id]) => `${what} ${toVisible(id)}`)
    .join(", ");
}

/** What people call it by: its own id only where it is nobody's. */
function toNames({ userid, compid, id }: Session): readonly (readonly [what: string, id: string])[] {
  const names: [string, string][] = [];
  if (userid !== undefined) names.push(["user", userid]);
  if (compid !== undefined) names.push(["component", compid]);
  return names.length === 0 ? [["session", id]] : names;
}
