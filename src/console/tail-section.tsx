/**
 * What happens, as it happens.
 */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { AsOf } from "./as-of.tsx";
import { followEvents } from "./events.ts";
import { formatCount, formatTime } from "./format.ts";
import { Id, Ids } from "./id.tsx";
import { maxRows, type Row, type Tail } from "./tail.ts";
import { TextField } from "./text-field.tsx";
import { Text } from "./text.tsx";

/** The kinds of what the server tells, and the messages that this page gets. */
const kinds = [
  "message",
  "session.opened",
  "session.closed",
  "user.online",
  "user.offline",
  "message.received",
  "message.unclaimed",
] as const;

export function TailSection({ api, tail }: { readonly api: Api; readonly tail: Tail }) {
  const problem = useSignal("");
  useEffect(() => {
    const stop = followEvents(
      api,
      (happening) => tail.add(happening),
      (detail) => (problem.value = detail),
    );
    return () => {
      stop();
      tail.clear();
    };
  }, []);
  const isPaused = tail.isPaused.value;
  const isFiltered = tail.kind.value !== "" || tail.filter.value !== "";
  const rows = tail.shown.value;
  return (
    <section id="events" aria-labelledby="events-title">
      <h2 id="events-title">
        Events and messages <AsOf api={api} />
      </h2>
      <div class="card">
        <form class="fields" role="search" aria-label="Events" onSubmit={(event) => event.preventDefault()}>
          <TextField id="events-filter" label="Filter" hint="any text" value={tail.filter} />
          <div class="field">
            <label for="events-kind">Kind</label>
            <select
              id="events-kind"
              value={tail.kind.value}
              onChange={({ currentTarget }) => (tail.kind.value = currentTarget.value)}
            >
              <option value="">all</option>
              {kinds.map((kind) => (
                <option key={kind} value={kind}>
                  {kind === "message" ? "message to this page" : kind}
                </option>
              ))}
            </select>
          </div>
          <button
            type="button"
            aria-pressed={isPaused}
            onClick={() => (isPaused ? tail.resume() : tail.pause())}
          >
            {isPaused ? "Go on" : "Pause"}
          </button>
          <button type="button" onClick={() => tail.clear()}>
            Clear
          </button>
        </form>
        {problem.value !== "" && <p class="problem">No events: {problem.value}</p>}
        {isPaused && (
          <p class="hint">
            Paused. {formatCount(tail.waiting.value)} {tail.waiting.value === 1 ? "has" : "have"} come since
            {isFiltered && ", of all kinds"}.
          </p>
        )}
        {/* It scrolls, so the keyboard must reach it; it is no live region, as it would never be silent. */}
        <div
          id="tail"
          class="tail"
          tabIndex={0}
          role="region"
          aria-label="Events and messages, the newest first"
        >
          {rows.length === 0 ? (
            <p class="hint">{toHint(tail)}</p>
          ) : (
            <ol>
              {rows.map((row) => (
                <TailRow key={row.key} row={row} />
              ))}
            </ol>
          )}
        </div>
      </div>
    </section>
  );
}

/** Why there is nothing. */
function toHint({ isEmpty, isPaused }: Tail): string {
  if (!isEmpty.value) return "Nothing of what is kept matches.";
  if (isPaused.value) return "What has come since is shown when it goes on.";
  return `Whoever comes and goes, and what pages send and this one gets, is shown here as it happens: up to the last ${maxRows} of each kind.`;
}

function TailRow({ row: { at, kind, subject, event, text } }: { readonly row: Row }) {
  return (
    <li>
      <time dateTime={new Date(at).toISOString()}>{formatTime(at)}</time>
      <span class={`kind ${kind.split(".")[0] ?? ""}`}>{kind}</span>
      <span class="subject">
        <Ids of={subject} />
      </span>
      <span class="body">
        {event !== "" && (
          <b>
            <Id text={event} />
          </b>
        )}
        <Text of={text} />
      </span>
    </li>
  );
}
