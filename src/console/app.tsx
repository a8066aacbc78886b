/**
 * The page as a whole: its head, the question for the key where there is one, and the parts.
 */
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Api } from "./api.ts";
import { KeyForm } from "./key-form.tsx";
import { Live, Status } from "./live.tsx";
import type { SessionList } from "./session-list.ts";
import { Sessions } from "./sessions.tsx";
import type { Setup } from "./setup.ts";
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
  readonly setup: ReadonlySignal<Setup>;
}

export function App(parts: AppParts) {
  const { api } = parts;
  const { kind } = api.entry.value;
  const main = useRef<HTMLElement>(null);
  const before = useRef(kind);
  useEffect(() => {
    // The field that had the focus is gone.
    if (before.current === "asking" && kind === "open") main.current?.focus();
    before.current = kind;
  }, [kind]);

  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Head {...parts} />
      <main
        id="content"
        ref={main}
        tabIndex={-1}
        aria-label="Console"
        class={api.isReachable.value ? "" : "stale"}
      >
        {kind === "asking" && <KeyForm api={api} />}
        {kind === "open" && <Content {...parts} />}
      </main>
    </>
  );
}

function Head({ api, watch }: AppParts) {
  const entry = api.entry.value;
  const head = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const element = head.current;
    if (element === null) return undefined;
    // What is jumped to must not end up behind it, however many lines it has.
    const size = new ResizeObserver(() =>
      document.documentElement.style.setProperty("--head", `${element.offsetHeight}px`),
    );
    size.observe(element);
    return () => size.disconnect();
  }, []);
  return (
    <header class="top" ref={head}>
      <div class="inner">
        <h1>
          server-push <span>console</span>
        </h1>
        <Status api={api} watch={watch} />
        <nav aria-label="On this page">
          {entry.kind === "open" &&
            sections.map(([id, title]) => (
              <a key={id} href={`#${id}`}>
                {title}
              </a>
            ))}
          <a href="/swagger">API</a>
        </nav>
        {entry.kind === "open" && entry.hasKey && (
          <button type="button" class="quiet" onClick={() => api.forgetKey()}>
            Forget the key
          </button>
        )}
      </div>
      {!api.isReachable.value && entry.kind === "open" && (
        <p class="banner" role="alert">
          The server does not answer. This page goes on by itself when it does.
        </p>
      )}
    </header>
  );
}

const sections = [
  ["try", "Try it"],
  ["live", "Live"],
  ["sessions", "Sessions"],
  ["events", "Events"],
] as const;

function Content({ api, watch, sessions, tail, trial, setup }: AppParts) {
  const { clientOrigin, hasWebhooks } = setup.value;
  return (
    <>
      <TryIt trial={trial} api={api} clientOrigin={clientOrigin} />
      <Live api={api} watch={watch} hasWebhooks={hasWebhooks} />
      <Sessions api={api} sessions={sessions} trial={trial} watch={watch} />
      <TailSection api={api} tail={tail} />
    </>
  );
}
