/**
 * Who listens to which topic, for the ways to receive that have no native topics. Most topics have one listener, so a table of
 * one costs no more than the listener.
 */
export class Subscribers<Listener extends object> {
  readonly #byTopic = new Map<string, Listener | Set<Listener>>();

  add(topic: string, listener: Listener): void {
    const others = this.#byTopic.get(topic);
    if (others === undefined) this.#byTopic.set(topic, listener);
    else if (others instanceof Set) others.add(listener);
    else this.#byTopic.set(topic, new Set([others, listener]));
  }

  remove(topic: string, listener: Listener): void {
    const others = this.#byTopic.get(topic);
    if (others === listener) this.#byTopic.delete(topic);
    else if (others instanceof Set && others.delete(listener) && others.size === 0)
      this.#byTopic.delete(topic);
  }

  /** Safe against listeners that are removed during the walk. */
  of(topic: string): Iterable<Listener> {
    const listeners = this.#byTopic.get(topic);
    if (listeners === undefined) return [];
    return listeners instanceof Set ? listeners : [listeners];
  }
}
