import { listenToServerTime } from '../lib/http/client';

/**
 * The current time, updated each second while the page is visible. It follows the server's clock,
 * because the server stamps all events and a phone's clock may be wrong.
 */
class Clock {
  now = $state(Date.now());
  #skewMs = 0;

  constructor() {
    listenToServerTime((serverMs) => {
      const skewMs = serverMs - Date.now();
      // The Date header has a resolution of one second, so ignore a smaller difference.
      this.#skewMs = Math.abs(skewMs) > 2000 ? skewMs : 0;
    });
    setInterval(() => {
      if (!document.hidden) this.tick();
    }, 1000);
    document.addEventListener('visibilitychange', () => this.tick());
  }

  tick(): void {
    this.now = Date.now() + this.#skewMs;
  }

  /** The age in ms of a timestamp from the server. */
  since(at: string): number {
    return Math.max(0, this.now - Date.parse(at));
  }

  /** The age in ms of a timestamp from this device. */
  sinceLocal(at: number): number {
    return Math.max(0, this.now - this.#skewMs - at);
  }
}

export const clock = new Clock();
