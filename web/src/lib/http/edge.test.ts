import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { api } from './client';
import { listenToEdge, SignedOutAtEdge } from './edge';
import { Problem, Unconfirmed } from './problem';

let told: boolean[];
let options: RequestInit[];

beforeEach(() => {
  told = [];
  options = [];
  listenToEdge((signedOut) => told.push(signedOut));
});
afterEach(() => vi.unstubAllGlobals());

function answer(response: Response): void {
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    options.push(init);
    return Promise.resolve(response);
  });
}
const of = (type: string, body: string | null, status = 200) =>
  new Response(body, { status, headers: { 'Content-Type': type } });
const html = (status: number) => of('text/html; charset=utf-8', '<form>Sign in</form>', status);
const failure = (asked: Promise<unknown>) =>
  asked.then(
    () => undefined,
    (error: unknown) => error,
  );
/** What fetch makes of a redirect that it was told not to follow. */
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
  ['JSON of another program', () => of('application/json', '{"error":"login_required"}', 401)],
  [
    'a problem of another program',
    () => of('application/problem+json', '{"type":"about:blank"}', 403),
  ],
];

test.each(SIGN_INS)('%s instead of an answer is the edge’s sign-in', async (_, response) => {
  for (const ask of [
    () => api.incidents(),
    () => api.verb('devvm', 'cycle', 'key'),
    () => api.screen('devvm'),
    () => api.report('i'),
    () => api.me(),
  ]) {
    answer(response());
    expect(await failure(ask())).toBeInstanceOf(SignedOutAtEdge);
  }
  expect(told.every((signedOut) => signedOut)).toBe(true);
  expect(options.every(({ redirect }) => redirect === 'manual')).toBe(true);
});

test('a page instead of the empty answer to a sign-in is the edge’s too', async () => {
  answer(html(200));
  expect(await failure(api.login('token'))).toBeInstanceOf(SignedOutAtEdge);
  answer(new Response(null, { status: 204 }));
  await api.login('token');
  expect(told).toEqual([true, false]);
});

test('JSON that names nobody is no answer to who is signed in', async () => {
  answer(of('application/json', '{"status":"login_required"}'));
  expect(await failure(api.me())).toBeInstanceOf(SignedOutAtEdge);
  expect(told.at(-1)).toBe(true);
});

test('an edge that can’t reach the server leaves open what became of the request', async () => {
  for (const status of [404, 408, 413, 429, 500, 502, 503, 504]) {
    answer(html(status));
    const error = await failure(api.verb('devvm', 'cycle', 'key'));
    expect(error, String(status)).toBeInstanceOf(Unconfirmed);
  }
  expect(told).toEqual([]);
});

test('the server’s own refusal stays the server’s, whatever its type is called', async () => {
  const body = JSON.stringify({ type: 'urn:breakglass:unauthenticated', detail: 'Sign in at /.' });
  for (const type of ['application/problem+json', 'application/json']) {
    answer(of(type, body, 401));
    const error = await failure(api.me());
    expect(error).toBeInstanceOf(Problem);
    expect(error).not.toBeInstanceOf(SignedOutAtEdge);
    expect(error).toMatchObject({ status: 401, message: 'Sign in at /.' });
  }
  expect(told).toEqual([false, false]);
});

test('an answer that breaks off is no answer', async () => {
  answer(of('application/json', '[{"incident":'));
  expect(await failure(api.incidents())).toBeInstanceOf(Unconfirmed);
});
