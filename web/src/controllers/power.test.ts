import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OFFER_MS } from './power-offer';
import { Power, type Pending } from './power.svelte';

const cycle = { target: 'devvm', kind: 'verb', name: 'cycle', mutating: true } as const;
let keys: string[];
let stored: Map<string, string>;

/** A server that does not answer, or answers with this. */
function server(answer?: () => Response): void {
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    keys.push(new Headers(init.headers).get('Idempotency-Key') ?? '');
    return answer ? Promise.resolve(answer()) : Promise.reject(new TypeError('the line is dead'));
  });
}
const accepted = () => Response.json({ operation: 'o', incident: 'i' });
const power = () =>
  new Power(
    () => 'i',
    () => undefined,
  );
const only = (one: Power): Pending => {
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

test('a verb without an answer is offered again under its key, and nothing is sent unasked', async () => {
  const one = power();
  await one.run(cycle);
  expect(only(one)).toMatchObject({ phase: 'unconfirmed', name: 'cycle' });
  vi.advanceTimersByTime(OFFER_MS - 1);
  expect(keys).toHaveLength(1);
  server(accepted);
  await one.again(only(one).key);
  expect(keys).toEqual([keys[0], keys[0]]);
  expect(one.pending).toEqual([]);
});

test('after two minutes it is not sent again, and what happened still stands there', async () => {
  const one = power();
  await one.run(cycle);
  vi.advanceTimersByTime(OFFER_MS);
  server(accepted);
  await one.again(only(one).key);
  expect(keys).toHaveLength(1);
  expect(only(one).message).toContain('It is not known whether “cycle” reached the server');
  one.dismiss(only(one).key);
  expect(one.pending).toEqual([]);
});

test('a reload keeps the offer and its end', async () => {
  const one = power();
  await one.run(cycle);
  vi.advanceTimersByTime(OFFER_MS - 1000);
  const reloaded = power();
  expect(only(reloaded)).toMatchObject({ phase: 'unconfirmed', key: only(one).key });
  vi.advanceTimersByTime(1000);
  await reloaded.again(only(reloaded).key);
  expect(keys).toHaveLength(1);
});

test('a clock that is set back ends the offer, and one that stands still does not prolong it', async () => {
  const set = power();
  await set.run(cycle);
  vi.setSystemTime(Date.now() - 3_600_000);
  await set.again(only(set).key);
  expect(keys).toHaveLength(1);

  stored.clear();
  const still = power();
  await still.run(cycle);
  const now = Date.now();
  vi.advanceTimersByTime(OFFER_MS);
  vi.setSystemTime(now);
  await still.again(only(still).key);
  expect(keys).toHaveLength(2);
});

test('a verb that the edge kept is offered again after the sign-in, and says why', async () => {
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
  await signedIn.again(only(signedIn).key);
  expect(signedIn.pending).toEqual([]);
});

test('what an older page kept without its time is not offered', () => {
  stored.set('breakglass.pending', JSON.stringify([{ ...cycle, key: 'k', phase: 'sending' }]));
  expect(power().pending).toEqual([]);
});
