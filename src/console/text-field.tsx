/**
 * A field for a line of text.
 */
import type { Signal } from "@preact/signals";

export interface TextFieldProps {
  readonly id: string;
  readonly label: string;
  readonly hint?: string;
  readonly value: Signal<string>;
  readonly isReadOnly?: boolean;
  /** Is called when another text is in it. */
  readonly onChange?: () => void;
}

export function TextField({ id, label, hint, value, isReadOnly = false, onChange }: TextFieldProps) {
  const change = (text: string) => {
    value.value = text;
    onChange?.();
  };
  return (
    <div class="field">
      <label for={id}>
        {label} {hint !== undefined && <span class="hint">{hint}</span>}
      </label>
      <input
        id={id}
        type="text"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        readOnly={isReadOnly}
        value={value.value}
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
    </div>
  );
}
