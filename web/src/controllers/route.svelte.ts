/** What the page shows. It lives in the fragment, so the server has one page to serve. */
export type Route =
  | { view: 'now' }
  | { view: 'history' }
  | { view: 'readiness' }
  | { view: 'incident'; incident: string }
  | { view: 'report'; incident: string };

export function parse(hash: string): Route {
  const [view, incident] = hash.replace(/^#\/?/, '').split('/');
  if (view === 'history' || view === 'readiness') return { view };
  if ((view === 'incident' || view === 'report') && incident) return { view, incident };
  return { view: 'now' };
}

/** Takes place of the address that is shown, without a step in the history. */
const replace = (hash: string) => history.replaceState(null, '', location.pathname + hash);

const KEPT = 'breakglass.route';

/**
 * Keeps what is shown for when the page comes back from a sign-in at the edge: an edge sends back
 * to the path and the query that were asked for, never to the fragment.
 */
export function keepRoute(hash = location.hash): void {
  try {
    sessionStorage.setItem(KEPT, hash);
  } catch {
    // Storage may be forbidden; then the page opens on what is going on now.
  }
}

/** The fragment that the page was opened for. */
function opened(): string {
  let kept = '';
  try {
    kept = sessionStorage.getItem(KEPT) ?? '';
    sessionStorage.removeItem(KEPT);
  } catch {
    // See above.
  }
  const linked = new URLSearchParams(location.search).get('incident');
  if (location.hash.length > 2) return location.hash;
  return linked === null ? kept : `#/incident/${encodeURIComponent(linked)}`;
}

class Router {
  route = $state.raw<Route>({ view: 'now' });

  constructor() {
    const hash = opened();
    if (hash !== location.hash || location.search !== '') replace(hash);
    this.route = parse(hash);
    addEventListener('hashchange', () => {
      this.route = parse(location.hash);
    });
  }

  /** Says in the address that what goes on now is shown; nothing on the page changes. */
  forget(): void {
    if (parse(location.hash).view === 'incident') replace('');
  }
}

export const router = new Router();

const SIGN_IN = '#sign-in=';

/** Takes the one-time code out of the address, so that it stays in no history and no bookmark. */
export function takeSignInCode(): string | undefined {
  if (!location.hash.startsWith(SIGN_IN)) return undefined;
  const code = location.hash.slice(SIGN_IN.length);
  replace('');
  try {
    return decodeURIComponent(code);
  } catch {
    // A link that was cut in the middle; the server says that it knows no such code.
    return code;
  }
}

/** Keeps a code that could not be used yet. */
export const keepSignInCode = (code: string) => keepRoute(SIGN_IN + encodeURIComponent(code));
