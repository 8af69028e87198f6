/** What the page shows. It lives in the fragment, so the server has one page to serve. */
export type Route =
  | { view: 'now' }
  | { view: 'history' }
  | { view: 'readiness' }
  | { view: 'replay'; incident: string };

function parse(hash: string): Route {
  const [view, incident] = hash.replace(/^#\/?/, '').split('/');
  if (view === 'history' || view === 'readiness') return { view };
  if (view === 'incident' && incident) return { view: 'replay', incident };
  return { view: 'now' };
}

class Router {
  route = $state<Route>(parse(location.hash));

  constructor() {
    addEventListener('hashchange', () => {
      this.route = parse(location.hash);
    });
  }
}

export const router = new Router();

const SIGN_IN = '#sign-in=';

/** Takes the one-time code out of the address, so that it stays in no history and no bookmark. */
export function takeSignInCode(): string | undefined {
  if (!location.hash.startsWith(SIGN_IN)) return undefined;
  const code = decodeURIComponent(location.hash.slice(SIGN_IN.length));
  history.replaceState(null, '', location.pathname);
  return code;
}
