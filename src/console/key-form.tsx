/**
 * Asks for the API key, and says what is wrong with it.
 */
import { useSignal } from "@preact/signals";
import type { TargetedSubmitEvent } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Api } from "./api.ts";

export function KeyForm({ api }: { readonly api: Api }) {
  const field = useRef<HTMLInputElement>(null);
  const isChecking = useSignal(false);
  const tries = useSignal(0);
  const entry = api.entry.value;
  const problem = entry.kind === "asking" && !isChecking.value ? entry.problem : "";
  useLayoutEffect(() => field.current?.focus(), []);

  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (isChecking.value) return;
    isChecking.value = true;
    await api.unlock(field.current?.value.trim() ?? "");
    isChecking.value = false;
    tries.value++;
    field.current?.select();
  };

  return (
    <form class="card key" onSubmit={submit}>
      <h2>This server needs an API key</h2>
      <p>
        One of those that it was started with (<code>--api-key</code> or <code>--api-key-file</code>). It is
        kept for this tab alone, until the tab is closed or you forget it, and goes nowhere but to this
        server.
      </p>
      <label for="key">API key</label>
      <input
        id="key"
        ref={field}
        type="password"
        autocomplete="off"
        spellcheck={false}
        required
        aria-invalid={problem !== ""}
        aria-describedby="key-problem"
      />
      <button class="primary" aria-busy={isChecking.value}>
        Open the console
      </button>
      <p id="key-problem" class="problem" role="alert">
        {/* An element of its own for each try: what is wrong again is said again, though it is the same. */}
        {problem !== "" && <span key={tries.value}>{problem}</span>}
      </p>
    </form>
  );
}
