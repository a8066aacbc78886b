/**
 * What the server is told of what was handled.
 */

/** Between two of them, in milliseconds. */
const ackMs = 100;

/**
 * Tells of an id at once, and later of the latest of those that have come meanwhile, as each is a word for all before it: several listeners
 * and tabs may be at several places. An id is opaque to all but this: of one epoch, the larger number is the later.
 */
export function createAck(tell: (id: string) => void): (id: string) => void {
  let latest = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  return function ack(id) {
    const [epoch, number] = id.split("-");
    const [last, most] = latest.split("-");
    if (epoch === last && +number! <= +most!) return; // without a number it is not
    latest = id;
    if (timer) return;
    tell(id);
    timer = setTimeout(() => {
      timer = undefined;
      const next = latest;
      latest = id;
      ack(next);
    }, ackMs);
  };
}
