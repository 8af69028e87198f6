/*
 * Over HTTP/1.1 a browser opens six connections to a server, for all tabs together. A stream keeps
 * one for as long as it is followed, so only a few tabs may; the others visit now and then, one
 * after the other. What is left is for buttons.
 */

/** How many tabs of a browser may keep a stream. With one that visits, two connections are left. */
export const PLACES = 3;

/** Held while a stream is read; `lost` aborts once another tab needs the place more. */
export type Place = { lost: AbortSignal; release: () => void };

export interface Places {
  /** A place for a stream that stays; undefined if the other tabs hold them all. */
  stay(urgent: boolean): Promise<Place | undefined>;
  /** A place for a short visit; waits for its turn until `signal` aborts. */
  visit(signal: AbortSignal): Promise<Place | undefined>;
}

const name = (n: number) => `breakglass-stream-${n}`;
const VISITOR = 'breakglass-visitor';

/** Places by Web Locks: the browser counts, and frees what a dead tab held. */
class LockedPlaces implements Places {
  constructor(private readonly locks: LockManager) {}

  async stay(urgent: boolean): Promise<Place | undefined> {
    for (let n = 0; n < PLACES; n += 1) {
      const place = await this.#lock(name(n), { ifAvailable: true });
      if (place) return place;
    }
    const any = name(Math.floor(Math.random() * PLACES));
    return urgent ? this.#lock(any, { steal: true }) : undefined;
  }

  visit(signal: AbortSignal): Promise<Place | undefined> {
    return this.#lock(VISITOR, { signal });
  }

  #lock(name: string, options: LockOptions): Promise<Place | undefined> {
    return new Promise((granted) => {
      const lost = new AbortController();
      const hold = (lock: Lock | null) =>
        new Promise<void>((release) => {
          if (lock) granted({ lost: lost.signal, release });
          else release();
        });
      // It settles when the place is released, was not free, was stolen, or is not waited for.
      const over = () => {
        lost.abort();
        granted(undefined);
      };
      this.locks.request(name, options, hold).then(over, over);
    });
  }
}

/**
 * Without Web Locks, which plain HTTP lacks except on loopback: the tab that has the focus stays,
 * and there is one at most.
 */
class FocusedPlaces implements Places {
  async stay(): Promise<Place | undefined> {
    if (!document.hasFocus()) return undefined;
    const lost = new AbortController();
    const blurred = () => lost.abort();
    addEventListener('blur', blurred, { once: true });
    return { lost: lost.signal, release: () => removeEventListener('blur', blurred) };
  }

  async visit(): Promise<Place> {
    return { lost: new AbortController().signal, release: () => undefined };
  }
}

/** The places of this browser. */
export const places = (): Places =>
  navigator.locks ? new LockedPlaces(navigator.locks) : new FocusedPlaces();
