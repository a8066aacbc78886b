/**
 * What a page has beside what every JavaScript has; elsewhere it is not there.
 */
interface Surroundings extends Partial<Pick<EventTarget, "addEventListener">> {
  readonly document?: EventTarget & { readonly visibilityState: string };
  readonly location?: { readonly origin: string };
  readonly navigator?: { readonly locks?: object };
  /** Of a tab. A page that may keep nothing may not even look at it. */
  readonly sessionStorage: {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
  };
}

export const surroundings = globalThis as unknown as Surroundings; // all of them may be absent
