/**
 * The console: the page at `/`, which shows what the server does, and lets somebody try it.
 *
 *   api ──► watch          /metrics, again and again            ──► live
 *     │       └─► setup    /, when the server has started anew
 *     ├───► session-list   /sessions, again and again           ──► sessions
 *     ├───► events         /events, a stream                    ──► tail
 *     └───► trial          this page as a session of its own    ──► try-it, and its messages into the tail
 */
import { signal } from "@preact/signals";
import { render } from "preact";
import { Api } from "./api.ts";
import { App } from "./app.tsx";
import { SessionList } from "./session-list.ts";
import { followSetup, readSetup } from "./setup.ts";
import { Tail } from "./tail.ts";
import { Trial } from "./trial.ts";
import { Watch } from "./watch.ts";

const root = document.querySelector<HTMLElement>("#app");
if (root !== null) {
  const setup = signal(readSetup(root));
  const api = new Api(setup.value.needsKey);
  const watch = new Watch(api);
  const tail = new Tail();
  const trial = new Trial(api, setup, (happening) => tail.add(happening));
  followSetup(api, watch, setup);
  // What stood there said that nothing would.
  root.replaceChildren();
  render(
    <App api={api} watch={watch} sessions={new SessionList(api)} tail={tail} trial={trial} setup={setup} />,
    root,
  );
}
