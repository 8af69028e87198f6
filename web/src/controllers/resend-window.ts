/*
 * How long an unconfirmed action can be sent again. After some minutes the machine may be in
 * another state, and the operator may no longer want the action.
 */
export const RESEND_WINDOW_MS = 2 * 60_000;

/** When an action was sent, by two clocks: see `resendTimeLeft`. */
export type SentAt = {
  /** By the device's clock, in ms since the epoch. */
  at: number;
  /** By `performance.now()`. Undefined after a reload of the page. */
  tick?: number;
};

export const sentNow = (): SentAt => ({ at: Date.now(), tick: performance.now() });

/**
 * The rest of the resend window in ms; 0 once it is over. The device's clock may be set, and
 * `performance.now()` may stop while the device sleeps: the longer of the two ages counts, and a
 * clock that was set back closes the window.
 */
export function resendTimeLeft({ at, tick }: SentAt): number {
  const ageByClock = Date.now() - at;
  if (ageByClock < 0) return 0;
  const ageByTick = tick === undefined ? 0 : performance.now() - tick;
  return Math.max(0, RESEND_WINDOW_MS - Math.max(ageByClock, ageByTick));
}
