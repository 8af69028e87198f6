// Telling the answers of an edge from those of the server, for each kind of request. Leaves the
// event stream to live/stream.test.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { api } from './client';
import { listenToEdge, SignedOutAtEdge } from './edge';
import { Problem, Unconfirmed } from './problem';

let notified: boolean[];
let options: RequestInit[];

beforeEach(() => {
  notified = [];
  options = [];
  listenToEdge((signedOut) => notified.push(signedOut));
});
afterEach(() => vi.unstubAllGlobals());

function answer(response: Response): void {
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    options.push(init);
    return Promise.resolve(response);
  });
}
const response = (type: string, body: string | null, status = 200) =>
  new Response(body, { status, headers: { 'Content-Type': type } });
const html = (status: number) =>
  response('text/html; charset=utf-8', '<form>Sign in</form>', status);
const failure = (request: Promise<unknown>) =>
  request.then(
    () => undefined,
    (error: unknown) => error,
  );
/** The result of fetch for a redirect that it must not follow. */
const redirected = () =>
  Object.defineProperties(new Response(null), {
    status: { value: 0 },
    ok: { value: false },
    type: { value: 'opaqueredirect' },
  });

const SIGN_INS: [string, () => Response][] = [
  ['a redirect', redirected],
  ['a page', () => html(200)],
  ['a page that forbids', () => html(403)],
  ['a page that asks for a sign-in', () => html(401)],
  ['a captive portal', () => html(511)],
  ['no content', () => new Response(null, { status: 204 })],
  [
    'JSON of another program',
    () => response('application/json', '{"error":"login_required"}', 401),
  ],
  [
    'a problem document of another program',
    () => response('application/problem+json', '{"type":"about:blank"}', 403),
  ],
];

test.each(SIGN_INS)('%s instead of an answer means a sign-in at the edge', async (_, signIn) => {
  for (const send of [
    () => api.incidents(),
    () => api.verb('devvm', 'cycle', 'key'),
    () => api.screenshot('devvm'),
    () => api.report('i'),
    () => api.me(),
  ]) {
    answer(signIn());
    expect(await failure(send())).toBeInstanceOf(SignedOutAtEdge);
  }
  expect(notified.every((signedOut) => signedOut)).toBe(true);
  expect(options.every(({ redirect }) => redirect === 'manual')).toBe(true);
});

test('a page instead of the empty answer to a sign-in comes from the edge', async () => {
  answer(html(200));
  expect(await failure(api.login('token'))).toBeInstanceOf(SignedOutAtEdge);
  answer(new Response(null, { status: 204 }));
  await api.login('token');
  expect(notified).toEqual([true, false]);
});

test('JSON without an identity does not come from the server', async () => {
  answer(response('application/json', '{"status":"login_required"}'));
  expect(await failure(api.me())).toBeInstanceOf(SignedOutAtEdge);
  expect(notified.at(-1)).toBe(true);
});

test('a request is unconfirmed if the edge cannot reach the server', async () => {
  for (const status of [404, 408, 413, 429, 500, 502, 503, 504]) {
    answer(html(status));
    const error = await failure(api.verb('devvm', 'cycle', 'key'));
    expect(error, String(status)).toBeInstanceOf(Unconfirmed);
  }
  expect(notified).toEqual([]);
});

test('a refusal of the server is recognised with either JSON content type', async () => {
  const body = JSON.stringify({ type: 'urn:breakglass:unauthenticated', detail: 'Sign in at /.' });
  for (const type of ['application/problem+json', 'application/json']) {
    answer(response(type, body, 401));
    const error = await failure(api.me());
    expect(error).toBeInstanceOf(Problem);
    expect(error).not.toBeInstanceOf(SignedOutAtEdge);
    expect(error).toMatchObject({ status: 401, message: 'Sign in at /.' });
  }
  expect(notified).toEqual([false, false]);
});

test('a request is unconfirmed if its answer is truncated', async () => {
  answer(response('application/json', '[{"incident":'));
  expect(await failure(api.incidents())).toBeInstanceOf(Unconfirmed);
});
