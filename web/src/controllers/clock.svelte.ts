import { listenToServerTime } from '../lib/http/client';

/**
 * The time, ticking once a second while the page is looked at. It is the server's time as far as
 * answers told it, since everything shown was stamped by the server and a phone's clock may be off.
 */
class Clock {
  now = $state(Date.now());
  #skew = 0;

  constructor() {
    listenToServerTime((serverMs) => {
      const skew = serverMs - Date.now();
      // The Date header counts whole seconds; a smaller difference is no skew.
      this.#skew = Math.abs(skew) > 2000 ? skew : 0;
    });
    setInterval(() => {
      if (!document.hidden) this.tick();
    }, 1000);
    document.addEventListener('visibilitychange', () => this.tick());
  }

  tick(): void {
    this.now = Date.now() + this.#skew;
  }

  /** How long ago something stamped by the server was, in ms. */
  since(at: string): number {
    return Math.max(0, this.now - Date.parse(at));
  }

  /** How long ago something stamped by this page was, in ms. */
  sinceLocal(at: number): number {
    return Math.max(0, this.now - this.#skew - at);
  }
}

export const clock = new Clock();
