/**
 * Figures as people read them. Pure.
 */

/** Whole as long as that is short: `1,234`, `12.3K`, `4.5M`. */
export function formatCount(count: number): string {
  return count < 10_000 ? exact.format(count) : compact.format(count);
}

/** How many a second: `0`, `0.5`, `12`, `3.4K`. */
export function formatRate(perSecond: number): string {
  return perSecond < 10 ? exact.format(perSecond) : formatCount(Math.round(perSecond));
}

/** `512 B`, `1.4 MiB` */
export function formatBytes(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${exact.format(bytes / 1024 ** power)} ${units[power]}`;
}

/** A short time: `0.12 ms`, `34 ms`, `1.2 s` */
export function formatSeconds(seconds: number): string {
  if (seconds >= 1) return `${exact.format(seconds)} s`;
  const ms = seconds * 1000;
  return `${ms.toLocaleString("en", { maximumSignificantDigits: 2 })} ms`;
}

/** A long time, by its largest unit: `12 s`, `3 min`, `5 h`, `2 d` */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** The time of day, in the reader's zone: `12:30:01` */
export function formatTime(ms: number): string {
  return time.format(ms);
}

/**
 * An id as it is, but for characters that nobody sees, and those that turn the order of what stands around them: with such, one id can
 * look like another. `a‹U+202E›b`
 */
export function toVisible(id: string): string {
  return id.replace(unseen, (characters) =>
    Array.from(characters, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
    }).join(""),
  );
}

/**
 * What is of no width or is no mark, wherever it stands (the blank of Braille is called a symbol); spaces at the ends; and what would
 * be set onto a letter before it, where there is none.
 */
const unseen =
  /[\p{Format}\p{Default_Ignorable_Code_Point}\p{Line_Separator}\p{Paragraph_Separator}\u2800]|^[\p{Mark}\p{Space_Separator}]+|\p{Space_Separator}+$/gu;

const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
