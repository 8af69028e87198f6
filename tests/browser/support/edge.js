// An edge in front of the server: an HTTP proxy that answers itself while the operator is signed out
// there, and counts the open streams. Leaves the server to server.js.
import { once } from 'node:events';
import http from 'node:http';
import { atEnd } from './cleanup.js';

/** The answers of edges that require a sign-in. */
const SIGN_INS = {
  /** An SSO proxy that redirects to another origin. */
  elsewhere: (edge, request, response) => {
    const back = encodeURIComponent(edge.origin + request.url);
    response.writeHead(302, { Location: `${edge.login}/login?rd=${back}` }).end();
  },
  /** An SSO proxy that redirects to the same origin. */
  here: (edge, request, response) => {
    const back = encodeURIComponent(request.url);
    response.writeHead(302, { Location: `/oauth2/sign_in?rd=${back}` }).end();
  },
  /** A captive portal that answers every request with its page. */
  portal: (_, __, response) => page(response, 200),
  /** A proxy that answers 403. */
  forbidden: (_, __, response) => page(response, 403),
};

/** Starts an edge with a signed-in operator. */
export async function startEdge(test, upstream) {
  const state = { answer: undefined, streams: new Set(), maxStreams: 0, requests: [] };
  const edge = { state };
  edge.login = await listen(test, (request, response) => {
    state.signedIn?.();
    loginPage(response, new URL(request.url, 'http://edge').searchParams.get('rd'));
  });
  edge.origin = await listen(test, (request, response) => {
    state.requests.push(`${request.method} ${request.url}`);
    if (request.url.startsWith('/oauth2/')) return page(response, 200);
    if (state.answer) return state.answer(edge, request, response);
    forward(state, upstream, request, response);
  });
  return {
    origin: edge.origin,
    /** The requests since the last call. */
    requests: () => state.requests.splice(0),
    /** Maximum number of streams that were open at the same time. */
    maxStreams: () => state.maxStreams,
    /** Number of open streams. */
    streams: () => state.streams.size,
    /** Ends the session, closes all streams, and answers as `SIGN_INS[how]` from now on. */
    signOut(how) {
      state.answer = SIGN_INS[how];
      for (const response of state.streams) response.destroy();
    },
    signIn() {
      state.answer = undefined;
    },
    /** Answers 502 from now on, and closes all streams. */
    loseServer() {
      state.answer = (_, __, response) => page(response, 502);
      for (const response of state.streams) response.destroy();
    },
    /** Makes a visit of the login page sign the operator in. */
    signInAtLogin() {
      state.signedIn = () => (state.answer = undefined);
    },
  };
}

function forward(state, upstream, request, response) {
  const { hostname, port } = new URL(upstream);
  const { method, url, headers } = request;
  const ours = { ...headers, host: `${hostname}:${port}` };
  // The server must see its own origin and host.
  if (ours.origin) ours.origin = upstream;
  const on = http.request({ hostname, port, method, path: url, headers: ours }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    if (/event-stream/.test(answer.headers['content-type'] ?? '')) trackStream(state, response);
    answer.pipe(response);
  });
  on.on('error', () => response.destroy());
  response.on('close', () => on.destroy());
  request.pipe(on);
}

function trackStream(state, response) {
  state.streams.add(response);
  state.maxStreams = Math.max(state.maxStreams, state.streams.size);
  response.on('close', () => state.streams.delete(response));
}

function page(response, status) {
  response.writeHead(status, { 'Content-Type': 'text/html' });
  response.end('<!doctype html><title>Sign in</title><h1>Sign in at the edge</h1>');
}

/** Returns to the requested URL by a form, as login pages do. The fragment is lost. */
function loginPage(response, back) {
  response.writeHead(200, { 'Content-Type': 'text/html' });
  const to = new URL(back ?? 'http://127.0.0.1');
  const fields = [...to.searchParams]
    .map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
    .join('');
  response.end(
    `<!doctype html><title>Sign in</title><form action="${to.origin + to.pathname}">${fields}
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
