/** The view that the page shows. It is in the URL's fragment, so the server serves one page. */
type Route =
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

/** Replaces the current URL without adding a history entry. */
const replace = (hash: string) => history.replaceState(null, '', location.pathname + hash);

const STORAGE_KEY = 'breakglass.route';

/**
 * Saves the fragment before a sign-in at the edge: an edge redirects back to the requested path and
 * query, but it never sees the fragment.
 */
export function saveRoute(hash = location.hash): void {
  try {
    sessionStorage.setItem(STORAGE_KEY, hash);
  } catch {
    // Storage may be forbidden. Then the page opens on the current incident.
  }
}

/** The fragment to open the page with: from the URL, else the saved one. */
function initialHash(): string {
  let saved = '';
  try {
    saved = sessionStorage.getItem(STORAGE_KEY) ?? '';
    sessionStorage.removeItem(STORAGE_KEY);
  } catch {
    // See above.
  }
  const linked = new URLSearchParams(location.search).get('incident');
  if (location.hash.length > 2) return location.hash;
  return linked === null ? saved : `#/incident/${encodeURIComponent(linked)}`;
}

class Router {
  route = $state.raw<Route>({ view: 'now' });

  constructor() {
    const hash = initialHash();
    if (hash !== location.hash || location.search !== '') replace(hash);
    this.route = parse(hash);
    addEventListener('hashchange', () => {
      this.route = parse(location.hash);
    });
  }

  /** Removes the incident from the URL without changing the view. */
  clearIncident(): void {
    if (parse(location.hash).view === 'incident') replace('');
  }
}

export const router = new Router();

const SIGN_IN = '#sign-in=';

/** Takes the one-time code out of the URL, to keep it out of the history and of bookmarks. */
export function takeSignInCode(): string | undefined {
  if (!location.hash.startsWith(SIGN_IN)) return undefined;
  const code = location.hash.slice(SIGN_IN.length);
  replace('');
  try {
    return decodeURIComponent(code);
  } catch {
    // The link is truncated. Let the server reject the code.
    return code;
  }
}

/** Saves a code that could not be used yet. */
export const saveSignInCode = (code: string) => saveRoute(SIGN_IN + encodeURIComponent(code));
