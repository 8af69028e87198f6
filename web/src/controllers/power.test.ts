// Sending actions again: within the resend window, with the same key, and only on request. The
// server and the session storage are fakes.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RESEND_WINDOW_MS } from './resend-window';
import { Power, type PendingAction } from './power.svelte';

const cycle = { target: 'devvm', kind: 'verb', name: 'cycle', mutating: true } as const;
let keys: string[];
let stored: Map<string, string>;

/** A server that gives this answer, or none. */
function server(answer?: () => Response): void {
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    keys.push(new Headers(init.headers).get('Idempotency-Key') ?? '');
    return answer ? Promise.resolve(answer()) : Promise.reject(new TypeError('connection lost'));
  });
}
const accepted = () => Response.json({ operation: 'o', incident: 'i' });
const power = () =>
  new Power(
    () => 'i',
    () => undefined,
  );
const only = (one: Power): PendingAction => {
  expect(one.pending).toHaveLength(1);
  return one.pending[0]!;
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  keys = [];
  stored = new Map();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
  });
  server();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a verb without an answer is sent again only on request, with the same key', async () => {
  const one = power();
  await one.run(cycle);
  expect(only(one)).toMatchObject({ phase: 'unconfirmed', name: 'cycle' });
  vi.advanceTimersByTime(RESEND_WINDOW_MS - 1);
  expect(keys).toHaveLength(1);
  server(accepted);
  await one.resend(only(one).key);
  expect(keys).toEqual([keys[0], keys[0]]);
  expect(one.pending).toEqual([]);
});

test('after two minutes a verb is not sent again, and its message stays', async () => {
  const one = power();
  await one.run(cycle);
  vi.advanceTimersByTime(RESEND_WINDOW_MS);
  server(accepted);
  await one.resend(only(one).key);
  expect(keys).toHaveLength(1);
  expect(only(one).message).toContain('It is not known whether “cycle” reached the server');
  one.dismiss(only(one).key);
  expect(one.pending).toEqual([]);
});

test('a reload keeps the pending verb and its resend window', async () => {
  const one = power();
  await one.run(cycle);
  vi.advanceTimersByTime(RESEND_WINDOW_MS - 1000);
  const reloaded = power();
  expect(only(reloaded)).toMatchObject({ phase: 'unconfirmed', key: only(one).key });
  vi.advanceTimersByTime(1000);
  await reloaded.resend(only(reloaded).key);
  expect(keys).toHaveLength(1);
});

test('a clock that is set back closes the resend window, and a stopped clock does not extend it', async () => {
  const set = power();
  await set.run(cycle);
  vi.setSystemTime(Date.now() - 3_600_000);
  await set.resend(only(set).key);
  expect(keys).toHaveLength(1);

  stored.clear();
  const still = power();
  await still.run(cycle);
  const now = Date.now();
  vi.advanceTimersByTime(RESEND_WINDOW_MS);
  vi.setSystemTime(now);
  await still.resend(only(still).key);
  expect(keys).toHaveLength(2);
});

test('a verb that the edge intercepted can be sent again after the sign-in', async () => {
  const page = { headers: { 'Content-Type': 'text/html' } };
  server(() => new Response('<form>Sign in</form>', page));
  const one = power();
  await one.run(cycle);
  expect(only(one).phase).toBe('unconfirmed');
  const signedIn = power();
  expect(only(signedIn).message).toBe(
    '“cycle” did not reach the server: you are signed out at the edge.',
  );
  server(accepted);
  await signedIn.resend(only(signedIn).key);
  expect(signedIn.pending).toEqual([]);
});

test('a stored action without a time is dropped', () => {
  stored.set('breakglass.pending', JSON.stringify([{ ...cycle, key: 'k', phase: 'sending' }]));
  expect(power().pending).toEqual([]);
});
