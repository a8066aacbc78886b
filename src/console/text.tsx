/**
 * The text of a message, as whoever has sent it has made it: a tall one scrolls in a room of its own, and leaves what stands around it
 * in sight.
 */

/** In characters: in the narrowest place it has about twice as many lines as `maxLines`. */
const maxLength = 500;
const maxLines = 6;

export function Text({ of }: { readonly of: string }) {
  const isTall = of.length > maxLength || of.split("\n", maxLines + 1).length > maxLines;
  if (!isTall) return <span class="text">{of}</span>;
  // It scrolls, so the keyboard must reach it.
  return (
    <span class="text tall" tabIndex={0}>
      {of}
    </span>
  );
}
