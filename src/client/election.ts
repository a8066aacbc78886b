/**
 * Which tab leads: the one that has a lock of this name. Who waits for it has it next, in the order in which they came; who hears nothing of
 * the one that has it takes it away.
 */
export interface Election {
  /** Waits for the lock, unless it does already. */
  stand(): void;
  /** Takes the lock away from whoever has it. */
  steal(): void;
  /** Gives the lock back, and waits for it no more. */
  leave(): void;
  /** Whether somebody waits for it. */
  isContested(): Promise<boolean>;
}

export interface ElectionOptions {
  /** It has the lock now, until it leaves or the lock is taken away. */
  readonly onElected: () => void;
  readonly onRobbed: () => void;
  /** A page may have no locks, as in a frame that is nobody's. */
  readonly onNone: () => void;
}

export function openElection(name: string, { onElected, onRobbed, onNone }: ElectionOptions): Election {
  /** Which of the requests has the lock, or had it last; and what gives it back. */
  let holder: object | undefined;
  let release: (() => void) | undefined;
  /** Of the request that waits. */
  let queued: AbortController | undefined;

  const request = (how: { readonly signal?: AbortSignal; readonly steal?: boolean }) => {
    const own = {};
    const hold = () =>
      new Promise<void>((resolve) => {
        holder = own;
        release = resolve;
        // Who has taken it waits for it no more: nobody gives way to itself.
        if (how.steal) queued?.abort();
        queued = undefined;
        onElected();
      });
    navigator.locks.request(name, how, hold).catch((error: Error) => {
      if (error.name !== "AbortError") onNone();
      else if (holder === own) onRobbed();
    });
  };

  return {
    stand() {
      if (queued) return;
      queued = new AbortController();
      request({ signal: queued.signal });
    },
    steal: () => request({ steal: true }),
    leave() {
      queued?.abort();
      queued = undefined;
      release?.();
    },
    async isContested() {
      const locks = await navigator.locks.query().catch(() => undefined);
      return locks?.pending?.some((one) => one.name === name) === true;
    },
  };
}
