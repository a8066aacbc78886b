/** A clock that stands still until it is moved. */
export class Clock {
  #now = 1_700_000_000_000;
  readonly now = () => this.#now;

  advance(ms: number): void {
    this.#now += ms;
  }
}
