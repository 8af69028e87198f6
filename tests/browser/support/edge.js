// An edge in front of the server: an HTTP proxy that answers itself while its session has ended,
// and that counts who keeps a stream.
import { once } from 'node:events';
import http from 'node:http';
import { atEnd } from './cleanup.js';

/** What an edge answers that wants a sign-in, by name. */
const SIGN_INS = {
  /** An SSO proxy that sends the browser to another origin. */
  elsewhere: (edge, request, response) => {
    const back = encodeURIComponent(edge.origin + request.url);
    response.writeHead(302, { Location: `${edge.login}/login?rd=${back}` }).end();
  },
  /** The same on the server's own origin. */
  here: (edge, request, response) => {
    const back = encodeURIComponent(request.url);
    response.writeHead(302, { Location: `/oauth2/sign_in?rd=${back}` }).end();
  },
  /** A captive portal that answers everything with its page. */
  portal: (_, __, response) => page(response, 200),
  /** A proxy that forbids. */
  forbidden: (_, __, response) => page(response, 403),
};

/** Starts the edge; `signIn` and `signOut` are what the operator's session there does. */
export async function startEdge(test, upstream) {
  const state = { answer: undefined, streams: new Set(), most: 0, asked: [] };
  const edge = { state };
  edge.login = await listen(test, (request, response) => {
    state.signedIn?.();
    loginPage(response, new URL(request.url, 'http://edge').searchParams.get('rd'));
  });
  edge.origin = await listen(test, (request, response) => {
    state.asked.push(`${request.method} ${request.url}`);
    if (request.url.startsWith('/oauth2/')) return page(response, 200);
    if (state.answer) return state.answer(edge, request, response);
    forward(state, upstream, request, response);
  });
  return {
    origin: edge.origin,
    /** Requests that came to the edge, since the last look. */
    asked: () => state.asked.splice(0),
    /** The most streams that were kept at the same time, and how many are now. */
    most: () => state.most,
    streams: () => state.streams.size,
    /** The session ends: every line is cut, and this is what is answered from now on. */
    signOut(how) {
      state.answer = SIGN_INS[how];
      for (const response of state.streams) response.destroy();
    },
    signIn() {
      state.answer = undefined;
    },
    /** The edge is there, the server behind it is not. */
    loseServer() {
      state.answer = (_, __, response) => page(response, 502);
      for (const response of state.streams) response.destroy();
    },
    /** The login page at the other origin signs in and leads back. */
    signInAtLogin() {
      state.signedIn = () => (state.answer = undefined);
    },
  };
}

function forward(state, upstream, request, response) {
  const { hostname, port } = new URL(upstream);
  const { method, url, headers } = request;
  const ours = { ...headers, host: `${hostname}:${port}` };
  // Origin and host are what the server sees itself as, behind an edge that keeps its own.
  if (ours.origin) ours.origin = upstream;
  const on = http.request({ hostname, port, method, path: url, headers: ours }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    if (/event-stream/.test(answer.headers['content-type'] ?? '')) keep(state, response);
    answer.pipe(response);
  });
  on.on('error', () => response.destroy());
  response.on('close', () => on.destroy());
  request.pipe(on);
}

function keep(state, response) {
  state.streams.add(response);
  state.most = Math.max(state.most, state.streams.size);
  response.on('close', () => state.streams.delete(response));
}

function page(response, status) {
  response.writeHead(status, { 'Content-Type': 'text/html' });
  response.end('<!doctype html><title>Sign in</title><h1>Sign in at the edge</h1>');
}

/** Leads back to where the browser came from, by a form as login pages do: its fragment is lost. */
function loginPage(response, back) {
  response.writeHead(200, { 'Content-Type': 'text/html' });
  const to = new URL(back ?? 'http://127.0.0.1');
  const kept = [...to.searchParams]
    .map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
    .join('');
  response.end(
    `<!doctype html><title>Sign in</title><form action="${to.origin + to.pathname}">${kept}
     <button>Sign in at the edge</button></form>`,
  );
}

async function listen(test, handle) {
  const server = http.createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(test, 'the edge', () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
