type PageActivity = {
  /** The page has been hidden for a while, or the browser suspends it. */
  inactive(): void;
  /** The page, the device or the network is back. */
  active(): void;
  /** The operator works in this page. */
  focused(): void;
};

/** A page that is hidden for less than this keeps its connection. */
export const HIDDEN_GRACE_MS = 5_000;
const TICK_MS = 2_000;
/** A tick this late means that the device slept. */
const SLEEP_THRESHOLD_MS = 10_000;

/** Reports changes in the page's visibility until the returned function is called. */
export function watchPageActivity({ inactive, active, focused }: PageActivity): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tickedAt = Date.now();
  const visibilityChanged = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(inactive, HIDDEN_GRACE_MS);
    else active();
  };
  // No grace: a page that is frozen, or kept for the back button, runs no timers.
  const suspended = () => {
    clearTimeout(timer);
    inactive();
  };
  const tick = () => {
    const slept = Math.abs(Date.now() - tickedAt) > SLEEP_THRESHOLD_MS;
    tickedAt = Date.now();
    if (slept && !document.hidden) active();
  };
  const interval = setInterval(tick, TICK_MS);
  const listeners: [EventTarget, string, () => void][] = [
    [document, 'visibilitychange', visibilityChanged],
    [document, 'freeze', suspended],
    [document, 'resume', visibilityChanged],
    [window, 'pagehide', suspended],
    [window, 'pageshow', visibilityChanged],
    [window, 'online', visibilityChanged],
    [window, 'focus', focused],
  ];
  for (const [target, event, listener] of listeners) target.addEventListener(event, listener);
  if (document.hidden) inactive();
  return () => {
    clearTimeout(timer);
    clearInterval(interval);
    for (const [target, event, listener] of listeners) target.removeEventListener(event, listener);
  };
}
