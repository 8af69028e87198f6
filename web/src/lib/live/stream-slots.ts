/*
 * Over HTTP/1.1 a browser opens at most six connections to a server, shared by all tabs. An open
 * event stream occupies one of them. So only a few tabs keep a stream; the others poll, one at a
 * time. The remaining connections are free for requests.
 */

/** Maximum number of tabs that keep a stream. With one that polls, two connections remain. */
const STREAM_SLOTS = 3;

/** Permission to connect. `lost` aborts if another tab takes the slot over. */
export type StreamSlot = { lost: AbortSignal; release: () => void };

export interface StreamSlots {
  /** A slot for a lasting stream. Undefined if all are taken, unless `urgent` takes one over. */
  acquire(urgent: boolean): Promise<StreamSlot | undefined>;
  /** The slot for one poll. Waits until it is free or `signal` aborts. */
  acquirePoll(signal: AbortSignal): Promise<StreamSlot | undefined>;
}

const lockName = (n: number) => `breakglass-stream-${n}`;
const POLL_LOCK = 'breakglass-poll';

/** Slots by Web Locks: the browser releases the locks of a tab that is closed. */
class LockSlots implements StreamSlots {
  constructor(private readonly locks: LockManager) {}

  async acquire(urgent: boolean): Promise<StreamSlot | undefined> {
    for (let n = 0; n < STREAM_SLOTS; n += 1) {
      const slot = await this.#lock(lockName(n), { ifAvailable: true });
      if (slot) return slot;
    }
    const any = lockName(Math.floor(Math.random() * STREAM_SLOTS));
    return urgent ? this.#lock(any, { steal: true }) : undefined;
  }

  acquirePoll(signal: AbortSignal): Promise<StreamSlot | undefined> {
    return this.#lock(POLL_LOCK, { signal });
  }

  #lock(name: string, options: LockOptions): Promise<StreamSlot | undefined> {
    return new Promise((resolve) => {
      const lost = new AbortController();
      const hold = (lock: Lock | null) =>
        new Promise<void>((release) => {
          if (lock) resolve({ lost: lost.signal, release });
          else release();
        });
      // The request settles if the lock is released, not available, stolen or aborted.
      const settled = () => {
        lost.abort();
        resolve(undefined);
      };
      this.locks.request(name, options, hold).then(settled, settled);
    });
  }
}

/**
 * Without Web Locks (a browser has them only over HTTPS and on loopback), the tab with the focus
 * keeps the only stream.
 */
class FocusSlots implements StreamSlots {
  async acquire(): Promise<StreamSlot | undefined> {
    if (!document.hasFocus()) return undefined;
    const lost = new AbortController();
    const blurred = () => lost.abort();
    addEventListener('blur', blurred, { once: true });
    return { lost: lost.signal, release: () => removeEventListener('blur', blurred) };
  }

  async acquirePoll(): Promise<StreamSlot> {
    return { lost: new AbortController().signal, release: () => undefined };
  }
}

/** The slots that the tabs of this browser share. */
export const streamSlots = (): StreamSlots =>
  navigator.locks ? new LockSlots(navigator.locks) : new FocusSlots();
