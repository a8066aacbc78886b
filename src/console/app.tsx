/**
 * The page as a whole: its head, the question for the key where there is one, and the parts.
 */
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { KeyForm } from "./key-form.tsx";
import { Live, Status } from "./live.tsx";
import { repeat } from "./repeat.ts";
import type { SessionList } from "./session-list.ts";
import { Sessions } from "./sessions.tsx";
import type { Tail } from "./tail.ts";
import { TailSection } from "./tail-section.tsx";
import type { Trial } from "./trial.ts";
import { TryIt } from "./try-it.tsx";
import type { Watch } from "./watch.ts";

export interface AppParts {
  readonly api: Api;
  readonly watch: Watch;
  readonly sessions: SessionList;
  readonly tail: Tail;
  readonly trial: Trial;
  /** Where clients connect to. */
  readonly clientOrigin: string;
}

const enterMs = 1000;

export function App(parts: AppParts) {
  const { api, watch } = parts;
  const { kind } = api.entry.value;
  useEffect(() => {
    if (kind !== "checking") return undefined;
    // Until the server answers; whatever it says ends this.
    return repeat(enterMs, () => api.enter().catch(() => {}));
  }, [kind]);

  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header class="top">
        <div class="inner">
          <h1>
            server-push <span>console</span>
          </h1>
          <Status api={api} watch={watch} />
          <nav aria-label="On this page">
            {kind === "open" &&
              sections.map(([id, title]) => (
                <a key={id} href={`#${id}`}>
                  {title}
                </a>
              ))}
            <a href="/swagger">API</a>
          </nav>
          {api.entry.value.kind === "open" && api.entry.value.hasKey && (
            <button type="button" class="quiet" onClick={() => api.forgetKey()}>
              Forget the key
            </button>
          )}
        </div>
      </header>
      {!api.isReachable.value && kind !== "asking" && (
        <p class="banner" role="alert">
          The server does not answer. This page goes on by itself when it does.
        </p>
      )}
      <main id="content" tabIndex={-1}>
        {kind === "asking" && <KeyForm api={api} />}
        {kind === "open" && <Content {...parts} />}
      </main>
    </>
  );
}

const sections = [
  ["try", "Try it"],
  ["live", "Live"],
  ["sessions", "Sessions"],
  ["events", "Events"],
] as const;

function Content({ api, watch, sessions, tail, trial, clientOrigin }: AppParts) {
  return (
    <>
      <TryIt trial={trial} api={api} clientOrigin={clientOrigin} />
      <Live watch={watch} />
      <Sessions sessions={sessions} trial={trial} />
      <TailSection api={api} tail={tail} />
    </>
  );
}
