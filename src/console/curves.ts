/**
 * Which part of the past a chart shows, and what of a curve is no line. Pure.
 */
import { historySeconds } from "./watch.ts";

/** Below that, the newest second would be a large part of what is drawn. */
const leastSeconds = 60;

/**
 * From the first point on, until that is too long ago.
 *
 * @param times of the points, in seconds since 1970
 */
export function toWindow(times: readonly number[]): [begin: number, end: number] {
  const end = times.at(-1) ?? Date.now() / 1000;
  const begin = Math.max(times[0] ?? end, end - historySeconds);
  return [Math.min(begin, end - leastSeconds), end];
}

/** The places of the points that have none beside them: no line goes through those. */
export function findAlone(values: ArrayLike<number | null | undefined>): number[] {
  const isPoint = (index: number) => typeof values[index] === "number";
  return Array.from({ length: values.length }, (_, index) => index).filter(
    (index) => isPoint(index) && !isPoint(index - 1) && !isPoint(index + 1),
  );
}
