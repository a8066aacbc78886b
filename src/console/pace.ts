/**
 * What comes thousands of times a second and is to be seen: to show each by itself would keep the page busy with nothing else.
 */

/** What comes within this time is shown at once. */
export const showMs = 100;

/**
 * Calls `show` once for all the times that what is returned is called within `ms`, at the end of that time.
 */
export function pace(ms: number, show: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      show();
    }, ms);
  };
}
