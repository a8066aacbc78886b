/**
 * What is shown is not what is: the server cannot be asked.
 */
import type { Api } from "./api.ts";
import { formatTime } from "./format.ts";

export function AsOf({ api }: { readonly api: Api }) {
  if (api.isReachable.value) return null;
  return <small class="as-of">as of {formatTime(api.answeredAt.value)}</small>;
}
