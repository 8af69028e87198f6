/** What a page does as it is looked at, or not. */
export type Attention = {
  /** Nobody has looked at the page for a while, or the browser puts it aside. */
  away(): void;
  /** The page, the machine under it or the network is back. */
  back(): void;
  /** The page is the one that is worked in. */
  focused(): void;
};

/** A glance at another tab or app costs no connection. */
export const GRACE_MS = 5_000;
const TICK_MS = 2_000;
/** A tick that comes this late comes after the machine slept. */
const SLEPT_MS = 10_000;

/** Follows the page's visibility until the returned function is called. */
export function attend({ away, back, focused }: Attention): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ticked = Date.now();
  const seen = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(away, GRACE_MS);
    else back();
  };
  // Put aside at once: what is frozen, or kept for the back button, runs no timer.
  const aside = () => {
    clearTimeout(timer);
    away();
  };
  const tick = () => {
    const slept = Math.abs(Date.now() - ticked) > SLEPT_MS;
    ticked = Date.now();
    if (slept && !document.hidden) back();
  };
  const interval = setInterval(tick, TICK_MS);
  const events: [EventTarget, string, () => void][] = [
    [document, 'visibilitychange', seen],
    [document, 'freeze', aside],
    [document, 'resume', seen],
    [window, 'pagehide', aside],
    [window, 'pageshow', seen],
    [window, 'online', seen],
    [window, 'focus', focused],
  ];
  for (const [on, event, listener] of events) on.addEventListener(event, listener);
  if (document.hidden) away();
  return () => {
    clearTimeout(timer);
    clearInterval(interval);
    for (const [on, event, listener] of events) on.removeEventListener(event, listener);
  };
}
