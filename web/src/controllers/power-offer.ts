/*
 * How long an action whose answer got lost can be sent again. Minutes later, the machine may be in
 * another state, and the operator may not want it any more.
 */
export const OFFER_MS = 2 * 60_000;

/** When something was sent: by the device's clock, and by the time that this page has been open. */
export type Sent = {
  /** In ms since the epoch. */
  at: number;
  /** From `performance.now()`; undefined after a reload. */
  tick?: number;
};

export const sentNow = (): Sent => ({ at: Date.now(), tick: performance.now() });

/**
 * How long the offer to send it again still holds, in ms; 0 once it is over. The clock may be set
 * meanwhile, and the page's own time may stand still while the machine sleeps: the longer counts,
 * and a clock that was set back ends the offer.
 */
export function offerLeft({ at, tick }: Sent): number {
  const byClock = Date.now() - at;
  if (byClock < 0) return 0;
  const byPage = tick === undefined ? 0 : performance.now() - tick;
  return Math.max(0, OFFER_MS - Math.max(byClock, byPage));
}
