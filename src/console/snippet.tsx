/**
 * Code to copy.
 */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export interface SnippetProps {
  readonly id: string;
  readonly title: string;
  readonly code: string;
  readonly note?: string;
}

const copiedMs = 2000;

export function Snippet({ id, title, code, note }: SnippetProps) {
  return (
    <figure class="snippet">
      <figcaption id={`${id}-title`}>{title}</figcaption>
      <CopyButton text={code} what={title} />
      {/* It may scroll, so the keyboard must reach it. */}
      <pre id={id} tabIndex={0} role="region" aria-labelledby={`${id}-title`}>
        <code>{code}</code>
      </pre>
      {note !== undefined && <p class="hint">{note}</p>}
    </figure>
  );
}

export function CopyButton({ text, what }: { readonly text: string; readonly what: string }) {
  const said = useSignal("");
  const copies = useSignal(0);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);

  const copy = async () => {
    said.value = (await write(text)) ? "Copied" : "Select it and copy";
    copies.value++;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => (said.value = ""), copiedMs);
  };
  return (
    <span class="copy">
      <span class="said" role="status">
        {/* An element of its own for each copy: it is said again, though it is the same. */}
        {said.value !== "" && <span key={copies.value}>{said}</span>}
      </span>
      <button type="button" class="quiet" aria-label={`Copy: ${what}`} onClick={copy}>
        Copy
      </button>
    </span>
  );
}

async function write(text: string): Promise<boolean> {
  // A page that came neither over TLS nor from this machine has no clipboard of its own.
  if (!isSecureContext) return writeBySelecting(text);
  return await navigator.clipboard.writeText(text).then(
    () => true,
    () => writeBySelecting(text),
  );
}

/** As somebody does it with the keyboard. */
function writeBySelecting(text: string): boolean {
  const { activeElement } = document;
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (activeElement instanceof HTMLElement) activeElement.focus();
  return isDone;
}
